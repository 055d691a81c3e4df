"""The parts about critiques as a config names them. Defaults are the published ones; a number of ours is marked so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from reasrm.rewards.part_sections import Share, WeightedPart

__all__ = ["CritiqueAgreementPart", "CritiqueDiversityPart", "CritiqueFormatPart", "CritiquePart"]


class CritiquePart(WeightedPart):
    """How well the critique agrees with the row's reference critique (RM-NLHF: 1 if F1 >= 0.5, else 0).

    Args:
        score: Which number of `CritiqueScores`: RM-NLHF takes `f1`, RationaleRM `average_precision`.
        least: 1 for a score of at least this, else 0 (RM-NLHF: 0.5); null: the score itself.
    """

    kind: Literal["critique"] = "critique"
    score: Literal["f1", "precision", "recall", "average_precision", "soft_recall"] = "f1"
    least: Annotated[float, Field(gt=0, le=1)] | None = 0.5


class CritiqueFormatPart(WeightedPart):
    """1 if critique and verdict are there and the critique is short enough, else 0 (RM-NLHF).

    Args:
        max_lines: Most lines of the critique, blank ones between others included; 4 as released. null: no limit.
        max_characters: Most characters of it, 1,500 as released; null: no limit.
    """

    kind: Literal["critique_format"] = "critique_format"
    max_lines: PositiveInt | None = 4
    max_characters: PositiveInt | None = 1500


class CritiqueAgreementPart(WeightedPart):
    """CSR: agreement with the group's other critiques, rewarded if right and punished if wrong. Our form."""

    kind: Literal["critique_agreement"] = "critique_agreement"


class CritiqueDiversityPart(WeightedPart):
    """SD-E²: how many different points a critique makes. Our form.

    Args:
        measure: `distinct` counts points that are unlike all earlier ones; `dissimilarity` is the mean over all pairs.
        threshold: Points at least this alike are one (ours).
        most: Points beyond this many count nothing; null: no limit (ours).
    """

    kind: Literal["critique_diversity"] = "critique_diversity"
    measure: Literal["distinct", "dissimilarity"] = "distinct"
    threshold: Share = 0.5
    most: PositiveInt | None = None
