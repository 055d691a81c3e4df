"""A judge's critiques against the reference critiques of their rows, a batch at a time.

An extractor and a similarity make a scorer. Both may ask a model, and a call may fail: what could not be had is
None, for that case alone, and never a zero. The reference is what it is in every step of training, so its arguments
are read once and kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from reasrm.critiques.extract import core_arguments
from reasrm.critiques.scores import CritiqueScores, Repeats, score_critiques
from reasrm.critiques.similarity import Similarity
from reasrm.hashing import digest
from reasrm.records import Comparison, CoreArgument, Order

__all__ = [
    "Arguments",
    "CritiqueCase",
    "CritiqueScorer",
    "CritiqueText",
    "Extractor",
    "References",
    "by_rules",
    "scorer",
]

Arguments: TypeAlias = tuple[CoreArgument, ...]
_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class CritiqueText:
    """A critique to read, and the comparison whose responses it calls A and B."""

    comparison: Comparison
    text: str


@dataclass(frozen=True, slots=True)
class CritiqueCase:
    """A judge's critique of a comparison as shown; `comparison.critique` is the reference.

    Args:
        comparison: What the judge saw, with the reference critique of the row.
        text: The judge's critique; None or blank if it wrote none.
    """

    comparison: Comparison
    text: str | None


Extractor: TypeAlias = Callable[[Sequence[CritiqueText]], list[Arguments | None]]
"""Core arguments of each text, in its order; None where they could not be had because a call failed."""
CritiqueScorer: TypeAlias = Callable[[Sequence[CritiqueCase]], list[CritiqueScores | None]]
"""Scores of each case; None without a reference, for a reference without arguments, and where a call failed."""


def by_rules(texts: Sequence[CritiqueText]) -> list[Arguments | None]:
    """Return the core arguments that `extract.core_arguments` reads, repeats included. It never fails."""
    return [core_arguments(item.text, repeats=True) for item in texts]


def scorer(
    extract: Extractor,
    similarity: Similarity,
    *,
    threshold: float = 0.5,
    repeats: Repeats = "count",
    fatal_rule: bool = True,
) -> CritiqueScorer:
    """Return what scores cases: arguments by `extract`, matched by `similarity`.

    Args:
        extract: Reads the judges' critiques and the references.
        similarity: How alike two arguments' texts are.
        threshold: The least similarity of a match.
        repeats: See `score_critique`.
        fatal_rule: See `score_critique`.
    """
    references = References(extract)

    def score(cases: Sequence[CritiqueCase]) -> list[CritiqueScores | None]:
        wanted = references([case.comparison for case in cases])
        # Nobody is asked about a critique that is not there, or that has nothing to be compared with.
        texts = {
            n: CritiqueText(_shown(case.comparison), case.text)
            for n, case in enumerate(cases)
            if wanted[n] and case.text and not case.text.isspace()
        }
        written = dict(zip(texts, extract(list(texts.values())), strict=True)) if texts else {}
        pairs = {
            n: (arguments, reference)
            for n, reference in enumerate(wanted)
            if reference and (arguments := written.get(n, ())) is not None
        }
        scores = score_critiques(
            pairs.values(), similarity, threshold=threshold, repeats=repeats, fatal_rule=fatal_rule
        )
        found = dict(zip(pairs, scores, strict=True))
        return [found.get(n) for n in range(len(cases))]

    return score


class References:
    """The core arguments of reference critiques, in the order shown, read once per reference.

    A row's own arguments are taken as they are. A text calls the responses A and B in the row's own order: it is read
    in that order, and its arguments are then mapped to the order shown.

    Args:
        extract: Reads the texts.
    """

    def __init__(self, extract: Extractor) -> None:
        self._extract = extract
        self._kept: OrderedDict[str, Arguments] = OrderedDict()

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Arguments | None]:
        """Return each comparison's reference arguments; None without a critique, or if a call failed."""
        keys: list[str | None] = [None] * len(comparisons)
        missing: dict[str, CritiqueText] = {}
        found: dict[str, Arguments | None] = {}
        for n, comparison in enumerate(comparisons):
            text = _reference_text(comparison)
            if text is None:
                continue
            key = keys[n] = _key(text)
            if key in self._kept:
                self._kept.move_to_end(key)
                found[key] = self._kept[key]
            else:
                missing[key] = text
        if missing:
            found.update(zip(missing, self._extract(list(missing.values())), strict=True))
            self._keep(found)
        return [
            _own(comparison) if key is None else _as_shown(found[key], comparison.order)
            for comparison, key in zip(comparisons, keys, strict=True)
        ]

    def _keep(self, found: dict[str, Arguments | None]) -> None:
        self._kept.update((key, arguments) for key, arguments in found.items() if arguments is not None)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def _own(comparison: Comparison) -> Arguments | None:
    return None if comparison.critique is None else comparison.critique.arguments


def _reference_text(comparison: Comparison) -> CritiqueText | None:
    critique = comparison.critique
    if critique is None or critique.arguments or not critique.text or critique.text.isspace():
        return None
    return CritiqueText(_shown(comparison.order.seen(comparison)), critique.text)


def _as_shown(arguments: Arguments | None, order: Order) -> Arguments | None:
    return None if arguments is None else tuple(map(order.seen, arguments))


def _shown(comparison: Comparison) -> Comparison:
    """Return the comparison without what would tell an extractor the right verdict or the reference."""
    return replace(comparison, target=None, critique=None)


def _key(item: CritiqueText) -> str:
    seen = item.comparison
    prompt = [[message.role, message.content] for message in seen.prompt]
    return digest([item.text, prompt, seen.response_a, seen.response_b], 32)
