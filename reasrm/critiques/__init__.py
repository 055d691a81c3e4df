"""What a critique argues and how well it agrees with another: extraction, similarity, matching, scores.

Pure functions over `records.Critique`; rewards and evaluations choose among them.
"""

from __future__ import annotations

from reasrm.critiques.extract import core_arguments, distinct, read_critique
from reasrm.critiques.inconsistency import favoured_side, inconsistency
from reasrm.critiques.matching import Match, assign, match
from reasrm.critiques.scores import CritiqueScores, score_critique
from reasrm.critiques.similarity import Similarity, bleu, rouge_l, stem_overlap, token_max_average

__all__ = [
    "CritiqueScores",
    "Match",
    "Similarity",
    "assign",
    "bleu",
    "core_arguments",
    "distinct",
    "favoured_side",
    "inconsistency",
    "match",
    "read_critique",
    "rouge_l",
    "score_critique",
    "stem_overlap",
    "token_max_average",
]
