"""Criteria that say the same, or the opposite: by words, the same on every machine.

Two criteria are alike where their topics overlap (Jaccard of content stems, words for one quality counted as one:
`concise` and `verbose`). Alike with one polarity they repeat each other, with opposite ones they contradict. Polarity
is whether the text praises or faults, else whether it is negated; a negative weight turns it round. RRD (in EvoLM)
asks a model both questions; one may still be asked about what words do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from reasrm.critiques.wording import is_negated, stance_of, topic_key
from reasrm.rubric import Criterion

__all__ = ["ALIKE", "Relation", "polarity", "relations", "similarity"]

ALIKE = 0.8
"""The least similarity of two criteria that are called alike."""


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


def relations(criteria: Sequence[Criterion], *, alike: float = ALIKE) -> tuple[Relation, ...]:
    """Return every pair of criteria that are alike, in order."""
    found = []
    for (first, one), (second, two) in combinations(enumerate(criteria), 2):
        share = similarity(one.text, two.text)
        if share >= alike:
            kind: Literal["duplicate", "conflict"] = (
                "duplicate" if polarity(one) == polarity(two) else "conflict"
            )
            found.append(Relation(first, second, kind, share))
    return tuple(found)
