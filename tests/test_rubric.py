"""Criteria and rubrics: the bytes a judge is shown, and reading them back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.rubric import Criterion, Rubric, cdrrm_criteria

# Texts made to be misread: tags, notes, headings, numbers and quotes inside a criterion.
PIECES = st.sampled_from(
    [
        *(
            "x",
            "2.",
            "-",
            "* ",
            "[Hard Rule]",
            "[Principle]",
            "[criterion].",
            "(weight 2)",
            "(veto)",
            "()",
            " (",
        ),
        *(
            'name "y"',
            '"',
            "\\",
            "\\u",
            ")",
            "None",
            "Hard Rules:",
            "Principles",
            "\n",
            "\u2028",
            "\x1c",
            "\x1f",
            "é",
        ),
        *('(name "y [Hard Rule]")', ", veto)", " < ", "{", "\t", "ı", "--- Rubric Generation ---"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=6).map(" ".join) | st.text(max_size=12)
CRITERIA = st.builds(
    Criterion,
    kind=st.sampled_from(["hard_rule", "principle", None]),
    text=TEXTS.filter(lambda text: text.strip() and not text.strip().endswith("(Failed to parse rubric)")),
    weight=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
    name=st.none() | TEXTS,
    choices=st.lists(TEXTS, max_size=3).map(tuple),
    category=st.none() | TEXTS,
    veto=st.booleans(),
)
RUBRICS = st.lists(CRITERIA, min_size=1, max_size=4).map(lambda criteria: Rubric(tuple(criteria)))
KINDS = ["hard_rule", "principle", None]


@settings(max_examples=50)
@given(RUBRICS)
def test_reading_is_the_inverse_of_rendering(rubric):
    assert Rubric.read(rubric.render()) == rubric
    grouped = tuple(sorted(rubric.criteria, key=lambda c: KINDS.index(c.kind)))
    assert Rubric.read(rubric.render("two_lists")) == Rubric.read(rubric.render("json")) == Rubric(grouped)


@given(st.text() | st.lists(PIECES).map("\n".join) | st.lists(PIECES).map("".join))
def test_any_text_is_read_or_left_alone(text):
    found = Rubric.read(text)
    assert found is None or Rubric.read(found.render()) == found


def test_the_bytes_a_judge_is_shown():
    rubric = Rubric(
        (
            Criterion("hard_rule", "Names the city."),
            Criterion("principle", "Is friendly.", 0.25),
            Criterion(
                None, "Blames\n  the reader.", -2, "Blame", category="Pitfall", veto=True, source="a set"
            ),
            Criterion("principle", "Is deep.", 1234567, choices=("no", "a bit", "yes")),
        )
    )
    assert rubric.render() == (
        "1. Names the city. [Hard Rule]\n"
        "2. Is friendly. [Principle] (weight 0.25)\n"
        '3. Blames the reader. [Criterion] (weight -2, veto, name "Blame", category "Pitfall")\n'
        '4. Is deep. [Principle] (weight 1234567.0, choices "no" < "a bit" < "yes")'
    )
    assert rubric.render("two_lists") == (
        "Hard Rules:\n1. Names the city.\n\n"
        'Principles:\n1. Is friendly. (weight 0.25)\n2. Is deep. (weight 1234567.0, choices "no" < "a bit" < "yes")\n\n'
        'Criteria:\n1. Blames the reader. (weight -2, veto, name "Blame", category "Pitfall")'
    )
    assert (
        Rubric(rubric.criteria[:1]).render("two_lists")
        == "Hard Rules:\n1. Names the city.\n\nPrinciples:\nNone"
    )
    assert Rubric(text="Be kind.").render() == Rubric(text="Be kind.").render("two_lists") == "Be kind."


def test_a_criterion_in_json_says_only_what_it_says():
    assert Criterion("principle", "Is kind.").to_json() == {"kind": "principle", "text": "Is kind."}
    assert Criterion(None, "x", 0.0, "n", ("a", "b"), "c", True, "s").to_json() == {
        "text": "x",
        "weight": 0.0,
        "name": "n",
        "choices": ["a", "b"],
        "category": "c",
        "veto": True,
        "source": "s",
    }
    assert Criterion(None, "x", source="s") == Criterion(None, "x"), "where it comes from is not what it says"


def test_cdrrms_json_carries_tests_and_rationales_that_no_judge_is_shown():
    hard = Criterion(
        "hard_rule", "Names the city.", category="must", test="Look for Rome.", rationale="Asked."
    )
    rubric = Rubric((Criterion("principle", "Is kind.", rationale="It is\na letter."), hard))
    text = rubric.render("json")
    assert json.loads(text) == {
        "hard_rules": [
            {"type": "must", "criterion": "Names the city.", "rationale": "Asked.", "test": "Look for Rome."}
        ],
        "principles": [{"description": "Is kind.", "rationale": "It is a letter."}],
    }
    read = Rubric.read(text)
    assert read is not None
    assert [criterion.to_json() for criterion in read.criteria] == [
        criterion.to_json() for criterion in (hard, rubric.criteria[0])
    ]
    assert "Rome" not in rubric.render() + rubric.render("two_lists")


@pytest.mark.parametrize("odd", [{"weight": "2"}, {"weight": True}, {"weight": 1e999}, {"choices": "a"}])
def test_json_with_a_number_that_is_none_is_no_rubric(odd):
    said = {"hard_rules": [{"criterion": "x", **odd}]}
    assert cdrrm_criteria(said) is None


HARD, SOFT = Criterion("hard_rule", "Has two parts."), Criterion("principle", "Is kind.")


@pytest.mark.parametrize(
    "text",
    [
        "1. Has two parts. [Hard Rule]\n2. Is kind. [Principle]",
        "\n - Has two parts.[HARD RULE].\n\n* Is kind.  [principle];\n",
        "1) Has two parts. [Hard Rule]\r\n2) Is kind. [Principle]",
        "Hard Rules:\n1. Has two parts.\n\nPrinciples:\n1. Is kind.",
        "--- Rubric Generation ---\nHard Rules:\n1. Has two parts.\n\nPrinciples:\n1. Is kind.",
        "## Hard Rules\n- Has two parts.\n\n**Principles:**\n- Is kind.",
        json.dumps(
            {"hard_rules": [{"criterion": "Has two parts."}], "principles": [{"description": "Is kind."}]}
        ),
        json.dumps({"hard_rules": [{"rule": "Has two parts."}], "principles": ["Is kind."]}),
    ],
)
def test_forms_that_others_write(text):
    assert Rubric.read(text) == Rubric((HARD, SOFT))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " \n",
            "Be kind.",
            "1. One. [Hard Rule]\nMore of it",
            "1. One.",
            "1. [Hard Rule]",
            "1. x [Maxim]",
        ),
        *(
            "1. x [Hard Rule] (weight two)",
            "1. x [Hard Rule] (weight 1e999)",
            '1. x [Hard Rule] (name "\\x")',
        ),
        *("Hard Rules:\nNone\n\nPrinciples:\nNone", "Hard Rules:\n1. x\nHard Rules:\n1. y", "Hard Rules:\nx"),
        "--- Rubric Generation ---\nHard Rules:\n1. (Failed to parse rubric)\n\nPrinciples:\nNone",
        *(
            "{",
            "{}",
            '{"hard_rules": 3}',
            '{"hard_rules": [{"test": "x"}]}',
            '{"hard_rules": [{"criterion": ""}]}',
        ),
        *('{"hard_rules": []}', '{"principles": [{"description": "x"}]}', "{" * 100_000, "1. x [Prıncıple]"),
    ],
)
def test_what_is_no_list_of_criteria(text):
    assert Rubric.read(text) is None


def test_a_writers_word_for_its_own_rubric_is_not_looked_at():
    """CDRRM's filter trusts `pair_consistency_check`, which the writer fills in itself."""
    said = {"hard_rules": [{"criterion": "Has two parts.", "type": "must"}], "principles": []}
    boast = {**said, "pair_consistency_check": {"expected_winner": "A", "rubric_predicts": "A"}}
    assert (
        cdrrm_criteria(boast)
        == cdrrm_criteria(said)
        == (Criterion("hard_rule", "Has two parts.", category="must"),)
    )


@pytest.mark.parametrize("piece", ["[Hard Rule]", "1. ", " (", '(name "', "x [Hard Rule] ", "\\", " "])
def test_long_hostile_texts_are_read_in_no_time(piece):
    Rubric.read("1. x " + piece * (100_000 // len(piece)))
    Rubric.read("Hard Rules:\n1. x " + piece * (100_000 // len(piece)))
