"""Reading the rows that `reasrm judge` writes."""

from __future__ import annotations

from typing import Any

import pytest

from reasrm.errors import RowError
from reasrm.judged import read_judged
from reasrm.metrics.outcomes import RowOutcome, by_subset, from_row, majority
from reasrm.records import Order, ParseStatus, RowStatus

JUDGED: dict[str, Any] = {
    "id": "q17",
    "verdict": "A",
    "status": "ok",
    "confidence": 0.67,
    "consistent": None,
    "correct": False,
    "label": "B",
    "subset": "math",
    "group": "g1",
    "meta": {"cell": [0, 1]},
    "judgments": [
        {"order": "BA", "vote": 0, "verdict": None, "status": "ambiguous", "text": "..."},
        {"order": "AB", "vote": 1, "verdict": "tie", "status": "ok"},
        {"order": "AB", "vote": 0, "verdict": "A", "status": "ok"},
    ],
}


def test_from_row_sorts_votes_and_keeps_the_unreadable() -> None:
    row = from_row(read_judged(JUDGED))
    assert row == RowOutcome(
        id="q17",
        target="B",
        status=RowStatus.OK,
        verdict="A",
        by_order={Order.AB: ("A", "tie"), Order.BA: (None,)},
        parses=(ParseStatus.AMBIGUOUS, ParseStatus.OK, ParseStatus.OK),
        subset="math",
        group="g1",
        meta={"cell": [0, 1]},
    )
    assert row.reading == "A"
    assert row.games == ("split", "unreadable")


def test_a_scored_pair_has_a_verdict_and_no_orders() -> None:
    row = from_row(
        read_judged(
            {
                "id": "s",
                "verdict": "B",
                "status": "ok",
                "label": "A",
                "scores": [1.0, 2.0],
                "ranking": [1, 0],
                "judgments": [
                    {"order": "AB", "vote": 0, "verdict": None, "status": "ok", "score": 1.0},
                    {"order": "AB", "vote": 0, "verdict": None, "status": "ok", "score": 2.0, "response": 1},
                ],
            }
        )
    )
    assert row.by_order == {}
    assert row.ranking == (1, 0)
    assert row.games == ("B",)
    assert row.game(Order.AB) is None


def test_a_row_that_was_not_asked_is_unreadable_in_every_order() -> None:
    row = from_row(
        read_judged({"id": "i", "verdict": None, "status": "identical", "label": "A", "judgments": []})
    )
    assert row.reading == "unreadable"
    assert [row.game(order) for order in Order] == ["unreadable", "unreadable"]
    assert row.games == ("unreadable",)


@pytest.mark.parametrize(
    ("label", "target", "kept"),
    [
        ("A", "A", None),
        ("tie", "tie", None),
        (None, None, None),
        (4, None, 4),
        (2.5, None, 2.5),
        ([2, 0, 1], None, (2, 0, 1)),
    ],
)
def test_labels(label: object, target: object, kept: object) -> None:
    row = from_row(read_judged({"id": "x", "verdict": None, "status": "no_verdict", "label": label}))
    assert (row.target, row.label) == (target, kept)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"label": "A>B"}, "bad_value"),
        ({"label": True}, "bad_value"),
        ({"verdict": "a"}, "bad_value"),
        ({"status": "fine"}, "bad_value"),
        ({"status": "split"}, "contradiction"),
        ({"judgments": [{"order": "AA", "verdict": "A", "status": "ok"}]}, "bad_value"),
        ({"judgments": [{"order": "AB", "verdict": "A", "status": "ambiguous"}]}, "contradiction"),
        ({"judgments": [{"verdict": "A", "status": "ok"}]}, "missing_field"),
    ],
)
def test_contradictory_rows_are_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        read_judged(JUDGED | change, "out.jsonl:3")
    assert caught.value.code == code
    assert (caught.value.place or "").startswith("out.jsonl:3")


@pytest.mark.parametrize("name", ["id", "status"])
def test_missing_fields_are_named(name: str) -> None:
    with pytest.raises(RowError, match=f"'{name}' is missing"):
        read_judged({key: value for key, value in JUDGED.items() if key != name})


@pytest.mark.parametrize(
    ("votes", "reading"),
    [
        ((), "unreadable"),
        ((None, None), "unreadable"),
        (("A", None), "A"),
        (("A", "B"), "split"),
        (("A", "B", "B"), "B"),
        (("A", "B", "tie", "tie"), "tie"),
        (("A", "tie"), "split"),
    ],
)
def test_majority(votes: Any, reading: str) -> None:
    assert majority(votes) == reading


def test_by_subset_leaves_rows_without_one_out() -> None:
    rows = [RowOutcome(id="1", subset="b"), RowOutcome(id="2"), RowOutcome(id="3", subset="a")]
    assert {name: [row.id for row in part] for name, part in by_subset(rows).items()} == {
        "a": ["3"],
        "b": ["1"],
    }
