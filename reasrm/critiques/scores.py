"""How well a critique agrees with a reference critique, in numbers from 0 to 1.

Sources: RM-NLHF (precision, recall, F1 over core arguments; a fatal error makes N_ref = 1) and RationaleRM (average
precision over an ordered list; soft recall). Nothing to compare gives 0, never an error: who has no reference critique
at all should abstain instead of asking. RM-NLHF's released scorer gives zeros to a critique that repeats itself
(`repeats="zero"`) and otherwise counts unique arguments (`"unique"`); our default leaves repeats in N_gen, where they
cost precision and earn nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias

import numpy as np

from reasrm.critiques.extract import distinct
from reasrm.critiques.matching import Match, agreements, assign, key_of, repeated
from reasrm.critiques.similarity import Matrix, Similarity
from reasrm.errors import ConfigError
from reasrm.records import CoreArgument

__all__ = [
    "CritiqueScores",
    "Repeats",
    "average_precision",
    "f1_score",
    "precision",
    "recall",
    "score_critique",
    "score_critiques",
    "soft_recall",
]

Repeats: TypeAlias = Literal["count", "unique", "zero"]


@dataclass(frozen=True, slots=True)
class CritiqueScores:
    """Every score of one critique, the counts behind them, and what was counted, for a person to disagree with.

    Args:
        said: The critique's arguments that were compared.
        meant: The reference's; only its fatal ones where they alone count.
        matches: Which of `said` was taken for which of `meant`.
    """

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0
    average_precision: float = 0.0
    soft_recall: float = 0.0
    generated: int = 0
    reference: int = 0
    matched: int = 0
    said: tuple[CoreArgument, ...] = field(default=(), compare=False, repr=False)
    meant: tuple[CoreArgument, ...] = field(default=(), compare=False, repr=False)
    matches: tuple[Match, ...] = field(default=(), compare=False, repr=False)

    def numbers(self) -> dict[str, float]:
        """Return scores and counts, without what was counted."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}


def precision(matched: int, generated: int) -> float:
    """Return P = TP / N_gen, 0 for an empty critique (RM-NLHF)."""
    return matched / generated if generated else 0.0


def recall(matched: int, reference: int) -> float:
    """Return R = TP / N_ref, 0 for an empty reference (RM-NLHF)."""
    return matched / reference if reference else 0.0


def f1_score(matched: int, generated: int, reference: int) -> float:
    """Return F1 = 2PR / (P + R) = 2·TP / (N_gen + N_ref), 0 where nothing matches (RM-NLHF)."""
    return 2 * matched / (generated + reference) if matched else 0.0


def average_precision(hits: Collection[int], reference: int) -> float:
    """Return AP = Σ_k P@k · I(k) / N_ref over the ordered list (RationaleRM).

    What comes after the last hit costs nothing, so a list of everything loses only by what precedes its hits.

    Args:
        hits: The places, from 0, of the generated arguments that match.
        reference: How many arguments the reference has.
    """
    if not reference:
        return 0.0
    return math.fsum(found / (place + 1) for found, place in enumerate(sorted(hits), 1)) / reference


def soft_recall(similarities: Sequence[float], reference: int) -> float:
    """Return RC = Σ similarity of the maximum-weight one-to-one match / N_ref, without a threshold (RationaleRM)."""
    return math.fsum(similarities) / reference if reference else 0.0


def score_critique(
    generated: Sequence[CoreArgument],
    reference: Sequence[CoreArgument],
    similarity: Similarity,
    *,
    threshold: float = 0.5,
    repeats: Repeats = "count",
    fatal_rule: bool = True,
) -> CritiqueScores:
    """Return the scores of the generated arguments against the reference's.

    Args:
        generated: A judge's core arguments in its order, repeats included (`core_arguments` drops them unless asked).
        reference: The core arguments to find; repeats among them count once.
        similarity: How alike two texts are.
        threshold: The least similarity of a match; soft recall uses none.
        repeats: What a repeat among the generated costs: precision, nothing, or everything.
        fatal_rule: If a reference argument is fatal then N_ref = 1 and only fatal ones count: any of them is the one.

    Raises:
        ConfigError: The similarity gave no value in [0, 1].
    """
    (scores,) = score_critiques(
        [(generated, reference)], similarity, threshold=threshold, repeats=repeats, fatal_rule=fatal_rule
    )
    if scores is None:
        raise ConfigError("the value nan is not in [0, 1]", place="similarity")
    return scores


def score_critiques(
    pairs: Iterable[tuple[Sequence[CoreArgument], Sequence[CoreArgument]]],
    similarity: Similarity,
    *,
    threshold: float = 0.5,
    repeats: Repeats = "count",
    fatal_rule: bool = True,
) -> list[CritiqueScores | None]:
    """Return `score_critique` of many, None where a similarity could not be had (NaN).

    Args:
        pairs: Generated and reference arguments.
        similarity: Compares all that agree, at once.
        threshold: See `score_critique`.
        repeats: See `score_critique`.
        fatal_rule: See `score_critique`.
    """
    key = key_of(similarity)
    counted: list[tuple[Sequence[CoreArgument], Sequence[CoreArgument]]] = []
    zeroed: list[bool] = []
    for generated, reference in pairs:
        again = repeated(generated, key)
        zeroed.append(repeats == "zero" and any(again))
        if repeats == "unique":
            generated = [argument for argument, repeat in zip(generated, again, strict=True) if not repeat]
        meant = distinct(reference, key)
        fatal = [argument for argument in meant if argument.fatal] if fatal_rule else []
        counted.append((generated, fatal or meant))
    # Nobody is asked about a critique whose scores are zero anyway.
    weights = agreements(
        [((), ()) if zero else pair for pair, zero in zip(counted, zeroed, strict=True)], similarity
    )
    return [
        CritiqueScores(
            generated=len(generated),
            reference=_wanted(meant, fatal_rule),
            said=tuple(generated),
            meant=tuple(meant),
        )
        if zero
        else _scores(generated, meant, _wanted(meant, fatal_rule), matrix, threshold)
        for (generated, meant), zero, matrix in zip(counted, zeroed, weights, strict=True)
    ]


def _wanted(meant: Sequence[CoreArgument], fatal_rule: bool) -> int:
    """Return N_ref; of several fatal errors any is the one."""
    return 1 if fatal_rule and any(argument.fatal for argument in meant) else len(meant)


def _scores(
    said: Sequence[CoreArgument], meant: Sequence[CoreArgument], wanted: int, each: Matrix, threshold: float
) -> CritiqueScores | None:
    if np.isnan(each).any():
        return None
    one_will_do = wanted < each.shape[1]
    weights = each.max(axis=1, keepdims=True) if one_will_do else each
    found = assign(weights, threshold=threshold)
    return CritiqueScores(
        precision=precision(len(found), len(said)),
        recall=recall(len(found), wanted),
        f1=f1_score(len(found), len(said), wanted),
        average_precision=average_precision([pair.generated for pair in found], wanted),
        soft_recall=soft_recall([pair.similarity for pair in assign(weights, threshold=0.0)], wanted),
        generated=len(said),
        reference=wanted,
        matched=len(found),
        said=tuple(said),
        meant=tuple(meant),
        matches=tuple(replace(pair, reference=int(each[pair.generated].argmax())) for pair in found)
        if one_will_do
        else found,
    )
