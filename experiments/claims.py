"""A claim is one number per seed, and what they say together; those written down before a run are a family."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import Field
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from experiments.markdown import table
from reasrm.config import Config
from reasrm.hashing import digest

__all__ = [
    "Claim",
    "Family",
    "Stated",
    "claims_section",
    "decided",
    "difference",
    "holm",
    "p_value",
    "spread",
]


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
    def interval(self) -> str:
        """Mean and interval in points."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"

    @property
    def text(self) -> str:
        """Mean, interval, numbers by seed and verdict as three cells of a table, in points."""
        return f"{self.interval} | {_points(self.differences)} | {self.verdict}"


class Stated(Config):
    """One arm beats another, or is at most a margin worse."""

    ours: str
    theirs: str
    margin: float = Field(default=0.0, ge=0)

    def beats(self, points: str = "point") -> str:
        """Return it in words."""
        beats = f"is at most {100 * self.margin:g} {points} worse than" if self.margin else "beats"
        return f"{self.ours} {beats} {self.theirs}"


class Family(Config):
    """The seeds and the level of claims that are corrected together."""

    seeds: list[int]
    level: float = Field(gt=0, lt=1)

    @property
    def seal(self) -> str:
        """Their hash."""
        return digest(self.model_dump(mode="json"), 12)


def decided(
    claims: Sequence[tuple[Stated, str]],
    found: Sequence[tuple[Claim, Sequence[float]] | None],
    level: float,
    adjust: Callable[[list[float]], Sequence[float]],
    column: str,
    *,
    every_seed: bool = False,
) -> str:
    """Return the table of what came of claims.

    Args:
        claims: Each with its text.
        found: Differences that the test is about, and those by seed; None of what was not run, which counts among the
            claims that are corrected for.
        level: At which an adjusted p-value confirms.
        adjust: For so many claims.
        column: What the adjusted p-value is called.
        every_seed: Confirmed is only what lies on the claimed side in every seed; else the mean has to.
    """
    p_values = [
        1.0 if one is None else p_value(one[0].differences, claim.margin)
        for one, (claim, _) in zip(found, claims, strict=True)
    ]
    rows = []
    for (claim, text), one, p in zip(claims, found, adjust(p_values), strict=True):
        if one is None:
            rows.append([text, "", "", "", "not run"])
            continue
        over, by_seed = one
        confirmed = p <= level and (min(by_seed) if every_seed else over.mean) > -claim.margin
        end = "**confirmed**" if confirmed else "not confirmed"
        rows.append([text, over.interval, _points(by_seed), f"{p:.3f}", end])
    return table(["claim", "difference [95 %]", "by seed", column, ""], rows)


def claims_section(title: str, told: str, claims: Sequence[tuple[Stated, str]], rows: str, after: str) -> str:
    """Return a section of a page: claims that wait for their run, or the `rows` of what came of them.

    Args:
        title: Its heading.
        told: What stands before the claims.
        claims: Each with its text.
        rows: What `decided` says, or nothing.
        after: What stands behind them.
    """
    waiting = [f"{n}. {text}\n" for n, (_, text) in enumerate(claims, 1)]
    return f"## {title}\n\n{told}\n{rows or ''.join(waiting)}\n{after}\n"


def _points(values: Sequence[float]) -> str:
    return " ".join(f"{100 * value:+.1f}" for value in values)


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
