"""Intervals: Wilson against scipy, the bootstrap against hand-derived values and its own invariants."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from reasrm.errors import InternalError
from reasrm.metrics.intervals import (
    Estimate,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_statistic,
    bootstrap_table,
    clustered_mean,
    mean_estimate,
    wilson,
)

UNDEFINED = Estimate(None, None, None, 0)


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 350), (350, 350), (1, 2), (230, 350), (697, 999), (7, 10**6)]
)
@pytest.mark.parametrize("level", [0.95, 0.5, 0.999])
def test_wilson_equals_scipy(successes: int, n: int, level: float) -> None:
    expected = binomtest(successes, n).proportion_ci(level, method="wilson")
    got = wilson(successes, n, level)
    assert got.value == successes / n
    assert got.ci_low == pytest.approx(expected.low, abs=1e-12)
    assert got.ci_high == pytest.approx(expected.high, abs=1e-12)
    assert got.n == n


def test_wilson_by_hand() -> None:
    # p = 1/2, n = 4, z² = 3.841459: centre 1/2, half = sqrt(1/16·z² + z⁴/64) / (1 + z²/4)
    #   = z/4 · sqrt(1 + z²/4) / (1 + z²/4) = 1.959964 / 4 / sqrt(1.960365) = 0.349962
    got = wilson(2, 4)
    assert got.ci_low == pytest.approx(0.150039, abs=2e-6)
    assert got.ci_high == pytest.approx(0.849961, abs=2e-6)


def test_nothing_out_of_nothing() -> None:
    assert wilson(0, 0) == UNDEFINED
    assert bootstrap_mean([], seed=0) == UNDEFINED
    assert bootstrap_ratio([(0.0, 0.0)], seed=0) == UNDEFINED
    assert mean_estimate([], seed=0) == UNDEFINED
    empty = np.empty((0, 2))
    assert bootstrap_statistic([empty], lambda _: {"x": math.nan}, seed=0) == {"x": UNDEFINED}
    assert UNDEFINED.as_dict() == {"value": None, "ci_low": None, "ci_high": None, "n": 0}


def test_wilson_rejects_impossible_counts() -> None:
    with pytest.raises(InternalError, match="3 successes in 2 trials"):
        wilson(3, 2)


def test_mean_estimate_is_wilson_only_for_zeros_and_ones() -> None:
    assert mean_estimate([1.0, 0.0, 1.0], seed=0) == wilson(2, 3)
    halves = mean_estimate([1.0, 0.5, 0.0, 0.5], seed=0)
    assert halves.value == 0.5
    assert halves == bootstrap_mean([1.0, 0.5, 0.0, 0.5], seed=0)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap_mean([0.25] * 9, seed=3) == Estimate(0.25, 0.25, 0.25, 9)


def test_bootstrap_mean_has_the_normal_width() -> None:
    # 400 values, half 0 and half 1: standard error 0.5/20 = 0.025, so the limits are near 0.5 ± 0.049.
    got = bootstrap_mean([0.0, 1.0] * 200, seed=1, resamples=4000)
    assert got.ci_low == pytest.approx(0.451, abs=0.006)
    assert got.ci_high == pytest.approx(0.549, abs=0.006)


def test_bootstrap_depends_on_seed_and_not_on_order() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 0.7, 0.2]
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values[::-1], seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)
    units = np.array([[1.0, 2.0], [0.0, 5.0], [3.0, 3.0], [1.0, 1.0]])

    def product(strata: object) -> dict[str, float]:
        return {"p": float(np.prod(np.mean(strata[0], axis=0)))}  # type: ignore[index]

    assert bootstrap_statistic([units], product, seed=2) == bootstrap_statistic(
        [units[::-1]], product, seed=2
    )


def test_bootstrap_ratio_weights_units_by_denominator() -> None:
    # (1 + 0 + 2) / (1 + 2 + 2) = 0.6; the unit without a denominator does not count.
    got = bootstrap_ratio([(1.0, 1.0), (0.0, 2.0), (2.0, 2.0), (0.0, 0.0)], seed=0)
    assert got.value == 0.6
    assert got.n == 3


def test_strata_keep_their_size() -> None:
    # Two strata, each constant: whatever is drawn, the means stay 1 and 3.
    strata = [np.ones(2), np.full(5, 3.0)]
    got = bootstrap_statistic(strata, lambda s: {"sum": float(s[0].mean() + s[1].mean()), "n": len(s[1])}, 0)
    assert got["sum"] == Estimate(4.0, 4.0, 4.0, 7)
    assert got["n"] == Estimate(5.0, 5.0, 5.0, 7)


def test_table_resamples_keep_their_total() -> None:
    # The total never varies; the share of the first cell varies as 30 of 120 draws do: standard error 0.0395.
    got = bootstrap_table(
        np.array([[30.0, 50.0], [40.0, 0.0]]),
        lambda table: {"total": float(table.sum()), "share": float(table[0, 0] / table.sum())},
        seed=0,
        resamples=4000,
    )
    assert got["total"] == Estimate(120.0, 120.0, 120.0, 120)
    assert got["share"].value == 0.25
    assert got["share"].ci_low == pytest.approx(0.25 - 1.96 * 0.0395, abs=0.01)
    assert got["share"].ci_high == pytest.approx(0.25 + 1.96 * 0.0395, abs=0.01)


def test_clusters_move_together() -> None:
    # Ten clusters of 50 equal rows know no more than ten rows: the interval is that of ten.
    clustered = bootstrap_ratio([(50.0 * (k % 2), 50.0) for k in range(10)], seed=0)
    assert clustered.ci_high is not None
    assert clustered.ci_low is not None
    assert clustered.ci_high - clustered.ci_low >= 0.5


# --- credits that belong together


def test_a_pair_that_agrees_with_itself_is_one_trial() -> None:
    # Three of four pairs right in both orders: six of eight judgments, and no more to go on than four trials.
    got = clustered_mean([(2, 2), (2, 2), (0, 2), (2, 2)], seed=0)
    assert got == replace(wilson(3, 4), n=8)
    assert clustered_mean([(1, 1), (0, 1), (1, 1)], seed=0) == wilson(2, 3)
    assert clustered_mean([], seed=0) == UNDEFINED
    uneven = [(2, 2), (1, 1), (0, 1), (2, 2), (1, 2)]
    assert clustered_mean(Counter(uneven), seed=5) == clustered_mean(uneven, seed=5)


def test_pairs_that_do_not_agree_or_differ_in_size_are_resampled_whole() -> None:
    clusters = [(2, 2), (1, 2), (0, 2), (2, 2), (1, 2)]
    assert clustered_mean(clusters, seed=3) == replace(
        bootstrap_ratio([(float(a), float(b)) for a, b in clusters], 3), n=10
    )
    uneven = clustered_mean([(2, 2), (1, 1), (0, 1)], seed=3)
    assert (uneven.value, uneven.n) == (0.75, 4)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """100 pairs, 200 times: four times in five the second order repeats the first, else it is drawn anew.

    Taken as 200 independent judgments, Wilson's interval covers less than 90 %.
    """
    draw, truth = np.random.default_rng(11), 0.7
    hits = naive = 0
    for _ in range(200):
        first, second = draw.random((2, 100)) < truth
        right = first + np.where(draw.random(100) < 0.8, first, second).astype(int)
        got = clustered_mean([(int(n), 2) for n in right], seed=0)
        hits += got.ci_low <= truth <= got.ci_high  # type: ignore[operator]
        whole = wilson(int(right.sum()), 200)
        naive += whole.ci_low <= truth <= whole.ci_high  # type: ignore[operator]
    assert 0.92 <= hits / 200 <= 0.98
    assert naive / 200 < 0.9
