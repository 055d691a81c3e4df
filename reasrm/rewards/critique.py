"""Rewards on what the judge wrote: its critique against a person's, its shape, and the critiques of its group.

Sources: RM-NLHF (arXiv 2601.07349, released reward: format limits, F1 over core arguments cut at 0.5), RationaleRM
(arXiv 2602.04649: average precision), CSR (agreement among right rollouts rewarded, among wrong ones discouraged) and
SD-E² (distinct strategies within one output). Of the last two only that much is known: the formulas here are our form.
How critiques are read and compared is the scorer's and the similarity's business (`reasrm.critiques`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from reasrm.critiques.cases import CritiqueCase, CritiqueScorer
from reasrm.critiques.similarity import Matrix, Similarity, checked
from reasrm.rewards.base import Part, Rollout, Values, each_row, stop_if_dead
from reasrm.rewards.critique_sections import (
    CritiqueDiversityPart,
    CritiqueFormatPart,
    CritiquePart,
)
from reasrm.rewards.outcome import is_right, wrote_nothing

__all__ = ["critique", "critique_agreement", "critique_diversity", "critique_format"]

_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_MARK = re.compile(r"^\s*(?:[-*•+–#]+|\(?\d{1,3}[.)])\s+")
_READ = 64  # a critique of a thousand sentences would cost a million comparisons


def critique(section: CritiquePart, scorer: CritiqueScorer) -> Part:
    """Return how well each critique agrees with its row's reference critique, by the section's score.

    Abstains where the scorer does (no reference, or a failed call) and where the policy wrote nothing. A judgment
    without a critique scores as the empty critique: 0 against a reference. Ends the run where no score could be had
    because every call failed.
    """

    def part(rollouts: Sequence[Rollout]) -> Values:
        asked = [n for n, rollout in enumerate(rollouts) if not wrote_nothing(rollout)]
        cases = [CritiqueCase(rollouts[n].comparison, rollouts[n].judgment.critique) for n in asked]
        found = scorer(cases) if cases else []
        if len(found) != len(cases):
            raise ValueError(f"the scorer gave {len(found)} scores for {len(cases)} critiques")
        if cases and not any(found):
            stop_if_dead(scorer, "the critique scorer")
        values: Values = [None] * len(rollouts)
        for n, scores in zip(asked, found, strict=True):
            if scores is not None:
                value: float = getattr(scores, section.score)
                values[n] = value if section.least is None else float(value >= section.least)
        return values

    return part


def critique_format(section: CritiqueFormatPart) -> Part:
    """Return 1 for a judgment with a critique within the limits and a readable verdict, else 0.

    Abstains where the policy wrote nothing.
    """

    def reward(rollout: Rollout) -> float | None:
        if wrote_nothing(rollout):
            return None
        said = _said(rollout)
        return float(
            bool(said)
            and rollout.judgment.verdict is not None
            and (section.max_lines is None or len(said.splitlines()) <= section.max_lines)
            and (section.max_characters is None or len(said) <= section.max_characters)
        )

    return each_row(reward)


def critique_agreement(similarity: Similarity) -> Part:
    """Return +a for a right verdict and −a for any other, a the mean similarity to the group's other critiques.

    An unreadable verdict counts as not right; an empty critique is like nothing (similarity 0 in both directions).
    Abstains without a label, where the policy wrote nothing, and where the group has no other rollout that wrote.
    """

    def part(rollouts: Sequence[Rollout]) -> Values:
        groups: dict[str, list[int]] = {}
        for n, rollout in enumerate(rollouts):
            if not wrote_nothing(rollout):
                groups.setdefault(rollout.group, []).append(n)
        values: Values = [None] * len(rollouts)
        for members in groups.values():
            if len(members) < 2:
                continue
            sums = _alike_others([_said(rollouts[n]) for n in members], similarity)
            for n, total in zip(members, sums, strict=True):
                right = is_right(rollouts[n])
                if right is not None:
                    values[n] = total / (len(members) - 1) * (1 if right else -1)
        return values

    return part


def critique_diversity(section: CritiqueDiversityPart, similarity: Similarity) -> Part:
    """Return how many different points a critique makes, or how unlike they are on average.

    Points are its sentences and lines, the first 64 of them. `distinct` goes through them in order and counts those
    less alike to every counted one than the threshold; `dissimilarity` is the mean of 1 − similarity over all pairs, 0
    for fewer than two points. No critique, no points. Abstains where the policy wrote nothing.
    """

    def reward(rollout: Rollout) -> float | None:
        if wrote_nothing(rollout):
            return None
        points = _points(_said(rollout))
        if len(points) < 2:
            return float(len(points)) if section.measure == "distinct" else 0.0
        alike = _among(points, similarity)
        if section.measure == "distinct":
            count = _distinct(alike, section.threshold)
            return float(count if section.most is None else min(count, section.most))
        return 1 - float(alike[np.triu_indices(len(points), k=1)].mean())

    return each_row(reward)


def _said(rollout: Rollout) -> str:
    return (rollout.judgment.critique or "").strip()


def _alike_others(texts: Sequence[str], similarity: Similarity) -> list[float]:
    """Return the sum of each text's similarities to the others; blank texts are not shown to the similarity."""
    sums = [0.0] * len(texts)
    written = [n for n, text in enumerate(texts) if text]
    if len(written) > 1:
        alike = _among([texts[n] for n in written], similarity)
        np.fill_diagonal(alike, 0.0)
        for n, total in zip(written, alike.sum(axis=1), strict=True):
            sums[n] = float(total)
    return sums


def _among(texts: Sequence[str], similarity: Similarity) -> Matrix:
    """Return how alike the texts are to each other, the mean of both directions."""
    alike = checked(similarity(texts, texts), len(texts), len(texts))
    return (alike + alike.T) / 2


def _points(text: str) -> list[str]:
    pieces = (piece for line in text.splitlines() for piece in _SENTENCE.split(_MARK.sub("", line)))
    return [piece.strip() for piece in pieces if any(letter.isalnum() for letter in piece)][:_READ]


def _distinct(alike: Matrix, threshold: float) -> int:
    counted: list[int] = []
    for n in range(len(alike)):
        if all(alike[n, kept] < threshold for kept in counted):
            counted.append(n)
    return len(counted)
