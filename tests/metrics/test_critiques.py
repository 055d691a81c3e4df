"""Inconsistency, critique scores and their coverage, by hand."""

from __future__ import annotations

import random

import pytest

from reasrm.metrics.critiques import SCORES, CritiqueOutcome, critique_metrics, critique_subsets
from reasrm.metrics.intervals import Estimate, bootstrap_ratio

UNDEFINED = Estimate(None, None, None, 0)


def said(row: str, right: bool | None, f1: float | None, subset: str | None = None) -> CritiqueOutcome:
    """A judgment whose other scores follow from its F1: halves and doubles of it."""
    scores = None
    if f1 is not None:
        factors = {"f1": 1.0, "precision": 0.5, "recall": 0.25, "average_precision": 0.75, "soft_recall": 0.1}
        scores = {name: f1 * factors[name] for name in SCORES}
    return CritiqueOutcome(row=row, subset=subset, right=right, scores=scores)


OUTCOMES = [
    said("one", True, 0.8, "x"),
    said("one", True, 0.4, "x"),  # right for the wrong reason
    said("two", True, 0.0, "x"),  # likewise
    said("two", False, 1.0, "x"),  # wrong for the right one
    said("three", True, None, "y"),  # no score could be had
    said("three", False, 0.0, "y"),
    said("four", None, 0.6),  # no label
]


def values(metrics: dict[str, Estimate]) -> dict[str, tuple[float | None, int]]:
    return {name: (estimate.value, estimate.n) for name, estimate in metrics.items()}


def test_by_hand() -> None:
    found = values(critique_metrics(OUTCOMES))
    # right verdicts with an F1: 0.8, 0.4, 0.0; two of three are below 0.5; rows one and two
    assert found["inconsistency"] == (pytest.approx(2 / 3), 2)
    # 0.8 + 0.4 + 0 + 1 + 0 + 0.6 over six judgments of four rows
    assert found["critique_f1"] == (pytest.approx(2.8 / 6), 4)
    assert found["critique_precision"] == (pytest.approx(1.4 / 6), 4)
    assert found["critique_recall"] == (pytest.approx(0.7 / 6), 4)
    assert found["critique_average_precision"] == (pytest.approx(2.1 / 6), 4)
    assert found["critique_soft_recall"] == (pytest.approx(0.28 / 6), 4)
    assert found["critique_coverage"] == (pytest.approx(6 / 7), 4)
    assert len(found) == 7


@pytest.mark.slow
def test_the_threshold_itself_is_consistent() -> None:
    outcomes = [said("one", True, 0.5), said("two", True, 0.49)]
    assert critique_metrics(outcomes)["inconsistency"].value == 0.5
    assert critique_metrics(outcomes, least_f1=0.6)["inconsistency"].value == 1
    assert critique_metrics(outcomes, least_f1=0.0)["inconsistency"].value == 0


def test_subsets_and_rows_in_none() -> None:
    found = critique_subsets(OUTCOMES)
    assert list(found) == ["x", "y"]
    assert found["x"] == critique_metrics(OUTCOMES[:4])
    assert found["y"]["inconsistency"] == UNDEFINED
    assert values(found["y"])["critique_coverage"] == (0.5, 1)
    assert values(found["y"])["critique_f1"] == (0.0, 1)


def test_nothing_is_undefined_and_never_zero() -> None:
    assert set(critique_metrics([]).values()) == {UNDEFINED}
    failed = critique_metrics([said("one", True, None), said("two", False, None)])
    assert failed.pop("critique_coverage").value == 0
    assert set(failed.values()) == {UNDEFINED}


def test_a_failed_call_changes_coverage_only() -> None:
    before = critique_metrics(OUTCOMES)
    after = critique_metrics([*OUTCOMES, said("one", True, None), said("five", True, None)])
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"critique_coverage"}
    assert values(after)["critique_coverage"] == (pytest.approx(6 / 9), 5)


@pytest.mark.slow
def test_intervals_resample_rows() -> None:
    """Twenty votes of a row say no more about other rows than one."""
    once = [said(f"{n}", True, float(n % 2)) for n in range(20)]
    twenty_times = [outcome for outcome in once for _ in range(20)]
    few, many = critique_metrics(once)["inconsistency"], critique_metrics(twenty_times)["inconsistency"]
    assert (many.value, many.n) == (few.value, few.n) == (0.5, 20)
    assert (many.ci_low, many.ci_high) == (few.ci_low, few.ci_high)
    assert few == bootstrap_ratio([(float(n % 2 == 0), 1.0) for n in range(20)], 0)
    shuffled = random.Random(1).sample(twenty_times, len(twenty_times))
    assert critique_metrics(shuffled) == critique_metrics(twenty_times)
