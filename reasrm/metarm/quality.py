"""How good a MetaRM is on rollouts whose true process reward is known: error, correlation, calibration. Pure functions.

A number that the data do not determine (a correlation with a constant, an area without both kinds) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, rankdata, spearmanr

__all__ = ["area_under_curve", "calibration_error", "quality"]

_Vector = NDArray[np.float64]


def quality(
    scores: Sequence[float], targets: Sequence[float], right: Sequence[bool], process: Sequence[float]
) -> dict[str, float]:
    """Return what the scores are worth, all over the same rollouts.

    Args:
        scores: What the MetaRM said.
        targets: What it should have said.
        right: Whether the verdict is right.
        process: The true critique part of the reward.

    Returns:
        `rows`; `mse` and `variance` of the targets, the error of a constant; `pearson` and `spearman` with the
        targets; `calibration`, the error in ten bins; and, among right verdicts, the rows that a bonus is for:
        `right_pearson`, `right_spearman` with the process reward and `right_auc`, how often a critique with at least
        0.5 outranks one with less.
    """
    said, wanted, true = (np.asarray(x, dtype=np.float64) for x in (scores, targets, process))
    among = np.asarray(right, dtype=bool)
    numbers: dict[str, float | None] = {"rows": float(len(said))}
    if len(said):
        numbers["mse"] = float(np.mean((said - wanted) ** 2))
        numbers["variance"] = float(np.var(wanted))
        numbers["calibration"] = calibration_error(said, wanted)
    numbers |= {"pearson": _pearson(said, wanted), "spearman": _spearman(said, wanted)}
    numbers |= {
        "right_pearson": _pearson(said[among], true[among]),
        "right_spearman": _spearman(said[among], true[among]),
        "right_auc": area_under_curve(said[among], true[among] >= 0.5),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def calibration_error(scores: _Vector, targets: _Vector, bins: int = 10) -> float:
    """Return Σ (n_b / n)·|mean score − mean target| over bins of equally many scores."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(len(p) * abs(scores[p].mean() - targets[p].mean()) for p in parts) / len(order))


def area_under_curve(scores: _Vector, positive: NDArray[np.bool_]) -> float | None:
    """Return P(score of a positive > score of a negative), ties counting half; None without both."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def _pearson(a: _Vector, b: _Vector) -> float | None:
    return float(pearsonr(a, b).statistic) if _varies(a) and _varies(b) else None


def _spearman(a: _Vector, b: _Vector) -> float | None:
    return float(spearmanr(a, b).statistic) if _varies(a) and _varies(b) else None


def _varies(values: _Vector) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > 1e-12)
