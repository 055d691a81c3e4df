"""What judged rows come to: numbers of one row, shares with intervals over rows, paired differences.

A row is judged in both orders and, where an experiment has several seeds, by the model of each: all of that is one
cluster. So intervals and tests are over rows, and say nothing of models trained by other seeds; numbers by seed stand
beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

from experiments.claims import Claim
from reasrm.durable import read_records
from reasrm.judged import JudgedRow, read_judged
from reasrm.metrics.intervals import Estimate, bootstrap_ratio

__all__ = ["SHARES", "Arm", "Counts", "by_row", "counts_of", "difference", "of_split", "read_counts", "share"]


class Counts(TypedDict):
    """One row as one model judged it, over both orders.

    `asked` judgments, of which so many are `right`, `wrong` (the rest could not be read) and for the response shown
    `first`; `both` is 1 if both orders could be read, `same` 1 if they also agree; `tokens` were written.
    """

    split: str
    asked: float
    right: float
    wrong: float
    first: float
    both: int
    same: int
    tokens: int


Arm = Sequence[Mapping[str, Counts]]
"""What one way of doing it came to: counts by row, of each seed."""


def read_counts(path: Path) -> dict[str, Counts]:
    """Return the counts of a file of judged rows, by row."""
    return {row.id: counts_of(row) for row in map(read_judged, read_records(path))}


def counts_of(row: JudgedRow) -> Counts:
    """Reduce a judged pair."""
    read = [judgment for judgment in row.judgments if judgment.winner is not None]
    right = sum(row.is_right(judgment) is True for judgment in read)
    both = len(read) == len(row.judgments) == 2
    return Counts(
        split=row.subset or "",
        asked=len(row.judgments),
        right=right,
        wrong=len(read) - right,
        first=sum(judgment.winner == judgment.order.value[0] for judgment in read),
        both=int(both),
        same=int(both and len({judgment.winner for judgment in read}) == 1),
        tokens=sum(judgment.num_tokens or 0 for judgment in row.judgments),
    )


_Ratio = Callable[[Counts], tuple[float, float]]
SHARES: Mapping[str, _Ratio] = {
    "accuracy": lambda row: (row["right"], row["asked"]),
    "accuracy or coin": lambda row: ((row["asked"] + row["right"] - row["wrong"]) / 2, row["asked"]),
    "coverage": lambda row: (row["right"] + row["wrong"], row["asked"]),
    "consistency": lambda row: (row["same"], row["both"]),
    "first shown": lambda row: (row["first"], row["right"] + row["wrong"]),
    "tokens": lambda row: (row["tokens"], row["asked"]),
}
"""Numerator and denominator of each share; in *accuracy or coin* an unreadable judgment counts half."""


def of_split(arm: Arm, split: str) -> Arm:
    """Return an arm on the rows of a split, or of `all`."""
    return [{name: row for name, row in one.items() if split in ("all", row["split"])} for one in arm]


def share(arm: Arm, what: str, split: str = "all") -> Estimate:
    """Return a share over rows and seeds, with the percentile interval of a bootstrap over rows."""
    kept = of_split(arm, split)
    parts = [[SHARES[what](one[name]) for one in kept] for name in sorted(kept[0])]
    return bootstrap_ratio([(sum(a for a, _ in row), sum(b for _, b in row)) for row in parts], 0)


def by_row(arm: Arm, what: str, split: str = "all") -> dict[str, list[float]]:
    """Return a number of each row by seed: a share of its judgments, or `position`, which less is better of.

    A row without a denominator counts 0, so that arms are compared on the same rows: one that cannot be read in both
    orders is not consistent.

    `position` is how far the share of the first shown is from one half, as what a row adds to it: its mean over rows
    is that distance. Its sign is the one of all seeds together.
    """
    kept = of_split(arm, split)
    if what == "position":
        lean = {name: [_lean(one[name]) for one in kept] for name in kept[0]}
        sign = -1.0 if sum(map(sum, lean.values())) < 0 else 1.0
        return {name: [sign * value for value in values] for name, values in lean.items()}
    top = SHARES[what]
    return {name: [top(one[name])[0] / max(1, top(one[name])[1]) for one in kept] for name in kept[0]}


def _lean(row: Counts) -> float:
    return (row["first"] - (row["right"] + row["wrong"]) / 2) / row["asked"]


def difference(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]
) -> tuple[Claim, list[float]]:
    """Return ours less theirs: by row, the mean over seeds, as a claim over rows; and by seed.

    Raises:
        ValueError: They are not about the same rows and seeds.
    """
    if ours.keys() != theirs.keys() or any(len(ours[name]) != len(theirs[name]) for name in ours):
        raise ValueError("the arms were judged on different rows or seeds")
    gaps: dict[str, Any] = {
        name: [a - b for a, b in zip(ours[name], theirs[name], strict=True)] for name in sorted(ours)
    }
    return Claim([fmean(row) for row in gaps.values()]), [
        fmean(seed) for seed in zip(*gaps.values(), strict=True)
    ]
