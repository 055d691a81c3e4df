"""Files of rubrics: what a person may write, what a line says, which rubric a row gets, and whose labels it saw."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.errors import InputError, RowError
from reasrm.hashing import request_hash
from reasrm.records import Comparison, Message, Order, Row
from reasrm.rubric import Criterion, Rubric
from reasrm.sources.rubric_lines import RubricLine, Rubrics, load_rubrics, read_rubric_line
from tests.refusals import refused

KIND = Rubric((Criterion("principle", "Is kind."),))
SHORT = Rubric((Criterion("hard_rule", "Is short."),))


def asked(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def judged(row_id: str, prompt: str = "p") -> Row:
    return Comparison(id=row_id, prompt=asked(prompt), response_a="a", response_b="b")


def line(row_id: str = "q", **changes: Any) -> RubricLine:
    return RubricLine(**{"id": row_id, "rubric": KIND, **changes})


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


LINES = st.builds(
    RubricLine,
    id=st.text(min_size=1),
    rubric=st.sampled_from(
        [KIND, SHORT, Rubric(text="Be kind."), Rubric((Criterion(None, "x", -1.5, veto=True),))]
    ),
    prompt_hash=st.none() | st.just("0123456789abcdef"),
    condition=st.sampled_from(["prompt", "pair"]),
    order=st.sampled_from([None, *Order]),
    saw_label=st.booleans(),
    provenance=st.dictionaries(
        st.sampled_from(["author", "seed", "pairs", "step"]), st.integers() | st.lists(st.text())
    ),
)


@given(LINES)
def test_reading_a_line_is_the_inverse_of_writing_it(one):
    assert read_rubric_line(json.loads(json.dumps(one.to_json())), "f:1") == one


def test_a_line_by_hand():
    one = line(
        prompt_hash="abc",
        condition="pair",
        order=Order.BA,
        saw_label=True,
        provenance={"author": "m", "pairs": ["q"]},
    )
    assert one.to_json() == {
        "id": "q",
        "prompt_hash": "abc",
        "criteria": [{"kind": "principle", "text": "Is kind."}],
        "condition": "pair",
        "order": "BA",
        "saw_label": True,
        "provenance": {"author": "m", "pairs": ["q"]},
    }


def test_the_documented_line():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    documented = json.loads(page.partition("## Rubrics")[2].partition("```json\n")[2].partition("\n```")[0])
    one = read_rubric_line(documented, "data.md:1")
    assert one.to_json() == documented
    assert one.rubric.criteria[0].choices == ("no", "vaguely", "exactly")


def test_what_a_person_may_write():
    bare = read_rubric_line({"id": "q", "criteria": [{"text": "Is kind."}]}, "f:1")
    assert bare == line(rubric=Rubric((Criterion(None, "Is kind."),)))
    by_prompt = read_rubric_line({"prompt": "p", "rubric": "Be kind."}, "f:1")
    assert (by_prompt.rubric, by_prompt.prompt_hash) == (Rubric(text="Be kind."), request_hash(asked("p")))
    source = read_rubric_line({"id": "q", "criteria": [{"text": "x", "source": "pair 7"}]}, "f:1")
    assert source.rubric.criteria[0].source == "pair 7"
    assert source.to_json()["criteria"] == [{"text": "x", "source": "pair 7"}]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"criteria": [{"text": "x"}]}, ["id"]),
        ({"id": "q", "criteria": [{"text": "x"}, {"text": " "}]}, ["rubric.criteria[1].text", "' '"]),
        (
            {"id": "q", "criteria": [{"text": "x", "kind": "rule"}]},
            ["criteria[0].kind", "'rule'", "hard_rule"],
        ),
        (
            {"id": "q", "criteria": [{"text": "x", "choices": ["a", 1]}]},
            ["criteria[0].choices", "worst to best"],
        ),
        ({"id": "q", "criteria": [{"text": "x", "veto": 1}]}, ["criteria[0].veto", "the number 1"]),
        ({"id": "q", "criteria": ["x"]}, ["criteria[0]", "'x'"]),
        ({"id": "q", "rubric": "x", "saw_label": "no"}, ["saw_label", "'no'"]),
        ({"id": "q", "rubric": "x", "order": "A"}, ["order", "'A'"]),
        ({"id": "q", "rubric": "x", "condition": "response"}, ["condition", "'response'", "'pair'"]),
        ({"id": "q", "rubric": "x", "provenance": "me"}, ["provenance", "'me'"]),
        ({"id": "q", "rubric": "x", "prompt_hash": 3}, ["prompt_hash", "the number 3"]),
        ({"id": "q", "rubric": "x", "prompt": 3}, ["prompt", "the number 3"]),
    ],
)
def test_a_slip_of_the_pen_is_named_by_place_field_and_value(row, named):
    with refused(RowError, "r.jsonl:7", *named):
        read_rubric_line(row, "r.jsonl:7")


def test_a_row_gets_the_rubric_of_its_id_before_that_of_its_request():
    book = Rubrics([line("a"), line("b", rubric=SHORT, prompt_hash=request_hash(asked("p")))])
    assert [
        found and found.id for found in map(book.find, (judged("a"), judged("c"), judged("d", "other")))
    ] == [
        *("a", "b"),
        None,
    ]


def test_a_rubric_of_a_pair_is_for_no_other_pair():
    of_pair = line("a", condition="pair", prompt_hash=request_hash(asked("p")))
    assert Rubrics([of_pair]).find(judged("a")) == of_pair
    assert Rubrics([of_pair]).find(judged("b")) is None


def test_two_rubrics_of_one_request_are_refused_where_a_row_would_have_to_choose():
    request = request_hash(asked("p"))
    book = Rubrics([line("a", prompt_hash=request), line("b", prompt_hash=request, rubric=SHORT)])
    assert book.find(judged("b")).id == "b"
    with refused(InputError, "'a'", "'b'", "'c'"):
        book.find(judged("c"))
    same = Rubrics([line("a", prompt_hash=request), line("b", prompt_hash=request)])
    assert same.find(judged("c")).rubric == KIND


def test_repeated_ids_are_refused_with_both_places(tmp_path):
    path = written(
        tmp_path / "r.jsonl",
        {"id": "q", "rubric": "x"},
        {"id": "p", "rubric": "x"},
        {"id": "q", "rubric": "x"},
    )
    with refused(InputError, "r.jsonl:3", "'q'", "r.jsonl:1"):
        load_rubrics(path)


def test_a_public_file_is_read_in_any_order_and_says_the_same_twice_once(tmp_path):
    rows = [
        {"instruction": f"p{n % 5}", "rubric": f"1. Is {n % 7}. [Principle]", "source": "x"}
        for n in range(40)
    ]
    book = load_rubrics(written(tmp_path / "a.jsonl", *rows))
    assert len(book.by_id) == 35
    random.Random(0).shuffle(rows)
    assert load_rubrics(written(tmp_path / "b.jsonl", *rows)).identity == book.identity


def test_the_place_of_a_bad_line_in_a_file(tmp_path):
    with refused(RowError, "r.jsonl:2", "criteria[0].weight", "'2'"):
        load_rubrics(
            written(
                tmp_path / "r.jsonl",
                {"id": "a", "rubric": "x"},
                {"id": "b", "criteria": [{"text": "x", "weight": "2"}]},
            )
        )


def test_what_decides_a_rubric_is_its_identity():
    request = request_hash(asked("p"))
    book = Rubrics([line("a")])
    assert book.identity == [("a", "1. Is kind. [Principle]")]
    others = [line("a", rubric=SHORT), line("a", prompt_hash=request), line("b")]
    assert len({str(Rubrics([other]).identity) for other in others} | {str(book.identity)}) == 4
    silent = [
        line("a", saw_label=True, provenance={"author": "m"}),
        line("a", condition="pair", prompt_hash=request),
    ]
    assert all(Rubrics([same]).identity == book.identity for same in silent)


def sightings(lines: list[RubricLine], *rows: Row) -> list[str]:
    joined = map(Rubrics(lines).join, rows)
    return [row.id for row in joined if row.rubric is not None and row.rubric.saw_label]


def test_whose_labels_were_seen():
    request = request_hash(asked("p"))
    rows = (judged("a"), judged("b"), judged("c", "other"))
    assert sightings([line("a"), line("b", prompt_hash=request)], *rows) == []
    assert sightings([line("a", saw_label=True)], *rows) == ["a"]
    by_request = line("z", saw_label=True, prompt_hash=request)
    assert sightings([by_request], *rows) == ["a", "b"]
    assert sightings([by_request, line("a", rubric=SHORT)], *rows) == ["b"], "row a is shown another rubric"
    assert sightings([line("z", saw_label=True)], *rows) == [], "no row is shown it"


def test_a_merged_rubric_saw_the_labels_of_all_its_pairs():
    merged = line("m", saw_label=True, provenance={"pairs": ["a", "b"]})
    assert [merged.saw(judged(row_id)) for row_id in ("m", "a", "b", "c")] == [True, True, True, False]
    assert not line("m", provenance={"pairs": ["a"]}).saw(judged("a"))


def test_the_name_of_a_request_hangs_on_roles_and_texts_alone():
    assert request_hash(asked("p")) == hashlib.sha256(b'[["user","p"]]').hexdigest()[:16]
    assert request_hash(asked("p")) != request_hash((Message("system", "p"),))
