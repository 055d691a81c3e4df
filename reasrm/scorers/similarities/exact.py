"""The same words."""

from __future__ import annotations

from reasrm.critiques.similarity import exact
from reasrm.scorers.similarity import SimilarityKind

SIMILARITY = SimilarityKind(
    about="1 for the same words in the same order, else 0",
    source="for the sandbox",
    build=lambda means: exact,
)
