"""Rewards for judges that score and rank a list: RewardAnything (arXiv 2506.03637), R = 0.15·r_f + 0.85·r_a.

Known of r_f [released code]: think tags 0.15 (0.05 if only one) + 0.05 if the thinking is longer than 50 characters;
valid JSON 0.20 (0.15 if recovered by brackets); keys 0.10 + 0.10; 0.20 × coverage of the names; 0.20 × agreement of
scores and ranking. Known of r_a: the weighted pair part; that it also holds a match of the score distribution, partial
credit for near scores and rank agreement (Kendall's tau and top k). Their formulas and weights could not be found:
those three and all four weights are ours. The helper behind score/ranking agreement is missing from the release, too:
here it is the share of neighbours in the ranking whose scores do not rise.

A `Rollout` is about a pair, so this is a function and no part: scores, ranking and gold are given in one and the same
order of candidates. No stage calls it yet: training on lists is to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Self

from pydantic import FiniteFloat, PositiveInt, model_validator

from reasrm.config import Config
from reasrm.errors import InternalError
from reasrm.records import Judgment
from reasrm.rewards.base import NonNegative
from reasrm.rewards.reading import whole_text

__all__ = [
    "GoldList",
    "ListwiseSection",
    "format_score",
    "listwise_agreement",
    "listwise_reward",
    "pair_agreement",
]


class ListwiseSection(Config):
    """RewardAnything: 0.15·format + 0.85·agreement. The four weights inside agreement are ours.

    Not a part: a `Rollout` is about a pair. `listwise_reward` takes it for judgments of lists.

    Args:
        format_weight: 0.15 as noted of the paper.
        agreement_weight: 0.85 as noted of the paper.
        pairs: Weight of the weighted pair part (its formula is released).
        distribution: Weight of the match of the sorted scores.
        near: Weight of partial credit for near scores.
        rank: Weight of Kendall's tau and the top k.
        top_k: How many of the best are compared.
        minimum: Smallest score.
        maximum: Largest score.
    """

    format_weight: NonNegative = 0.15
    agreement_weight: NonNegative = 0.85
    pairs: NonNegative = 0.4
    distribution: NonNegative = 0.2
    near: NonNegative = 0.2
    rank: NonNegative = 0.2
    top_k: PositiveInt = 1
    minimum: FiniteFloat = 1.0
    maximum: FiniteFloat = 5.0

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is not below maximum {self.maximum:g}")
        if self.pairs + self.rank == 0:
            raise ValueError("pairs and rank are both 0; gold rankings without scores need one of them")
        return self


@dataclass(frozen=True, slots=True)
class GoldList:
    """What is known about the candidates.

    Args:
        values: One number per candidate, greater is better: gold scores, or made of a ranking.
        scored: Whether they are scores on the judge's own scale; a ranking alone has no scores to match.
    """

    values: tuple[float, ...]
    scored: bool

    @classmethod
    def from_label(cls, label: int | tuple[int, ...], num_candidates: int) -> GoldList:
        """Read the label of a `CandidateSet`: the best index, or a ranking of indices best first."""
        if isinstance(label, int):
            return cls(tuple(float(n == label) for n in range(num_candidates)), scored=False)
        if sorted(label) != list(range(num_candidates)):
            raise InternalError(f"{label} is no ranking of {num_candidates} candidates")
        return cls(
            tuple(float(num_candidates - 1 - label.index(n)) for n in range(num_candidates)), scored=False
        )


def listwise_reward(
    section: ListwiseSection,
    judgment: Judgment,
    gold: GoldList,
    *,
    names: Sequence[str],
    scores_key: str = "scores",
    ranking_key: str = "best-to-worst",
) -> float:
    """Return 0.15·r_f + 0.85·r_a for one judgment of a list; r_a is 0 if it could not be read.

    Args:
        section: Weights and the scale of scores.
        judgment: With `scores` in the gold's order of candidates.
        gold: What is known.
        names: The candidates' masked names, for the format.
        scores_key: Key of the scores in the answer's JSON.
        ranking_key: Key of the ranking.
    """
    shape = format_score(whole_text(judgment), names, scores_key, ranking_key)
    agreement = 0.0 if judgment.scores is None else listwise_agreement(section, judgment.scores, gold)
    return section.format_weight * shape + section.agreement_weight * agreement


def listwise_agreement(section: ListwiseSection, scores: Sequence[float], gold: GoldList) -> float:
    """Return r_a ∈ [0, 1]: the weighted mean of the parts that the gold allows."""
    if len(scores) != len(gold.values) or len(scores) < 2:
        raise InternalError(f"{len(scores)} scores for {len(gold.values)} candidates")
    terms = [(section.pairs, pair_agreement(scores, gold.values))]
    terms.append((section.rank, _rank_agreement(scores, gold.values, section.top_k)))
    if gold.scored:
        span = section.maximum - section.minimum
        matched = zip(sorted(scores), sorted(gold.values), strict=True)
        apart = [abs(s - g) for s, g in zip(scores, gold.values, strict=True)]
        terms.append((section.distribution, 1 - _mean([min(1.0, abs(s - g) / span) for s, g in matched])))
        terms.append((section.near, _mean([max(0.0, 1 - difference / 2) for difference in apart])))
    return sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms)


def pair_agreement(scores: Sequence[float], gold: Sequence[float]) -> float:
    """Return max(0, 1 − Σ penalty / Σ weight) over all pairs; a pair weighs 1 + |gold difference|.

    A reversed pair costs its weight, a predicted tie where the gold differs half of it, anything else nothing.
    """
    total = penalty = 0.0
    for a, b in combinations(range(len(gold)), 2):
        weight = 1 + abs(gold[a] - gold[b])
        total += weight
        agreement = (scores[a] - scores[b]) * (gold[a] - gold[b])
        if agreement < 0:
            penalty += weight
        elif scores[a] == scores[b] and gold[a] != gold[b]:
            penalty += weight / 2
    return max(0.0, 1 - penalty / total)


def _rank_agreement(scores: Sequence[float], gold: Sequence[float], top_k: int) -> float:
    """Return the mean of (τ + 1)/2 and the share of the gold's top k found in the judge's top k. Ours.

    τ counts pairs whose gold differs; a predicted tie counts as neither agreeing nor reversed.
    """
    signs = [
        (scores[a] > scores[b]) - (scores[a] < scores[b])
        if gold[a] > gold[b]
        else (scores[a] < scores[b]) - (scores[a] > scores[b])
        for a, b in combinations(range(len(gold)), 2)
        if gold[a] != gold[b]
    ]
    tau = _mean([float(sign) for sign in signs]) if signs else 1.0
    best, chosen = (_top(values, min(top_k, len(gold))) for values in (gold, scores))
    return ((tau + 1) / 2 + len(best & chosen) / max(len(best), len(chosen))) / 2


def _top(values: Sequence[float], k: int) -> set[int]:
    """Return the k best and whoever ties with the last of them."""
    least = sorted(values, reverse=True)[k - 1]
    return {index for index, value in enumerate(values) if value >= least}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def format_score(text: str, names: Sequence[str], scores_key: str, ranking_key: str) -> float:
    """Return r_f ∈ [0, 1] by the released values (module docstring)."""
    opened, closed = text.count("<think>") > 0, text.count("</think>") > 0
    score = 0.15 if opened and closed else 0.05 if opened or closed else 0.0
    thinking = text.partition("<think>")[2].partition("</think>")[0] if opened and closed else ""
    score += 0.05 * (len(thinking.strip()) > 50)
    answer, by_brackets = _json_object(text.rpartition("</think>")[2])
    if answer is None:
        return score
    score += 0.15 if by_brackets else 0.20
    scores, ranking = answer.get(scores_key), answer.get(ranking_key)
    score += 0.10 * (scores_key in answer) + 0.10 * (ranking_key in answer)
    if isinstance(scores, dict):
        score += 0.20 * sum(name in scores for name in names) / len(names)
        score += 0.20 * _falling(scores, ranking)
    return score


def _json_object(text: str) -> tuple[dict[str, Any] | None, bool]:
    """Return the answer's JSON object and whether it had to be cut out of other text by its outermost brackets."""
    start, end = text.find("{"), text.rfind("}")
    cut = text[start : end + 1] if 0 <= start < end else ""
    for candidate in (text.strip(), cut):
        try:
            value = json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value, candidate != text.strip()
    return None, False


def _falling(scores: Mapping[str, Any], ranking: Any) -> float:
    """Return the share of neighbours in the ranking whose scores do not rise."""
    if not isinstance(ranking, list) or len(ranking) < 2:
        return 0.0
    known = [scores.get(name) if isinstance(name, str) else None for name in ranking]
    good = [isinstance(a, int | float) and isinstance(b, int | float) and a >= b for a, b in pairwise(known)]
    return sum(good) / len(good)
