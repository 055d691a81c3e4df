"""How many different points a critique makes."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from reasrm.critiques.similarity import Matrix, Similarity, among
from reasrm.rewards.base import ALONE, Helpers, Part, RewardPart, Rollout, Share, each_row
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.reading import critique_of

_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_MARK = re.compile(r"^\s*(?:[-*•+–#]+|\(?\d{1,3}[.)])\s+")
_READ = 64  # a critique of a thousand sentences would cost a million comparisons


class CritiqueDiversityPart(RewardPart):
    """How many different points a critique makes.

    formula: `distinct`: points that are less alike to every point counted before than `threshold`; `dissimilarity`:
        mean of 1 − similarity over all pairs of points, 0 for fewer than two
    source: SD-E² rewards distinct strategies and pairwise dissimilarity within an output and adds z-scores.
        Threshold and weights are not known: this is our form
    abstains: the policy wrote nothing

    Points are sentences and lines, the first 64 of them. Saying a thing twice in other words adds no point, and costs
    dissimilarity; an invented point is a point, so use it beside the outcome and with a limit or a price on length.

    Args:
        measure: `distinct` or `dissimilarity`.
        threshold: Points at least this alike are one; ours.
        most: Points beyond this many count nothing; null: no limit.
    """

    kind: Literal["critique_diversity"] = "critique_diversity"
    measure: Literal["distinct", "dissimilarity"] = "distinct"
    threshold: Share = 0.5
    most: PositiveInt | None = None

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return what counts or compares the points of each critique."""
        return each_row(lambda rollout: self._reward(rollout, helpers.similarity))

    def _reward(self, rollout: Rollout, similarity: Similarity) -> float | None:
        if wrote_nothing(rollout):
            return None
        points = _points(critique_of(rollout.judgment))
        if len(points) < 2:
            return float(len(points)) if self.measure == "distinct" else 0.0
        alike = among(points, similarity)
        if self.measure == "distinct":
            count = _distinct(alike, self.threshold)
            return float(count if self.most is None else min(count, self.most))
        return 1 - float(alike[np.triu_indices(len(points), k=1)].mean())


def _points(text: str) -> list[str]:
    pieces = (piece for line in text.splitlines() for piece in _SENTENCE.split(_MARK.sub("", line)))
    return [piece.strip() for piece in pieces if any(letter.isalnum() for letter in piece)][:_READ]


def _distinct(alike: Matrix, threshold: float) -> int:
    counted: list[int] = []
    for n in range(len(alike)):
        if all(alike[n, kept] < threshold for kept in counted):
            counted.append(n)
    return len(counted)
