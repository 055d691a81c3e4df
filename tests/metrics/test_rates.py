"""Coverage, consistency, position and agreement, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reasrm.metrics.intervals import Estimate, wilson
from reasrm.metrics.rates import (
    common_counts,
    common_metrics,
    consistency,
    coverage,
    num_inconsistent,
    order_kappa,
    position_a_rate,
)
from reasrm.records import RowStatus
from tests.metrics.builders import pair, swapped

UNDEFINED = Estimate(None, None, None, 0)
ROWS = [
    pair("A", "A"),  # consistent
    pair("B", "B"),  # consistent
    pair("=", "=", target="tie"),  # consistent tie
    pair("A", "B"),  # inconsistent, the first shown both times; split
    pair("A", "="),  # inconsistent; split
    pair("A", "?"),  # one order readable
    pair("?", "?"),  # none
    pair("A", ""),  # asked once
]


def test_coverage_counts_ok_and_split() -> None:
    assert coverage(ROWS) == wilson(7, 8)
    assert coverage([*ROWS, replace(ROWS[6], status=RowStatus.ERROR)]) == wilson(7, 9)
    assert coverage([]) == UNDEFINED


def test_consistency_is_over_rows_readable_in_both_orders() -> None:
    assert consistency(ROWS) == wilson(3, 5)
    assert num_inconsistent(ROWS) == 2
    assert consistency([pair("A"), pair("?", "?")]) == UNDEFINED


def test_level_votes_in_an_order_agree_with_nothing() -> None:
    assert consistency([pair("AB", "AB")]) == wilson(0, 1)
    assert consistency([pair("AAB", "A")]) == wilson(1, 1)


def test_position_rate_counts_sides_only() -> None:
    # Shown first: A in order AB, B in order BA. First, of sides chosen: A A 1 of 2, B B 1 of 2, A B 2 of 2,
    # A = 1 of 1, A ? 1 of 1, A 1 of 1; together 7 of 9, from 6 rows.
    got = position_a_rate(ROWS, seed=0)
    assert got.value == pytest.approx(7 / 9)
    assert got.n == 6
    assert position_a_rate([pair("=", "?")]) == UNDEFINED


def test_a_judge_that_always_takes_the_first_has_rate_one() -> None:
    assert position_a_rate([pair("A", "B")] * 3) == Estimate(1.0, 1.0, 1.0, 3)
    assert position_a_rate([pair("B", "A")] * 3) == Estimate(0.0, 0.0, 0.0, 3)


def test_exchanging_the_responses_changes_no_rate() -> None:
    assert common_metrics([swapped(row) for row in ROWS], seed=1) == common_metrics(ROWS, seed=1)
    assert common_metrics(ROWS[::-1], seed=1) == common_metrics(ROWS, seed=1)


def test_kappa_by_hand() -> None:
    # Verdicts (first, second): AA, AA, BB, AB. Agreement 3/4; A is said 3/4 and 2/4 of times, B 1/4 and 2/4:
    # chance 3/8 + 1/8 = 1/2; kappa = (3/4 - 1/2) / (1 - 1/2) = 1/2.
    rows = [pair("A", "A"), pair("A", "A"), pair("B", "B"), pair("A", "B"), pair("A", "?")]
    got = order_kappa(rows)
    assert got.value == 0.5
    assert got.n == 4


def test_kappa_is_undefined_if_only_one_thing_is_said() -> None:
    assert order_kappa([pair("A", "A")] * 3) == Estimate(None, None, None, 3)
    assert order_kappa([]) == UNDEFINED


def test_counts() -> None:
    assert common_counts(ROWS) == {
        "num_rows": 8,
        "num_labelled": 8,
        "num_judgments": 15,
        "num_inconsistent": 2,
        "status_no_verdict": 1,
        "status_ok": 5,
        "status_split": 2,
        "parse_no_verdict": 3,
        "parse_ok": 12,
    }
