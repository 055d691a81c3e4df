"""A claim is one number per seed, and what they say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student
from scipy.stats import ttest_1samp

__all__ = ["Claim", "difference", "holm", "p_value", "spread"]


class Claim:
    """One number per seed, and what they say together.

    Args:
        differences: Of each seed.
    """

    def __init__(self, differences: Sequence[float]) -> None:
        self.differences = list(differences)
        self.mean = statistics.fmean(differences)
        self.low = self.high = math.nan
        if len(differences) > 1:
            half = float(student.ppf(0.975, len(differences) - 1))
            half *= statistics.stdev(differences) / math.sqrt(len(differences))
            self.low, self.high = self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """Whether the interval lies above 0, below it, or around it."""
        if math.isnan(self.low):
            return "one seed says nothing"
        if self.low > 0:
            return "**holds**"
        return "**reversed**" if self.high < 0 else "undecided"

    @property
    def text(self) -> str:
        """Mean, interval, numbers by seed and verdict as three cells of a table, in points."""
        per_seed = " ".join(f"{100 * value:+.1f}" for value in self.differences)
        interval = f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return f"{interval} | {per_seed} | {self.verdict}"


def p_value(differences: Sequence[float], margin: float = 0.0) -> float:
    """Return the two-sided p-value of the t-test that the mean is 0, or, with a margin, that of non-inferiority.

    The latter is twice the one-sided value that the mean is at the margin below 0, so that `p ≤ 0.05` says that the
    lower end of the 95 % interval lies above the margin.
    """
    values = np.asarray(differences) + margin
    if len(values) < 2:
        return 1.0
    if np.ptp(values) == 0:
        return float(abs(values[0]) < 1e-12)
    found = ttest_1samp(values, 0.0, alternative="greater" if margin else "two-sided")
    return min(1.0, float(found.pvalue) * (2 if margin else 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm (1979): the family-wise error is at most the level they are read at."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def difference(ours: dict[str, Any], theirs: dict[str, Any] | None, cell: str) -> float:
    """Return the accuracy of one arm less that of another on the same rows, unreadable ones counting as not right.

    Args:
        ours: An arm.
        theirs: Another, or None for 0.
        cell: Mode and split.
    """
    a = ours["cells"][cell]["right"]
    b = "0" * len(a) if theirs is None else theirs["cells"][cell]["right"]
    if len(a) != len(b):
        raise ValueError("the arms were judged on different rows")
    return (a.count("1") - b.count("1")) / len(a)


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation in %."""
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}"
