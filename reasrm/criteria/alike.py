"""Criteria that say the same, or the opposite: by words, the same on every machine.

Two criteria are alike where their topics overlap (Jaccard of content stems, words for one quality counted as one:
`concise` and `verbose`). Alike with one polarity they repeat each other, with opposite ones they contradict. Polarity
is whether the text praises or faults, else whether it is negated; a negative weight turns it round. RRD (in EvoLM)
asks a model both questions; here a model's word may count where words leave it undecided: below `alike`, in a band of
similarities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from reasrm.critiques.wording import is_negated, stance_of, topic_key
from reasrm.rubric import Criterion

__all__ = [
    "ALIKE",
    "Relation",
    "Texts",
    "Word",
    "polarity",
    "relations",
    "similarity",
    "texts_of",
    "undecided",
]

ALIKE = 0.8
"""The least similarity of two criteria that are called alike."""
Texts: TypeAlias = tuple[str, str]
"""The texts of two criteria, in alphabetical order."""
Word: TypeAlias = Literal["same", "opposite", "neither", "unread", "failed"]
"""What a model says of two texts; `unread` and `failed` where it could not be had, which is not `neither`."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a later criterion is to an earlier one."""

    first: int
    second: int
    kind: Literal["duplicate", "conflict"]
    similarity: float


def similarity(one: str, two: str) -> float:
    """Return |A ∩ B| / |A ∪ B| of two texts' topics."""
    ours, theirs = topic_key(one), topic_key(two)
    shared = len(ours & theirs)
    return shared / (len(ours) + len(theirs) - shared) if shared else 0.0


def polarity(criterion: Criterion) -> Literal[1, -1]:
    """Return 1 if what the criterion names counts for a response that has it, -1 if it counts against it."""
    stance = stance_of(criterion.text, deeds=False)
    against = is_negated(criterion.text) if stance is None else stance == "against"
    return -1 if against is not ((criterion.weight or 0) < 0) else 1


def texts_of(one: Criterion, two: Criterion) -> Texts:
    """Return the texts of two criteria as a model is asked about them, whatever their order."""
    first, second = sorted((one.text, two.text))
    return first, second


def undecided(criteria: Sequence[Criterion], *, least: float, alike: float = ALIKE) -> tuple[Texts, ...]:
    """Return the pairs that words do not decide: whose similarity is at least `least` and below `alike`, each once."""
    pairs = (
        texts_of(one, two)
        for one, two in combinations(criteria, 2)
        if least <= similarity(one.text, two.text) < alike
    )
    return tuple(dict.fromkeys(pairs))


def relations(
    criteria: Sequence[Criterion], *, alike: float = ALIKE, said: Mapping[Texts, Word] | None = None
) -> tuple[Relation, ...]:
    """Return every pair of criteria that are alike, by words or, where these do not say so, by what a model said.

    Args:
        criteria: In order.
        alike: The least similarity that decides by words.
        said: A model's word on texts. A criterion with a negative weight means the opposite of its text.
    """
    found = []
    for (first, one), (second, two) in combinations(enumerate(criteria), 2):
        share = similarity(one.text, two.text)
        word = None if said is None else said.get(texts_of(one, two))
        if share >= alike:
            repeats = polarity(one) == polarity(two)
        elif word in ("same", "opposite"):
            signs = {(criterion.weight or 0) < 0 for criterion in (one, two)}
            repeats = (word == "same") is (len(signs) == 1)
        else:
            continue
        found.append(Relation(first, second, "duplicate" if repeats else "conflict", share))
    return tuple(found)
