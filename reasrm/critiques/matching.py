"""Which generated argument says what a reference argument says: one to one, same side, same stance.

Sources: RM-NLHF's released prompt (one-to-one, same meaning and same stance) and RationaleRM (maximum-weight one-to-one
assignment). Two rules are ours, against hacking. A repeat (same side, stance and content words as an earlier argument)
can match nothing: without that rule it could take a second, similar reference. Neither can an argument which the
same critique also turns round (same side, stance exchanged, same content words where words for one quality such as
`correct` and `inaccurate` count as one): saying both is saying nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from reasrm.critiques.extract import content_key
from reasrm.critiques.similarity import Block, Matrix, Similarity, checked, compare, exact, same_words
from reasrm.critiques.wording import topic_key
from reasrm.errors import ConfigError
from reasrm.records import CoreArgument

__all__ = ["Key", "Match", "agreements", "assign", "contradicted", "key_of", "repeated"]

Key: TypeAlias = Callable[[str], Hashable]
"""What two texts share that say the same."""

# Of assignments of equal weight: the one with more pairs, then the one with earlier arguments. Far below any
# difference between similarities that means something, far above rounding.
_PER_PAIR = 1e-6
_PER_PLACE = 1e-10


@dataclass(frozen=True, slots=True)
class Match:
    """A pair of places, in the generated and in the reference list, and how alike the two are."""

    generated: int
    reference: int
    similarity: float


def key_of(similarity: Similarity) -> Key:
    """Return when two arguments are one: for `exact` if their words are the same in order, else by content words."""
    return same_words if similarity is exact else content_key


def agreements(
    pairs: Iterable[tuple[Sequence[CoreArgument], Sequence[CoreArgument]]], similarity: Similarity
) -> list[Matrix]:
    """Return the similarities of many critiques' arguments to their references', NaN where one could not be had.

    They are 0 for pairs that differ in side or stance, for repeats and for contradictions. Only arguments with a
    partner are compared, and all of them at once: a similarity may be a model that is asked.

    Raises:
        ConfigError: A similarity is not in [0, 1].
    """
    key = key_of(similarity)
    masks: list[NDArray[np.bool_]] = []
    texts: list[Block] = []
    for generated, reference in pairs:
        agree = _agree(generated, reference, key)
        masks.append(agree)
        rows, columns = _partnered(agree)
        if rows:
            texts.append(([generated[n].text for n in rows], [reference[n].text for n in columns]))
    found = iter(compare(similarity, texts))
    return [_weights(agree, found) for agree in masks]


def _agree(
    generated: Sequence[CoreArgument], reference: Sequence[CoreArgument], key: Key
) -> NDArray[np.bool_]:
    """Return which pairs share side and stance; repeats and contradictions agree with nothing."""
    silent = zip(repeated(generated, key), contradicted(generated), strict=True)
    flags = [
        [not any(mute) and (said.about, said.stance) == (meant.about, meant.stance) for meant in reference]
        for said, mute in zip(generated, silent, strict=True)
    ]
    return np.array(flags, dtype=np.bool_).reshape(len(generated), len(reference))


def _partnered(agree: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Return the rows and the columns that agree with anything."""
    return np.flatnonzero(agree.any(axis=1)).tolist(), np.flatnonzero(agree.any(axis=0)).tolist()


def _weights(agree: NDArray[np.bool_], found: Iterator[Matrix]) -> Matrix:
    weights = np.zeros(agree.shape)
    rows, columns = _partnered(agree)
    if rows:
        weights[np.ix_(rows, columns)] = checked(next(found), len(rows), len(columns), or_failed=True)
    return np.where(agree, weights, 0.0)


def assign(weights: Matrix, *, threshold: float = 0.5) -> tuple[Match, ...]:
    """Return the pairs of the assignment with the largest sum of weights, among those with weight >= threshold.

    Ties go to more pairs, then to earlier rows, so neither count nor order depends on how the lists are arranged.

    Raises:
        ConfigError: The threshold is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(
            f"the value {threshold} is not in [0, 1]",
            place="threshold",
            remedy="give a similarity, 0.5 for instance",
        )
    allowed = (weights > 0) & (weights >= threshold)
    if not allowed.any():
        return ()
    rows = len(weights)
    earlier = _PER_PLACE * (1 - np.arange(rows)[:, None] / rows)
    chosen = linear_sum_assignment(np.where(allowed, weights + _PER_PAIR + earlier, 0.0), maximize=True)
    pairs = ((int(row), int(column)) for row, column in zip(*chosen, strict=True))
    return tuple(
        Match(row, column, float(weights[row, column])) for row, column in pairs if allowed[row, column]
    )


def repeated(arguments: Sequence[CoreArgument], key: Key = content_key) -> list[bool]:
    """Return for each argument whether an earlier one has its side and stance and says the same."""
    seen: set[object] = set()
    flags = []
    for argument in arguments:
        said = (argument.about, argument.stance, key(argument.text))
        flags.append(said in seen)
        seen.add(said)
    return flags


def contradicted(arguments: Sequence[CoreArgument]) -> list[bool]:
    """Return for each argument whether another has its side and topic and the other stance."""
    stances: dict[object, set[str]] = defaultdict(set)
    topics = [(argument.about, topic_key(argument.text)) for argument in arguments]
    for topic, argument in zip(topics, arguments, strict=True):
        stances[topic].add(argument.stance)
    return [len(stances[topic]) > 1 for topic in topics]
