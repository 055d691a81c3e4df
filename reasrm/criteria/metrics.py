"""How good rubrics are, in numbers: what they tell apart, repeat and leave out, and how much of a gap they close.

What could not be had (no mark, no readable verdict) is None, is left out and is seen in the coverage: a criterion
that nobody judged is not one that failed. Intervals resample rows: the criteria of one rubric depend on each other.

Sources: spread and correlation are RLCER's filters, `misaligned` (the worse response scores higher) is RRD's, both as
in EvoLM's code; precision and recall match one-to-one like core arguments; the gap closed is RubricBench's question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, correlation, pstdev
from typing import TypeAlias

import numpy as np

from reasrm.criteria.alike import ALIKE, Texts, Word, polarity, relations
from reasrm.criteria.checks import Fault, Lean
from reasrm.criteria.leaks import LEAKS
from reasrm.criteria.verify import Effect
from reasrm.critiques.matching import assign
from reasrm.critiques.similarity import Similarity, checked, stem_overlap
from reasrm.metrics.intervals import Estimate, bootstrap_ratio, bootstrap_statistic, wilson
from reasrm.rubric import Rubric

__all__ = [
    "Credit",
    "Discrimination",
    "against_gold",
    "discrimination",
    "effect_shares",
    "gap_closed",
    "leak_rate",
    "leans",
    "order_effect",
    "order_stability",
    "share",
    "sizes",
    "tokens_per_verdict",
]

Credit: TypeAlias = float | None
"""Whether a judge was right (1 or 0; between them over several judgments of a row), None if nobody can tell."""


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How much the marks that a criterion gives tell apart.

    Args:
        spread: Population standard deviation of the marks; None without a mark.
        correlation: Pearson's, of marks and labels; None where either is constant.
        n: Responses with a mark.
        coverage: Their share of all responses; None if there are none.
    """

    spread: float | None
    correlation: float | None
    n: int
    coverage: float | None


def discrimination(
    marks: Sequence[float | None], labels: Sequence[float], weight: float | None = None
) -> Discrimination:
    """Return the spread of a criterion's marks and how they go with the labels.

    Args:
        marks: One for each response, higher where it has what the criterion names; None where nobody could tell.
        labels: How good each response is.
        weight: Of the criterion; a negative one turns its marks round.
    """
    known = [
        (-mark if (weight or 0) < 0 else mark, label)
        for mark, label in zip(marks, labels, strict=True)
        if mark is not None
    ]
    xs, ys = [mark for mark, _ in known], [label for _, label in known]
    try:
        r = correlation(xs, ys)
    except StatisticsError:
        r = None
    return Discrimination(pstdev(xs) if xs else None, r, len(xs), len(xs) / len(marks) if marks else None)


def leans(rubrics: Sequence[Sequence[Lean | None]], seed: int = 0) -> dict[str, Estimate]:
    """Return shares of criteria: `aligned`, `misaligned` and `indifferent` of those with both marks, and `coverage`."""
    known = [[one for one in rubric if one is not None] for rubric in rubrics]
    named = {"aligned": 1, "misaligned": -1, "indifferent": 0}
    return {
        **{
            name: share(((rubric.count(sign), len(rubric)) for rubric in known), seed)
            for name, sign in named.items()
        },
        "coverage": share(
            ((len(some), len(rubric)) for some, rubric in zip(known, rubrics, strict=True)), seed
        ),
    }


def share(counts: Iterable[tuple[float, float]], seed: int = 0) -> Estimate:
    """Return the ratio of two sums over rubrics: criteria with something, and all criteria that count."""
    return bootstrap_ratio([(float(some), float(every)) for some, every in counts], seed)


def leak_rate(checked: Sequence[tuple[Rubric, Sequence[Fault]]], seed: int = 0) -> Estimate:
    """Return the share of criteria with a leak.

    Args:
        checked: Rubrics and what `check_rubric` found in each.
        seed: Of the bootstrap.
    """
    leaky = ({fault.criterion for fault in faults if fault.reason in LEAKS} for _, faults in checked)
    return share(
        ((len(some), len(one.criteria)) for some, (one, _) in zip(leaky, checked, strict=True)), seed
    )


def sizes(
    rubrics: Sequence[Rubric],
    *,
    alike: float = ALIKE,
    said: Mapping[Texts, Word] | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return `criteria` per rubric, `words` per criterion, and the share that is `redundant` or in `conflict`.

    A criterion is redundant if an earlier one of its rubric says the same, in conflict if one says the opposite: by
    words, or by what a model said where these leave it open (`alike.relations`).
    """
    found: list[tuple[int, int, int, int]] = []
    for rubric in rubrics:
        kinds: dict[str, set[int]] = {"duplicate": set(), "conflict": set()}
        for one in relations(rubric.criteria, alike=alike, said=said):
            kinds[one.kind].add(one.second)
        words = sum(len(criterion.text.split()) for criterion in rubric.criteria)
        found.append((len(rubric.criteria), words, len(kinds["duplicate"]), len(kinds["conflict"])))
    return {
        "criteria": share(((num, 1) for num, *_ in found), seed),
        "words": share(((words, num) for num, words, _, _ in found), seed),
        "redundant": share(((repeats, num) for num, _, repeats, _ in found), seed),
        "conflict": share(((conflicts, num) for num, _, _, conflicts in found), seed),
    }


def against_gold(
    pairs: Sequence[tuple[Rubric, Rubric]],
    similarity: Similarity = stem_overlap,
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return `precision` (criteria that match one of the gold's, one to one) and `recall` (gold criteria matched).

    Criteria of opposite polarity, such as one that wants a word and one that forbids it, do not match.

    Args:
        pairs: A rubric and the gold rubric of the same row.
        similarity: How alike two texts are.
        threshold: The least similarity of a match.
        seed: Of the bootstrap.
    """
    counts = [(_num_matched(ours, gold, similarity, threshold), ours, gold) for ours, gold in pairs]
    return {
        "precision": share(((found, len(ours.criteria)) for found, ours, _ in counts), seed),
        "recall": share(((found, len(gold.criteria)) for found, _, gold in counts), seed),
    }


def _num_matched(ours: Rubric, gold: Rubric, similarity: Similarity, threshold: float) -> int:
    texts = [[criterion.text for criterion in rubric.criteria] for rubric in (ours, gold)]
    if not all(texts):
        return 0
    signs = [np.array([polarity(criterion) for criterion in rubric.criteria]) for rubric in (ours, gold)]
    alike = checked(similarity(*texts), *map(len, texts)) * np.equal.outer(*signs)
    return len(assign(alike, threshold=threshold))


def order_stability(
    pairs: Sequence[tuple[Rubric, Rubric]],
    similarity: Similarity = stem_overlap,
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> Estimate:
    """Return how much of a pair's rubric stays when its responses change places: 2·matched / criteria of both.

    Args:
        pairs: The rubrics that one writer wrote under `AB` and under `BA`, for each row.
        similarity: See `against_gold`.
        threshold: See `against_gold`.
        seed: Of the bootstrap.
    """
    counts = [
        (_num_matched(ab, ba, similarity, threshold), len(ab.criteria) + len(ba.criteria)) for ab, ba in pairs
    ]
    return share(((2 * found, both) for found, both in counts), seed)


def order_effect(rows: Sequence[tuple[Credit, Credit]], seed: int = 0) -> dict[str, Estimate]:
    """Return whether it matters in which order the writer saw the pair.

    Args:
        rows: Of each row whether the judge was right under the rubric written in `AB`, and under that of `BA`. The
            better response must stand first in half of the rows, or a taste for a place looks like skill.
        seed: Of the bootstrap, which is paired.

    Returns:
        Over the rows with both answers `accuracy_ab`, `accuracy_ba` and `ab_minus_ba`; and their `coverage`.
    """
    names = ("accuracy_ab", "accuracy_ba", "ab_minus_ba")
    return _paired(rows, names, lambda ab, ba: (ab, ba, ab - ba), seed)


def gap_closed(rows: Sequence[tuple[Credit, Credit, Credit]], seed: int = 0) -> dict[str, Estimate]:
    """Return how much of the way from no rubric to the gold rubric an arm goes.

    Args:
        rows: Of each row whether the judge was right without a rubric, under the arm's, and under the gold one.
        seed: Of the bootstrap, which is paired.

    Returns:
        Over the rows with all three answers `gap_closed` = (arm − none) / (gold − none), `arm_minus_none` and
        `gold_minus_none`; and their `coverage`. Where gold is not better than none there is no gap, and `gap_closed` is
        None; resamples without a gap are left out of its interval, so read it beside that of `gold_minus_none`.
    """

    def gaps(none: float, arm: float, gold: float) -> tuple[float, ...]:
        gap = gold - none
        return ((arm - none) / gap if gap > 0 else math.nan, arm - none, gap)

    return _paired(rows, ("gap_closed", "arm_minus_none", "gold_minus_none"), gaps, seed)


def tokens_per_verdict(rows: Sequence[tuple[float | None, float]], seed: int = 0) -> Estimate:
    """Return the tokens that one readable verdict costs; what was spent on unreadable ones counts, too.

    Args:
        rows: Of each row the tokens of all its judgments, None where nobody counted, and its readable verdicts.
        seed: Of the bootstrap.
    """
    name = "tokens_per_verdict"
    return _paired(rows, (name,), lambda spent, read: (spent / read if read else math.nan,), seed)[name]


def _paired(
    rows: Sequence[tuple[Credit, ...]],
    names: Sequence[str],
    formula: Callable[..., tuple[float, ...]],
    seed: int,
) -> dict[str, Estimate]:
    """Return numbers made of the means of columns, over the rows that have them all; rows are drawn whole."""
    import numpy as np

    known = [row for row in rows if None not in row]
    found = dict.fromkeys(names, Estimate(None, None, None, 0))
    if known:
        found = bootstrap_statistic(
            [np.array(known, dtype=np.float64)],
            lambda strata: dict(zip(names, formula(*map(float, strata[0].mean(axis=0))), strict=True)),
            seed,
        )
    return {**found, "coverage": wilson(len(known), len(rows))}


def effect_shares(effects: Sequence[Effect | None]) -> dict[str, Estimate]:
    """Return the shares of rubrics that were `helpful`, `neutral` and `misleading` (C2 reports all three)."""
    counts = Counter(one for one in effects if one is not None)
    total = sum(counts.values())
    names: tuple[Effect, ...] = ("helpful", "neutral", "misleading")
    return {**{name: wilson(counts[name], total) for name in names}, "coverage": wilson(total, len(effects))}
