"""What combinators share: rows whose parts all have a value, rows by group, failed calls, the forms of a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from reasrm.config import Config
from reasrm.rewards.base import RewardPart, RowFault, Values

Failed: TypeAlias = Mapping[str, Sequence[bool]]
"""Part → per row, whether it is None because a call failed; a part that is not named never fails."""
NEVER: Failed = MappingProxyType({})
Combinator: TypeAlias = Callable[[Mapping[str, Values], Sequence[str], Failed], Values]
"""Values by part, the group of each row, and what is missing because a call failed, to one reward per row."""
Weights = Mapping[str, float]
Known = Mapping[str, float]


def sigmoid(x: float) -> float:
    """Return 1/(1 + e^−x) without overflow."""
    return math.exp(log_sigmoid(x))


def log_sigmoid(x: float) -> float:
    """Return log(1/(1 + e^−x)) without overflow."""
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


def weighted(row: Known, weights: Weights, *, without: Iterable[str] = ()) -> float:
    """Return Σ w·r over the parts of a row."""
    return math.fsum(weights[name] * value for name, value in row.items() if name not in without)


def complete_rows(parts: Mapping[str, Values]) -> list[dict[str, float] | None]:
    """Return the values of each row by part, or None where any part abstains."""
    rows: list[dict[str, float] | None] = []
    for values in zip(*parts.values(), strict=True):
        known = {name: value for name, value in zip(parts, values, strict=True) if value is not None}
        rows.append(known if len(known) == len(parts) else None)
    return rows


def in_unit(name: str, value: float) -> float:
    """Return a value that lies in [0, 1]; ValueError for any other."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name!r} gave {value:g}, and this combinator needs a value in [0, 1]")
    return value


def rows_of(groups: Sequence[str], usable: Sequence[bool]) -> list[list[int]]:
    """Return the usable rows of each group."""
    rows: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        if usable[index]:
            rows.setdefault(group, []).append(index)
    return list(rows.values())


def is_lost(failed: Failed, name: str, index: int) -> bool:
    """Whether a part of a row is missing only because a call failed."""
    return name in failed and failed[name][index]


class Combine(Config):
    """How parts become a reward; its fields are its section of a config."""

    kind: str

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Raise ValueError if it does not go with the parts of a config; every part it names is one of them."""

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards; here each row by itself."""
        rewards: Values = []
        for index, row in enumerate(complete_rows(parts)):
            try:
                rewards.append(None if row is None else self._reward(row, weights))
            except ValueError as error:
                raise RowFault(index, str(error)) from error
        return rewards

    def _reward(self, row: Known, weights: Weights) -> float:
        """Return the reward of a row whose parts all have a value."""
        raise NotImplementedError


class Extras(Combine):
    """An outcome and extras.

    Args:
        outcome: The part that is the outcome.
    """

    outcome: str = "outcome"

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse an outcome alone."""
        if len(parts) < 2:
            raise ValueError(f"combine.kind {self.kind!r} needs a part beside {self.outcome!r}")


class Gated(Extras):
    """An outcome that gates: one of −1 would turn a penalty into a reward."""

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse an outcome whose values leave [0, 1]."""
        super().check(parts)
        least, most = getattr(parts[self.outcome], "bounds", (0, 1))
        if least < 0 or most > 1:
            raise ValueError(
                f"combine.kind {self.kind!r} needs an outcome in [0, 1]; "
                f"set right, wrong and unparsed of {self.outcome!r} to 1, 0, 0"
            )
