"""What judges' critiques come to against the rows' reference critiques: outcome–process inconsistency, F1 and others.

Source: RM-NLHF (arXiv 2601.07349): a right verdict whose critique does not reach F1 = 0.5 is right for a wrong reason;
precision, recall and F1 over core arguments. RationaleRM (arXiv 2602.04649): average precision, soft recall.

A judgment without scores (no reference arguments, nothing written, a failed call) is left out of every number and seen
in the coverage: what could not be had is not zero. The judgments of one row depend on each other, so every interval
resamples rows, and `n` counts the rows with anything to count. Means are over judgments, as the verdicts' are not:
a critique speaks for itself and not for its row's majority.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasrm.metrics.intervals import Estimate, bootstrap_ratio

__all__ = ["LEAST_F1", "SCORES", "CritiqueOutcome", "critique_metrics", "critique_subsets"]

LEAST_F1 = 0.5
"""RM-NLHF's threshold: the least F1 of a critique that counts as right."""
SCORES = ("f1", "precision", "recall", "average_precision", "soft_recall")


@dataclass(frozen=True, slots=True, kw_only=True)
class CritiqueOutcome:
    """One judgment of a row that has a reference critique.

    Args:
        row: The row's id.
        subset: The row's subset.
        right: Whether the verdict is the row's label; False if unreadable, None if the row has no label.
        scores: A number in 0..1 for each of `SCORES`; None if the critique has none.
    """

    row: str
    subset: str | None = None
    right: bool | None
    scores: Mapping[str, float] | None


_Contribution = Callable[[Sequence[CritiqueOutcome]], tuple[float, float]]
"""From the judgments of one row to its contribution to a numerator and a denominator."""


def critique_metrics(
    outcomes: Iterable[CritiqueOutcome], *, least_f1: float = LEAST_F1, seed: int = 0
) -> dict[str, Estimate]:
    """Return every number about critiques.

    `inconsistency`: right verdicts with F1 < `least_f1` / right verdicts with an F1; `critique_coverage`: judgments
    with scores / judgments of rows with a reference; `critique_f1` and the other scores: means over judgments with
    scores.
    """
    rows: defaultdict[str, list[CritiqueOutcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.row].append(outcome)

    def estimate(part: _Contribution) -> Estimate:
        return bootstrap_ratio([part(judgments) for judgments in rows.values()], seed)

    return {
        "inconsistency": estimate(lambda judgments: _inconsistent(judgments, least_f1)),
        **{f"critique_{name}": estimate(_mean_of(name)) for name in SCORES},
        "critique_coverage": estimate(
            lambda judgments: (float(len(_scored(judgments))), float(len(judgments)))
        ),
    }


def critique_subsets(
    outcomes: Iterable[CritiqueOutcome], *, least_f1: float = LEAST_F1, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Return the same numbers for each subset, subsets in sorted order. Rows without a subset are in none."""
    found: defaultdict[str, list[CritiqueOutcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.subset is not None:
            found[outcome.subset].append(outcome)
    return {name: critique_metrics(found[name], least_f1=least_f1, seed=seed) for name in sorted(found)}


def _scored(judgments: Sequence[CritiqueOutcome]) -> list[Mapping[str, float]]:
    return [judgment.scores for judgment in judgments if judgment.scores is not None]


def _inconsistent(judgments: Sequence[CritiqueOutcome], least_f1: float) -> tuple[float, float]:
    of_right = [scores["f1"] for scores in _scored([judgment for judgment in judgments if judgment.right])]
    return float(sum(f1 < least_f1 for f1 in of_right)), float(len(of_right))


def _mean_of(name: str) -> _Contribution:
    def part(judgments: Sequence[CritiqueOutcome]) -> tuple[float, float]:
        scored = _scored(judgments)
        return sum(scores[name] for scores in scored), float(len(scored))

    return part
