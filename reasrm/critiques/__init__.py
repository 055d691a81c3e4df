"""What a critique argues and how well it agrees with another: extraction, similarity, matching, scores.

Pure functions over `records.Critique`; rewards and evaluations choose among them.
"""

from __future__ import annotations

from reasrm.critiques.cases import (
    CritiqueCase,
    CritiqueScorer,
    CritiqueText,
    Extractor,
    References,
    by_rules,
    scorer,
)
from reasrm.critiques.extract import core_arguments, favoured_side
from reasrm.critiques.matching import Match, assign
from reasrm.critiques.scores import CritiqueScores, score_critique
from reasrm.critiques.similarity import Similarity, exact, stem_overlap

__all__ = [
    "CritiqueCase",
    "CritiqueScorer",
    "CritiqueScores",
    "CritiqueText",
    "Extractor",
    "Match",
    "References",
    "Similarity",
    "assign",
    "by_rules",
    "core_arguments",
    "exact",
    "favoured_side",
    "score_critique",
    "scorer",
    "stem_overlap",
]
