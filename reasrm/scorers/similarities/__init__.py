"""How two texts are compared, one file each: the file's name is what a config says."""

from __future__ import annotations

from reasrm.registry import load, names
from reasrm.scorers.similarity import SimilarityKind

__all__ = ["SIMILARITIES", "get_similarity"]

SIMILARITIES = names(__name__)
"""The names of all."""


def get_similarity(name: str) -> SimilarityKind:
    """Return one of them; the others are not imported."""
    kind: SimilarityKind = load(__name__, name).SIMILARITY
    return kind
