"""Which generated argument says what a reference argument says: one to one, same side, same stance.

Sources: RM-NLHF's released prompt (one-to-one, same meaning and same stance) and RationaleRM (maximum-weight one-to-one
assignment). Two rules are ours, against hacking. A repeat (same side, stance and content words as an earlier argument)
can match nothing: without that rule it could take a second, similar reference. Neither can an argument which the
same critique also turns round (same side and content words, other stance): saying both is saying nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from reasrm.critiques.extract import content_key
from reasrm.critiques.similarity import Matrix, Similarity, checked
from reasrm.errors import ConfigError
from reasrm.records import CoreArgument

__all__ = ["Match", "agreement", "assign", "contradicted", "match", "repeated"]

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


def match(
    generated: Sequence[CoreArgument],
    reference: Sequence[CoreArgument],
    similarity: Similarity,
    *,
    threshold: float = 0.5,
) -> tuple[Match, ...]:
    """Return the maximum-weight one-to-one assignment of agreeing arguments, by place in the generated list."""
    return assign(agreement(generated, reference, similarity), threshold=threshold)


def agreement(
    generated: Sequence[CoreArgument], reference: Sequence[CoreArgument], similarity: Similarity
) -> Matrix:
    """Return the similarities of pairs that agree in side and stance, 0 elsewhere, for repeats and contradictions."""
    shape = (len(generated), len(reference))
    if 0 in shape:
        return np.zeros(shape)
    silent = [one or two for one, two in zip(repeated(generated), contradicted(generated), strict=True)]
    agree = np.array(
        [
            [not mute and (said.about, said.stance) == (meant.about, meant.stance) for meant in reference]
            for said, mute in zip(generated, silent, strict=True)
        ]
    )
    if not agree.any():
        return np.zeros(shape)
    found = similarity([argument.text for argument in generated], [argument.text for argument in reference])
    return np.where(agree, checked(found, *shape), 0.0)


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


def repeated(arguments: Sequence[CoreArgument]) -> list[bool]:
    """Return for each argument whether an earlier one has its side, stance and content words."""
    seen: set[object] = set()
    flags = []
    for argument in arguments:
        key = (argument.about, argument.stance, content_key(argument.text))
        flags.append(key in seen)
        seen.add(key)
    return flags


def contradicted(arguments: Sequence[CoreArgument]) -> list[bool]:
    """Return for each argument whether another has its side and content words and the other stance."""
    stances: dict[object, set[str]] = defaultdict(set)
    keys = [(argument.about, content_key(argument.text)) for argument in arguments]
    for key, argument in zip(keys, arguments, strict=True):
        stances[key].add(argument.stance)
    return [len(stances[key]) > 1 for key in keys]
