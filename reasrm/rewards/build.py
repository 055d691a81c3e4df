"""From a config's reward section to one function over the global generation batch.

The order of work: every part is asked once for all rollouts, its answer is checked (length, finite numbers), the
values are combined row by row or group by group. A row for which any part abstains abstains as a whole, unless the
combinator says otherwise (`rule_first_else_model`, `critique_bonus`), which is told the values that are missing because
a call failed. Between asking and combining, whoever knows more (a MetaRM) may fill in what a part left open. A machine
or an endpoint that fails ends the run with its own reason. A part that throws ends it with a `RewardProblem` that names
the row: built-in parts know it; for any other part each row is asked alone until one throws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasrm.critiques.cases import CritiqueScorer
from reasrm.critiques.similarity import Similarity, stem_overlap
from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.rewards.base import (
    Helpers,
    NobodyAnswered,
    Part,
    RewardPart,
    RewardProblem,
    Rollout,
    RowFault,
    Values,
)
from reasrm.rewards.combine import build_combinator
from reasrm.rewards.combining import Combinator
from reasrm.rewards.config import RewardSection
from reasrm.rewards.consistency import ConsistencyReferee

__all__ = ["RewardFunction", "Scored", "build_reward"]

COMBINE = "combine"
"""The name under which a `RewardProblem` of the combinator is reported."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The rewards of one batch.

    Args:
        rewards: One per rollout, None where it abstains.
        parts: Every part's own values, unweighted, for the log.
    """

    rewards: Values
    parts: dict[str, Values]

    def array(self) -> NDArray[np.float64]:
        """Return the rewards as `compute_advantages` takes them: shape (N,), NaN abstains."""
        return np.array([math.nan if value is None else value for value in self.rewards], dtype=np.float64)


class RewardFunction:
    """Rollouts in, rewards and their parts out.

    Args:
        parts: The parts by name. Own parts are welcome: any callable of rollouts.
        combine: How their values become one, weights included.
        owes: Part → whether it has a value for a rollout if no call fails; a part that is not named asks nobody. In a
            launch such a part is computed in all processes, whose askers share the questions out.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        combine: Combinator,
        owes: Mapping[str, Callable[[Rollout], bool]] | None = None,
    ) -> None:
        self.parts = dict(parts)
        self.combine = combine
        self._owes = dict(owes or {})

    def __call__(self, rollouts: Sequence[Rollout]) -> Scored:
        """Score all rollouts of the global generation batch.

        Raises:
            RewardProblem: A part or the combinator threw, or gave something else than a finite number or None.
        """
        return self.combine_parts(rollouts, self.ask(rollouts))

    def with_parts(self, own: Mapping[str, Part]) -> RewardFunction:
        """Return the function with parts of your own in the place of some; weights and combinator stay.

        Raises:
            ConfigError: A name is none of the parts.
        """
        for name in own.keys() - self.parts.keys():
            raise ConfigError(
                f"{name!r} is none of the parts",
                place="rewards.parts",
                remedy=f"take the place of one of {', '.join(self.parts)}",
            )
        owes = {name: owed for name, owed in self._owes.items() if name not in own}
        return RewardFunction({**self.parts, **own}, self.combine, owes)

    @property
    def asking(self) -> list[str]:
        """Names of the parts that ask somebody."""
        return [name for name in self.parts if name in self._owes]

    def ask(
        self, rollouts: Sequence[Rollout], names: Collection[str] | None = None, *, more: bool = False
    ) -> dict[str, Values]:
        """Return the parts' values for all rollouts of the global generation batch, unweighted.

        Args:
            rollouts: Of all processes.
            names: Of the parts; None: all.
            more: Whether others of the batch were asked about before. What nobody answers then abstains: it may be
                the rollouts' fault, and would stop every continuation of the run at the same place.

        Raises:
            RewardProblem: A part threw, or gave something else than a finite number or None.
            ConfigError: Whom a part asks refuses the model or the key before it ever answered.
            EnvironmentProblem: It does not answer: all calls of the batch failed.
        """
        parts = {name: part for name, part in self.parts.items() if names is None or name in names}
        if not rollouts:
            return {name: [] for name in parts}
        return {name: _ask(name, part, rollouts, name in self._owes, more) for name, part in parts.items()}

    def combine_parts(self, rollouts: Sequence[Rollout], parts: Mapping[str, Values]) -> Scored:
        """Return the rewards that come of the parts' values, as `ask` gave them or with some filled in.

        Raises:
            InternalError: The values are not those of this function's parts.
            RewardProblem: A value, or what the combinator makes of them, is no finite number or None.
        """
        if set(parts) != set(self.parts):
            raise InternalError(f"values of {sorted(parts)} for the parts {sorted(self.parts)}")
        if not rollouts:
            return Scored([], dict(parts))
        checked = {name: _checked(name, parts[name], rollouts) for name in self.parts}
        groups = [rollout.group for rollout in rollouts]
        try:
            rewards = self.combine(checked, groups, self._failed(rollouts, checked))
        except RowFault as fault:
            raise RewardProblem(COMBINE, fault.cause, rollouts[fault.index]) from fault
        return Scored(_checked(COMBINE, rewards, rollouts), checked)

    def _failed(self, rollouts: Sequence[Rollout], values: Mapping[str, Values]) -> dict[str, list[bool]]:
        return {
            name: [
                value is None and owes(rollout) for value, rollout in zip(values[name], rollouts, strict=True)
            ]
            for name, owes in self._owes.items()
        }


def build_reward(
    section: RewardSection,
    *,
    referee: ConsistencyReferee | None = None,
    critiques: CritiqueScorer | None = None,
    similarity: Similarity | None = None,
) -> RewardFunction:
    """Return the reward function that a config describes.

    Args:
        section: Parts, weights, combinator.
        referee: Answers whether reasoning and verdict agree; `consistency_ladder` needs it.
        critiques: Scores critiques against the rows' own; `critique` needs it.
        similarity: How alike two texts are, for the rewards on critiques of a group; stems if None.

    Raises:
        ConfigError: A part needs something that was not given.
    """
    helpers = Helpers(referee, critiques, similarity or stem_overlap)
    parts = {name: _built(name, part, helpers) for name, part in section.parts.items()}
    weights = {name: part.weight for name, part in section.parts.items()}
    owes = {name: part.owes for name, part in section.parts.items() if part.asks}
    return RewardFunction(parts, build_combinator(section.combine, weights), owes)


def _built(name: str, part: RewardPart, helpers: Helpers) -> Part:
    if part.asks and getattr(helpers, part.asks) is None:
        raise ConfigError(
            f"the part asks what the section `{part.asks}` sets up, and nothing is given",
            place=f"rewards.parts.{name}",
            remedy=f"add a section `{part.asks}:` to the config, or drop the part",
        )
    return part.build(helpers)


def _ask(name: str, part: Part, rollouts: Sequence[Rollout], asks: bool, more: bool) -> Values:
    """Ask one part for all rollouts, and find the row where it throws; a model that refuses is no row's fault."""
    try:
        values = part(rollouts)
    except RowFault as fault:
        raise RewardProblem(name, fault.cause, rollouts[fault.index]) from fault
    except EnvironmentProblem as problem:
        if more and isinstance(problem, NobodyAnswered):
            return [None] * len(rollouts)
        raise
    except Exception as error:
        if asks and isinstance(error, ConfigError):
            raise
        cause = f"{type(error).__name__}: {error}"
        raise RewardProblem(name, cause, _first_at_fault(part, rollouts)) from error
    return _checked(name, values, rollouts)


def _first_at_fault(part: Part, rollouts: Sequence[Rollout]) -> Rollout | None:
    """Return the first rollout on which the part throws alone; None if only the batch as a whole makes it throw."""
    for rollout in rollouts:
        try:
            part([rollout])
        except Exception:
            return rollout
    return None


def _checked(name: str, values: Values, rollouts: Sequence[Rollout]) -> Values:
    """Return the values as floats, or say which row has none that can be trained on."""
    if not hasattr(values, "__len__"):  # an own part may give anything
        raise RewardProblem(name, f"gave {values!r}, which is no list of values")
    if len(values) != len(rollouts):
        raise RewardProblem(name, f"gave {len(values)} values for {len(rollouts)} rollouts")
    checked: Values = []
    for value, rollout in zip(values, rollouts, strict=True):
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise RewardProblem(name, f"gave {value!r}, which is no number", rollout) from error
        if number is not None and not math.isfinite(number):
            raise RewardProblem(name, f"gave {value!r}, which is not finite", rollout)
        checked.append(number)
    return checked
