"""A critique scorer as a config section asks for it: extractor, similarity, and a model where one is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

from reasrm.critiques.cases import (
    Arguments,
    CritiqueCase,
    CritiqueScorer,
    CritiqueText,
    Extractor,
    by_rules,
    scorer,
)
from reasrm.critiques.extract import distinct
from reasrm.critiques.scores import CritiqueScores
from reasrm.critiques.similarity import Similarity, same_words
from reasrm.errors import ConfigError
from reasrm.requests import Completion, Request
from reasrm.scorers.answers import AnswerCache, Cost
from reasrm.scorers.asking import MAX_TOKENS
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.similarity import Means
from reasrm.world.critiques import core_arguments as world_arguments
from reasrm.world.reading import read_clauses

__all__ = ["BuiltScorer", "Model", "OpenModel", "build_critique_scorer", "build_similarity", "by_clauses"]


class Model(Protocol):
    """The part of a backend that scorers use."""

    @property
    def identity(self) -> dict[str, str]:
        """Which model it is; answers are kept under it."""
        ...

    def generate(self, requests: Iterable[Request]) -> Iterable[Completion]:
        """Yield one completion per request."""
        ...


OpenModel: TypeAlias = Callable[..., Model]
"""What opens a backend by its name and the options of an endpoint: `generation.resolve.open_backend` fits."""


class BuiltScorer:
    """A `CritiqueScorer`, and what its models have cost.

    Args:
        score: What scores.
        extract: What reads arguments.
        similarity: What it compares texts by.
        costs: By who asked, `extractor` or `matcher`.
        cache: Where answers are kept.

    Attributes:
        failure: Why a model had no answer at all in the last batch; None if none failed, or not every time.
    """

    def __init__(
        self,
        score: CritiqueScorer,
        extract: Extractor,
        similarity: Similarity,
        costs: dict[str, Cost] | None = None,
        cache: AnswerCache | None = None,
    ) -> None:
        self.extract = extract
        self.similarity = similarity
        self.costs = costs or {}
        self._score, self._cache = score, cache
        self.failure: str | None = None

    def __call__(self, cases: Sequence[CritiqueCase]) -> list[CritiqueScores | None]:
        """Return the scores of each case, or None."""
        before = self._num_failures()
        found = self._score(cases)
        said = (getattr(asked, "failure", None) for asked in (self.extract, self.similarity))
        reason = next((reason for reason in said if reason is not None), None)
        self.failure = reason if self._num_failures() > before else None
        return found

    def _num_failures(self) -> int:
        return sum(cost.failures.total() for cost in self.costs.values())

    def close(self) -> None:
        """Close the cache of answers. Calling it twice is harmless."""
        if self._cache is not None:
            self._cache.close()


def build_critique_scorer(section: CritiqueSection, open_backend: OpenModel | None = None) -> BuiltScorer:
    """Return the scorer of a section. Models are loaded when they are first asked.

    Args:
        section: What to build.
        open_backend: Opens `section.model`; only asked for where the section names one.

    Raises:
        ConfigError: A model or encoder cannot be used.
        MissingExtraError: A package is not installed.
    """
    cache: AnswerCache | None = None
    costs: dict[str, Cost] = {}
    extract: Extractor = by_clauses if section.extractor == "sandbox" else by_rules
    means = Means(encoder=section.encoder, revision=section.encoder_revision)
    if section.asks_model:
        from reasrm.scorers.extractor import ModelExtractor

        model = _opened(section, open_backend)
        cache = None if section.cache is None else AnswerCache(section.cache, model.identity)
        means = replace(means, ask=model.generate, cache=cache, max_tokens=section.max_tokens or MAX_TOKENS)
        if section.extractor == "model":
            extractor = ModelExtractor(model.generate, cache, max_tokens=means.max_tokens)
            extract, costs["extractor"] = extractor, extractor.cost
    similarity = section.kind.build(means)
    if isinstance(cost := getattr(similarity, "cost", None), Cost):
        costs["matcher"] = cost
    score = scorer(
        extract,
        similarity,
        threshold=section.threshold,
        repeats=section.repeats,
        fatal_rule=section.fatal_rule,
    )
    return BuiltScorer(score, extract, similarity, costs, cache)


def build_similarity(section: CritiqueSection) -> Similarity:
    """Return the similarity of a section that asks no model for it.

    Raises:
        ConfigError: The encoder cannot be used, or a model is asked.
        MissingExtraError: A package is not installed.
    """
    return section.kind.build(Means(encoder=section.encoder, revision=section.encoder_revision))


def by_clauses(texts: Sequence[CritiqueText]) -> list[Arguments | None]:
    """Return the core arguments of critiques in the words of the sandbox's worlds, each once. It never fails."""
    return [distinct(world_arguments(read_clauses(item.text)), same_words) for item in texts]


def _opened(section: CritiqueSection, open_backend: OpenModel | None) -> Model:
    if open_backend is None or section.model is None:
        raise ConfigError(
            f"the model {section.model!r} cannot be asked here",
            place="critique.model",
            remedy="use rules as extractor and a similarity that asks no model",
        )
    return open_backend(section.model, **section.endpoint_options())
