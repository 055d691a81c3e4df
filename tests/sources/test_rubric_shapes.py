"""One invented row per public rubric schema, with the columns that its owner, or who read it, names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasrm.errors import RowError
from reasrm.hashing import request_hash
from reasrm.records import Message
from reasrm.rubric import Criterion, Rubric
from reasrm.sources.rubric_lines import read_rubric_line
from reasrm.sources.rubric_shapes import RUBRIC_SHAPES, rubric_shape
from tests.refusals import refused

ASKED = "How much may I take?"
USER = [{"role": "user", "content": ASKED}]
TAGGED = "1. The response has three words. [Hard Rule]\n2. The response is polite. [Principle]"
POINTS = [{"criterion": "Names the dose.", "points": 5}, {"criterion": "Blames the patient.", "points": -3}]
WEIGHED = Rubric((Criterion(None, "Names the dose.", 5), Criterion(None, "Blames the patient.", -3)))
TWO_KINDS = Rubric(
    (
        Criterion("hard_rule", "The response has three words."),
        Criterion("principle", "The response is polite."),
    )
)
UNTAGGED = Rubric((Criterion(None, "Names the dose."), Criterion(None, "Is polite.")))
RESPONSES = {"response_a": "Two.", "response_b": "Ask."}

# name → row, what is read of it, and the id it has if any
FIXTURES: dict[str, tuple[dict[str, Any], Rubric, str | None]] = {
    "openrubrics v1": ({"instruction": ASKED, "rubric": TAGGED, "source": "if"}, TWO_KINDS, None),
    "openrubrics v2": (
        {
            "instruction": ASKED,
            **RESPONSES,
            "winner": "A",
            "rubric": TAGGED,
            "trajectory": "…",
            "source": "if",
        },
        TWO_KINDS,
        None,
    ),
    "rubrichub": (
        {
            "prompt": USER,
            "reward_model": {"style": "rubric", "ground_truth": "", "rubrics": POINTS},
            "Rubrics": POINTS,
            "ability": "Medical",
            "data_source": "rubrichub",
        },
        WEIGHED,
        None,
    ),
    "rubrichub-sft": (
        {
            "source": "Medical",
            "query": ASKED,
            "answer": "Two.",
            "sample_id": "m-1",
            "rubrics": POINTS,
            "rubric_score": 0.5,
            "rubric_judge_details": [{"criterion": "Names the dose.", "met": True}],
        },
        WEIGHED,
        "m-1",
    ),
    "rar": (
        {
            "question": ASKED,
            "reference_answer": "At most two.",
            "question_source": "forum",
            "rubric_count": 2,
            "rubric": [
                {"title": "Dose", "description": "Essential Criteria: Names the dose.", "weight": 5},
                {"title": "Blame", "description": "Pitfall Criteria: Blames the patient.", "weight": -1},
            ],
            "rubric_list": ["Essential Criteria: Names the dose.", "Pitfall Criteria: Blames the patient."],
        },
        Rubric(
            (
                Criterion(None, "Essential Criteria: Names the dose.", 5, "Dose", category="Essential"),
                Criterion(None, "Pitfall Criteria: Blames the patient.", -1, "Blame", category="Pitfall"),
            )
        ),
        None,
    ),
    "auto-rubric": (
        {
            "unique_id": "u-1",
            "source": "hs3",
            "input": USER,
            "rubric_valid": "True",
            "rubric_epoch": "1",
            "rubrics": ["Names the dose.", "Is\n polite."],
        },
        UNTAGGED,
        "u-1",
    ),
    "chasing-the-tail": (
        {
            "prompt": ASKED,
            "number_of_criteria": 2,
            "total_weight": 4,
            "rubrics": [
                {"criterion": "Names the dose.", "weight": 3},
                {"criterion": "Is polite.", "weight": 1},
            ],
        },
        Rubric((Criterion(None, "Names the dose.", 3), Criterion(None, "Is polite.", 1))),
        None,
    ),
    "wildchecklists": (
        {
            "prompt": ASKED,
            "requirements": "1) Does it name\n the dose? (importance: 100/100)\n2) Polite? (importance: 40/100)\n",
        },
        Rubric((Criterion(None, "Does it name the dose?", 100), Criterion(None, "Polite?", 40))),
        None,
    ),
    "rubricbench": (
        {
            "case_id": "c-1",
            "instruction": ASKED,
            **RESPONSES,
            "label": 0,
            "source": "hs3",
            "domain": "chat",
            "rubrics": "1. Names the dose.\n2. Is polite.",
        },
        UNTAGGED,
        "c-1",
    ),
    "healthbench": (
        {
            "prompt_id": "h-1",
            "prompt": USER,
            "example_tags": ["theme:emergency"],
            "rubrics": [
                {**POINTS[0], "tags": ["level:example", "axis:accuracy"]},
                {**POINTS[1], "tags": ["level:example"]},
            ],
        },
        Rubric(
            (
                Criterion(None, "Names the dose.", 5, category="accuracy"),
                Criterion(None, "Blames the patient.", -3),
            )
        ),
        "h-1",
    ),
    "tinker": (
        {
            "convo": USER,
            "rubric_items": [
                {
                    "rubric_str": "Names\nthe dose.",
                    "extraction_regex": "<score>(.*)</score>",
                    "grader_output_format_instruction": "Write a score between 0 and 1 in <score>.",
                }
            ],
        },
        Rubric(UNTAGGED.criteria[:1]),
        None,
    ),
    "oumi": (
        {
            "prompt": ASKED,
            "rubrics": [{"name": "dose", "description": "Names the dose.", "weight": 0.7}],
            "metadata": {},
        },
        Rubric((Criterion(None, "Names the dose.", 0.7, "dose"),)),
        None,
    ),
    "cdrrm": (
        {
            "instruction": ASKED,
            "hard_rules": [
                {
                    "rule_id": "R1",
                    "type": "must",
                    "criterion": "The response has three words.",
                    "rationale": "r",
                    "derived_from": {"answer_a_findings": [], "answer_b_findings": [1]},
                    "test": "count",
                }
            ],
            "principles": [
                {"principle_id": "P1", "description": "The response is polite.", "rationale": "r"}
            ],
            "pair_consistency_check": {"expected_winner": "A", "rubric_predicts": "A", "notes": ""},
        },
        Rubric(
            (Criterion("hard_rule", "The response has three words.", category="must"), TWO_KINDS.criteria[1])
        ),
        None,
    ),
    "cdrrm-lists": (
        {
            "sid": "7",
            "benchmark": "openrubrics",
            "instruction": ASKED,
            **RESPONSES,
            "raw_rubric_output": "{}",
            "formatted_rubric": "--- Rubric Generation ---\nHard Rules:\n1. The response has three words.\n\n"
            "Principles:\n1. The response is polite.",
            "extra_info": {"original_winner": "A"},
        },
        TWO_KINDS,
        "7",
    ),
}


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {**FIXTURES[name][0], **changes}


def test_every_shape_has_a_fixture():
    assert {name.split()[0] for name in FIXTURES} == {shape.name for shape in RUBRIC_SHAPES}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_row_is_recognised_by_its_keys_and_read(name):
    given, rubric, own_id = FIXTURES[name]
    shape = rubric_shape(given)
    assert shape is not None
    assert shape.name == name.split()[0]
    line = read_rubric_line(given, "f.jsonl:1")
    assert line.rubric == rubric
    assert line.prompt_hash == request_hash((Message("user", ASKED),))
    assert own_id in (None, line.id)
    assert line.provenance["source"] == shape.name
    assert (line.provenance.get("schema") == "unverified") is not shape.verified
    assert read_rubric_line(json.loads(json.dumps(line.to_json())), "g:1") == line


@pytest.mark.parametrize("name", FIXTURES)
def test_rows_are_named_by_what_they_say_and_never_by_their_place(name):
    given, _, _ = FIXTURES[name]
    assert (
        read_rubric_line(given, "f.jsonl:1").id
        == read_rubric_line(dict(reversed(given.items())), "g.jsonl:9").id
    )


def test_whose_author_knew_the_label():
    assert {shape.name for shape in RUBRIC_SHAPES if shape.saw_label} == {
        "openrubrics",
        "auto-rubric",
        "cdrrm",
    }


def test_what_a_rubric_is_for():
    assert {shape.name for shape in RUBRIC_SHAPES if shape.condition == "pair"} == {"cdrrm", "cdrrm-lists"}


def test_pitfalls_keep_their_sign():
    """RubricHub's exporter clamps weights at 0, which drops them."""
    assert [c.weight for c in read_rubric_line(row("rubrichub"), "f:1").rubric.criteria] == [5, -3]


def test_answers_and_verdicts_beside_a_rubric_are_not_read():
    line = read_rubric_line(row("rubrichub-sft", answer="SECRET", rubric_judge_details=["SECRET"]), "f:1")
    assert "SECRET" not in json.dumps(line.to_json())


def test_a_rubric_that_failed_its_own_check_is_refused_though_its_flag_is_a_string():
    for flag in ("False", False, "true"):
        with refused(RowError, "f:1", "rubric_valid", "keep"):
            read_rubric_line(row("auto-rubric", rubric_valid=flag), "f:1")


def test_json_inside_a_string_and_tags_inside_strings():
    texts = json.dumps(["Names the dose. [Hard Rule]", "Is polite."])
    expected = Rubric((Criterion("hard_rule", "Names the dose."), Criterion(None, "Is polite.")))
    assert read_rubric_line(row("rubricbench", rubrics=texts), "f:1").rubric == expected
    assert read_rubric_line(row("chasing-the-tail", rubrics=json.dumps(POINTS)), "f:1").rubric == WEIGHED
    assert read_rubric_line(row("openrubrics v1", rubric="Be kind."), "f:1").rubric == Rubric(text="Be kind.")


def test_a_system_prompt_is_part_of_the_request():
    turns = (Message("system", "You are a pharmacist."), Message("user", ASKED))
    line = read_rubric_line(row("oumi", system_prompt="You are a pharmacist."), "f:1")
    assert line.prompt_hash == request_hash(turns)


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        (
            "rubrichub",
            {"reward_model": {"rubrics": []}},
            ["reward_model.rubrics", "a list of 0", "leave out"],
        ),
        (
            "rubrichub",
            {"reward_model": {"rubrics": [*POINTS, {"criterion": " "}]}},
            ["reward_model.rubrics[2].criterion"],
        ),
        ("rubrichub-sft", {"rubrics": [{"criterion": "x", "points": "5"}]}, ["rubrics[0].points", "'5'"]),
        ("rar", {"rubric": [{"description": "x", "weight": True}]}, ["rubric[0].weight", "true"]),
        ("auto-rubric", {"rubrics": ["x", 3]}, ["rubrics[1]", "the number 3"]),
        ("auto-rubric", {"rubrics": None}, ["rubrics", "null", "leave out"]),
        ("chasing-the-tail", {"rubrics": [{"criterion": "x"}, "y"]}, ["rubrics[1]", "'y'", "criterion"]),
        ("wildchecklists", {"requirements": " "}, ["requirements", "' '"]),
        ("rubricbench", {"rubrics": 3}, ["rubrics", "the number 3"]),
        ("healthbench", {"rubrics": [*POINTS, {"points": 1}]}, ["rubrics[2].criterion", "null"]),
        ("tinker", {"rubric_items": "x"}, ["rubric_items", "'x'", "leave out"]),
        ("oumi", {"rubrics": [{"description": "x", "name": 3}]}, ["rubrics[0]", "name", "the number 3"]),
        ("cdrrm", {"hard_rules": 3}, ["hard_rules", "the number 3", "leave out"]),
        ("cdrrm", {"hard_rules": [], "principles": []}, ["hard_rules", "a list of 0", "leave out"]),
        (
            "cdrrm-lists",
            {"formatted_rubric": "Hard Rules:\n1. (Failed to parse rubric)"},
            ["formatted_rubric", "leave"],
        ),
        ("openrubrics v1", {"rubric": ""}, ["rubric", "''"]),
        ("openrubrics v1", {"instruction": 3}, ["instruction", "the number 3"]),
    ],
)
def test_a_malformed_row_is_named_by_place_field_and_value(name, changes, named):
    with refused(RowError, "f.jsonl:4", *named):
        read_rubric_line(row(name, **changes), "f.jsonl:4")


def test_a_row_of_no_shape_is_named_by_its_keys():
    with refused(RowError, "f.jsonl:4", "'question'", "criteria: [{text}]"):
        read_rubric_line({"question": "x", "checks": []}, "f.jsonl:4")
