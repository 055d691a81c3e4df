"""Counts over output rows: rates by hand, with intervals over what is independent."""

from __future__ import annotations

from dataclasses import replace

from reasrm.judged import JudgedRow
from reasrm.judging.tally import Tally
from reasrm.metrics.intervals import bootstrap_ratio, wilson
from reasrm.records import Judgment, Order, ParseStatus, RowStatus, Verdict


def line(
    verdicts: str, correct: bool | None = None, group: str | None = None, status: RowStatus = RowStatus.OK
) -> JudgedRow:
    """An output row judged in both orders; `?` is unreadable. Verdicts are in the row's own frame."""
    return JudgedRow(
        id="row",
        status=status,
        consistent=len(set(verdicts)) == 1,
        correct=correct,
        group=group,
        judgments=tuple(
            Judgment(ParseStatus.NO_VERDICT, order=order)
            if said == "?"
            else Judgment(ParseStatus.OK, Verdict("A" if said == "A" else "B"), order=order)
            for order, said in zip(Order, verdicts, strict=True)
        ),
    )


def test_the_judgments_of_a_row_are_no_independent_trials() -> None:
    tally = Tally()
    for verdicts in ("AB", "AB", "BA", "AB"):  # the first shown, twice, or the second, twice
        tally.add(line(verdicts))
    assert tally.summary()["position_a_rate"] == replace(wilson(3, 4), n=8).as_dict()
    tally.add(line("AA"))
    tally.add(line("B?"))
    tally.add(line("??"))
    parts = [(2.0, 2.0)] * 3 + [(0.0, 2.0), (1.0, 2.0), (0.0, 1.0)]
    assert tally.summary()["position_a_rate"] == replace(bootstrap_ratio(parts, 0), n=11).as_dict()


def test_rows_of_a_group_are_no_independent_trials() -> None:
    tally = Tally()
    for right in (True, True, False):
        tally.add(line("AA", right))
    tally.add(line("?A"))
    assert tally.summary()["accuracy"] == wilson(2, 3).as_dict()
    for right in (True, False, True):
        tally.add(line("AA", right, "item"))
    parts = [(0.0, 1.0), (1.0, 1.0), (1.0, 1.0), (2.0, 3.0)]
    assert tally.summary()["accuracy"] == replace(bootstrap_ratio(parts, 0), n=6).as_dict()


def test_the_headline_has_accuracy_and_what_it_leaves_out() -> None:
    tally = Tally(errors=1)
    for verdicts, right in (("AA", True), ("AA", True), ("BB", False), ("A?", True)):
        tally.add(line(verdicts, right))
    tally.add(line("AB", status=RowStatus.SPLIT))
    tally.add(line("??", status=RowStatus.NO_VERDICT))
    interval = wilson(3, 4)
    assert tally.headline() == tally.summary()["headline"]
    assert tally.headline() == {
        "accuracy": 0.75,
        "ci_low": interval.ci_low,
        "ci_high": interval.ci_high,
        "n": 4,
        "splits": 1,
        "coverage": 5 / 7,
    }


def test_nothing_out_of_nothing_is_null() -> None:
    summary = Tally().summary()
    nothing = {"accuracy": None, "ci_low": None, "ci_high": None, "n": 0, "splits": 0, "coverage": None}
    assert summary["headline"] == nothing
    assert summary["accuracy"] is summary["position_a_rate"] is summary["consistency"] is None
