"""The judged row: what is written is read back, and what cannot have been written is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from reasrm.errors import RowError
from reasrm.judged import JudgedRow, is_judged, judgment_id, read_judged, read_judgments
from reasrm.records import Judgment, Order, ParseStatus, RowStatus, Verdict

PAIR = JudgedRow(
    id="q",
    status=RowStatus.OK,
    verdict="A",
    confidence=0.75,
    consistent=True,
    correct=False,
    label="B",
    subset="math",
    flagged=("prompt",),
    meta={"cell": [0, 1]},
    judgments=(
        Judgment(
            ParseStatus.OK,
            Verdict("A", 2),
            text="[[A]]",
            critique="A is right",
            num_tokens=4,
            prompt_hash="ab",
        ),
        Judgment(ParseStatus.TRUNCATED, text="so", order=Order.BA, vote=1, detail="cut", thinking_open=True),
    ),
    judge={"name": "j"},
    seed=3,
)
LIST = JudgedRow(
    id="l",
    status=RowStatus.OK,
    scores=(1.0, None),
    ranking=(1, 0),
    label=(1, 0),
    judgments=(Judgment(ParseStatus.OK, ranking=(1, 0), scores=(1.0, 2.5), shown=(1, 0), text="2 > 1"),),
    seed=0,
)
SINGLE = JudgedRow(
    id="s",
    status=RowStatus.OK,
    score=2.5,
    label=2.5,
    judgments=(Judgment(ParseStatus.OK, score=2.5, response=1),),
)


@pytest.mark.parametrize("row", [PAIR, LIST, SINGLE, JudgedRow(id="i", status=RowStatus.IDENTICAL)])
def test_what_is_written_is_read_back(row: JudgedRow) -> None:
    assert read_judged(orjson.loads(orjson.dumps(row.to_json()))) == row


def test_verdicts_of_judgments_are_in_the_rows_own_order() -> None:
    assert [PAIR.is_right(judgment) for judgment in PAIR.judgments] == [False, False]
    assert SINGLE.is_right(PAIR.judgments[0]) is False
    assert JudgedRow(id="n", status=RowStatus.OK).is_right(PAIR.judgments[0]) is None
    assert judgment_id("q", Order.BA, 1) == "q/BA/1"


def test_an_order_maps_to_what_is_shown_and_back() -> None:
    verdict = Verdict("A", 1)
    assert Order.AB.seen(verdict) == verdict
    assert Order.BA.seen(verdict) == Verdict("B", 1)
    assert Order.BA.seen(Order.BA.seen(verdict)) == verdict


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (PAIR.to_json(), True),
        ({"judgments": []}, True),
        ({"judgments": [{"judge_name": "x", "decision": "A>B"}]}, False),
        ({"judgments": "A"}, False),
        ({}, False),
    ],
)
def test_other_programs_judgments_are_not_ours(row: dict[str, Any], expected: bool) -> None:
    assert is_judged(row) is expected


def test_judgments_without_a_status_are_ok_if_they_decide() -> None:
    row = {"judgments": [{"order": "AB", "verdict": "B"}, {"order": "BA"}, {"order": "AB", "scores": [1, 2]}]}
    found = read_judgments(row, "f:1")
    assert [judgment.status.value for judgment in found] == ["ok", "no_verdict", "ok"]


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [True]},
        {"scores": "1"},
        {"shown": [0.5]},
        {"thinking_open": 1},
        {"vote": "0"},
        {"text": 3},
        {"num_tokens": 1.5},
        {"score": "4"},
        {"credited": "C"},
        {"order": None},
    ],
)
def test_a_judgment_of_wrong_types_names_place_and_field(change: dict[str, Any]) -> None:
    item = {"order": "AB", "vote": 0, "verdict": None, "status": "ok"} | change
    with pytest.raises(RowError) as caught:
        read_judgments({"judgments": [item]}, "out.jsonl:3")
    assert "out.jsonl:3: judgments[0]" in str(caught.value)
    assert repr(next(iter(change))) in str(caught.value)
