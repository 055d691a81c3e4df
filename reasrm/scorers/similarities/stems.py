"""The stems of content words."""

from __future__ import annotations

from reasrm.critiques.similarity import stem_overlap
from reasrm.scorers.similarity import SimilarityKind

SIMILARITY = SimilarityKind(
    about="shared content-word stems / all of them",
    source="ours, offline stand-in for a semantic matcher",
    build=lambda means: stem_overlap,
)
