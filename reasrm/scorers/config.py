"""How critiques are compared, as a section of a config file; `reasrm.scorers.critiques` builds what it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from reasrm.config import ANSWERED_ALIKE, EndpointSection
from reasrm.critiques.scores import Repeats
from reasrm.scorers.similarities import SIMILARITIES, get_similarity
from reasrm.scorers.similarity import SimilarityKind

__all__ = ["CritiqueSection"]

if TYPE_CHECKING:
    SimilarityName = str
else:
    SimilarityName = Literal[SIMILARITIES]


class CritiqueSection(EndpointSection):
    """How a judge's critique is scored against a reference critique; its model may be behind an endpoint.

    Args:
        extractor: Who reads core arguments from text: word rules, the sandbox's clauses, or a model.
        similarity: How alike two arguments' texts are.
        threshold: The least similarity of a match.
        repeats: What a repeated argument costs: precision, nothing, or everything (RM-NLHF as released).
        fatal_rule: If the reference names a fatal error, only that one counts (RM-NLHF).
        model: Backend of a model extractor or matcher: folder, hub id, `openai:MODEL@URL`.
        encoder: Sentence-transformers folder or hub id; for `token_embeddings` that of a model.
        encoder_revision: Branch, tag or commit of a hub id.
        max_tokens: Room for a reply of the model, thinking included; None is the asker's default, 1024, which is
            tight for a model that reasons first: give it 4096.
        cache: Folder where the model's replies are kept; without it they live as long as the process.
    """

    extractor: Literal["rules", "sandbox", "model"] = "rules"
    similarity: SimilarityName = "stems"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    repeats: Repeats = "count"
    fatal_rule: bool = True
    model: str | None = None
    encoder: str | None = None
    encoder_revision: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    cache: Path | None = None

    @property
    def asks_model(self) -> bool:
        """Whether a backend is needed."""
        return self.extractor == "model" or self.kind.needs == "model"

    @property
    def kind(self) -> SimilarityKind:
        """What the similarity is."""
        return get_similarity(self.similarity)

    def meaning(self) -> dict[str, Any]:
        """Return what was said that decides the scores, as JSON."""
        return self.model_dump(mode="json", exclude={"cache", *ANSWERED_ALIKE}, exclude_none=True)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needs_encoder = self.kind.needs == "encoder"
        if self.asks_model and not self.model:
            which = "extractor: model" if self.extractor == "model" else f"similarity: {self.similarity}"
            raise ValueError(f"'{which}' needs 'model': a folder, a hub id or openai:MODEL@URL")
        if self.model and not self.asks_model:
            raise ValueError("'model' is used by 'extractor: model' and 'similarity: model' only")
        if needs_encoder and not self.encoder:
            raise ValueError(f"'similarity: {self.similarity}' needs 'encoder': a model folder")
        if self.model and self.model.partition(":")[0] in ("replay", "sandbox"):
            raise ValueError(
                f"'model: {self.model}' answers no questions; name a folder, hub id or openai:MODEL@URL"
            )
        if self.encoder and not needs_encoder:
            users = [name for name in SIMILARITIES if get_similarity(name).needs == "encoder"]
            raise ValueError(f"'encoder' is used by 'similarity: {' | '.join(users)}' only")
        if self.encoder_revision and not self.encoder:
            raise ValueError("'encoder_revision' is of an encoder, and there is none")
        if self.max_tokens is not None and not self.asks_model:
            raise ValueError("'max_tokens' limits a model's replies, and no model is asked")
        if self.cache is not None and not self.asks_model:
            raise ValueError("'cache' keeps a model's replies, and no model is asked")
        unusual = self.unusual_options()
        if unusual and not (self.model or "").startswith("openai:"):
            raise ValueError(
                f"{unusual[0]!r} is of an endpoint, and 'model' names none; write openai:MODEL@URL"
            )
        if self.extractor == "sandbox" and self.repeats == "zero":
            raise ValueError("the sandbox's clauses are a set, so 'repeats: zero' would never apply")
        return self
