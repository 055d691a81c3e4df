"""How well a critique agrees with a reference critique, in numbers from 0 to 1.

Sources: RM-NLHF (precision, recall, F1 over core arguments; a fatal error makes N_ref = 1) and RationaleRM (average
precision over an ordered list; soft recall). Nothing to compare gives 0, never an error: who has no reference critique
at all should abstain instead of asking. RM-NLHF's released scorer gives zeros to a critique that repeats itself
(`repeats="zero"`) and otherwise counts unique arguments (`"unique"`); our default leaves repeats in N_gen, where they
cost precision and earn nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reasrm.critiques.extract import distinct
from reasrm.critiques.matching import agreement, assign, repeated
from reasrm.critiques.similarity import Similarity
from reasrm.records import CoreArgument

__all__ = [
    "CritiqueScores",
    "Repeats",
    "average_precision",
    "f1_score",
    "precision",
    "recall",
    "score_critique",
    "soft_recall",
]

Repeats: TypeAlias = Literal["count", "unique", "zero"]


@dataclass(frozen=True, slots=True)
class CritiqueScores:
    """Every score of one critique, and the counts behind them."""

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0
    average_precision: float = 0.0
    soft_recall: float = 0.0
    generated: int = 0
    reference: int = 0
    matched: int = 0


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
        generated: A judge's core arguments in its order, repeats included (`core_arguments` already drops them).
        reference: The core arguments to find; repeats among them count once.
        similarity: How alike two texts are.
        threshold: The least similarity of a match; soft recall uses none.
        repeats: What a repeat among the generated costs: precision, nothing, or everything.
        fatal_rule: If a reference argument is fatal then N_ref = 1 and only fatal ones count: any of them is the one.
    """
    again = repeated(generated)
    if repeats == "unique":
        generated = [argument for argument, repeat in zip(generated, again, strict=True) if not repeat]
    meant = distinct(reference)
    fatal = [argument for argument in meant if argument.fatal] if fatal_rule else []
    weights = agreement(generated, fatal or meant, similarity)
    if fatal:
        weights = weights.max(axis=1, keepdims=True)
    wanted = weights.shape[1]
    if repeats == "zero" and any(again):
        return CritiqueScores(generated=len(generated), reference=wanted)
    found = assign(weights, threshold=threshold)
    return CritiqueScores(
        precision=precision(len(found), len(generated)),
        recall=recall(len(found), wanted),
        f1=f1_score(len(found), len(generated), wanted),
        average_precision=average_precision([pair.generated for pair in found], wanted),
        soft_recall=soft_recall([pair.similarity for pair in assign(weights, threshold=0.0)], wanted),
        generated=len(generated),
        reference=wanted,
        matched=len(found),
    )
