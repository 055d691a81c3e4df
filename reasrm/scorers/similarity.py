"""What a kind of similarity is: one file of `scorers/similarities`, which a config names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasrm.critiques.similarity import Similarity
from reasrm.scorers.answers import AnswerCache
from reasrm.scorers.asking import MAX_TOKENS
from reasrm.scorers.referee import Generate

__all__ = ["Means", "SimilarityKind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a similarity may be built with, as a config says.

    Args:
        encoder: Folder or hub id of an encoder or model.
        revision: Branch, tag or commit of a hub id.
        ask: `backend.generate` of a model.
        cache: Where a model's replies are kept.
        max_tokens: Room for a reply.
    """

    encoder: str | None = None
    revision: str | None = None
    ask: Generate | None = None
    cache: AnswerCache | None = None
    max_tokens: int = MAX_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityKind:
    """A way to compare two texts.

    Args:
        about: What it is, for people.
        source: Where it is from.
        build: Makes it.
        needs: The key of a config that it cannot do without.
    """

    about: str
    source: str
    build: Callable[[Means], Similarity]
    needs: Literal["encoder", "model"] | None = None
