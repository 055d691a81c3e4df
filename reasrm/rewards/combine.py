"""How the values of several parts become one reward: sums, gates, transforms.

Each is one class, its fields and its formula over the parts' values. General rule: a row for which any part
abstains (None) abstains, also where the formula would not have looked at that part, so that abstaining does not depend
on being right. The exceptions are `rule_first_else_model` and `critique_bonus`; a failed call abstains there, too, if
the row's reward depends on it.

Sources: RM-NLHF arXiv 2601.07349 (critique bonus), LongTraceRL (positive-only), RationaleRM arXiv 2602.04649
(multiplicative), SubSearch (failure-only), BaseReward (rule first), BLEUBERI (group z-score), "Transforming and
Combining Rewards" (log-sigmoid-centred sum), SearchLLM (soft AND). Deviations are named in the docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveFloat

from reasrm.rewards.base import NonNegative, RewardPart, Share, Values
from reasrm.rewards.combining import (
    NEVER,
    Combinator,
    Combine,
    Extras,
    Failed,
    Gated,
    Known,
    Weights,
    complete_rows,
    in_unit,
    is_lost,
    log_sigmoid,
    rows_of,
    sigmoid,
    weighted,
)

__all__ = ["CombineSection", "CritiqueBonus", "WeightedSum", "build_combinator"]


class WeightedSum(Combine):
    """Σ w·r."""

    kind: Literal["weighted_sum"] = "weighted_sum"

    def _reward(self, row: Known, weights: Weights) -> float:
        return weighted(row, weights)


class PositiveOnly(Extras):
    """Extras count only where the outcome is positive (LongTraceRL, released).

    (1 − η)·o + η·e where o > 0, else o; o is the weighted outcome, e the weighted sum of the others. Deviation: a
    wrong row keeps its outcome's own value, which is the published 0 for a 0/1 outcome.

    Args:
        outcome: The part that opens the gate where its value is above 0.
        eta: r = (1 − eta)·outcome + eta·extras, 0.3 as released; null: outcome + extras.
        normalise: Divide extras by the greatest of the group, where that is above 0, as released.
    """

    kind: Literal["positive_only"] = "positive_only"
    eta: Share | None = 0.3
    normalise: bool = True

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards."""
        rows = complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in rows_of(groups, [row is not None for row in rows]):
            known = [row for row in (rows[index] for index in members) if row is not None]
            extras = [weighted(row, weights, without=(self.outcome,)) for row in known]
            most = max(extras)
            if self.normalise and most > 0:
                extras = [extra / most for extra in extras]
            for index, row, extra in zip(members, known, extras, strict=True):
                right = weights[self.outcome] * row[self.outcome]
                if row[self.outcome] <= 0:
                    rewards[index] = right
                elif self.eta is None:
                    rewards[index] = right + extra
                else:
                    rewards[index] = (1 - self.eta) * right + self.eta * extra
        return rewards


class Multiplicative(Gated):
    """outcome · Σ w·r of the others (RationaleRM). The outcome lies in [0, 1]."""

    kind: Literal["multiplicative"] = "multiplicative"

    def _reward(self, row: Known, weights: Weights) -> float:
        return (
            weights[self.outcome]
            * in_unit(self.outcome, row[self.outcome])
            * weighted(row, weights, without=(self.outcome,))
        )


class FailureOnly(Gated):
    """outcome + beta·(Σ w·r of the others)·(1 − outcome) (SubSearch). The outcome lies in [0, 1].

    Args:
        outcome: The part that is the outcome.
        beta: 0.2 as released, 0.02 after decay.
    """

    kind: Literal["failure_only"] = "failure_only"
    beta: NonNegative = 0.2

    def _reward(self, row: Known, weights: Weights) -> float:
        outcome = in_unit(self.outcome, row[self.outcome])
        extras = weighted(row, weights, without=(self.outcome,))
        return weights[self.outcome] * outcome + self.beta * extras * (1 - outcome)


class RuleFirstElseModel(Combine):
    """1 where the rule is above 0, else sigmoid(model) (BaseReward). An abstaining rule leaves it to the model.

    Exception to the general rule: an abstaining rule leaves the row to the model, unless its call failed; and an
    abstaining model does not matter where the rule is above 0. A row abstains only if nothing is left to decide it.
    """

    kind: Literal["rule_first_else_model"] = "rule_first_else_model"
    rule: str = "outcome"
    model: str

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse a third part."""
        if self.rule == self.model or len(parts) > 2:
            raise ValueError("rule_first_else_model takes exactly two parts, the rule and the model")

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards."""
        rewards: Values = []
        for index, (rule, model) in enumerate(zip(parts[self.rule], parts[self.model], strict=True)):
            if rule is not None and rule > 0:
                rewards.append(weights[self.rule])
            elif model is None or is_lost(failed, self.rule, index):
                rewards.append(None)
            else:
                rewards.append(weights[self.model] * sigmoid(model))
        return rewards


class GroupZScore(Combine):
    """Σ w·z, z over the group (BLEUBERI; two weights of 0.5 are its mean of two).

    Over the complete rows of the group. The source does not say which deviation; the population's is ours.
    """

    kind: Literal["group_zscore"] = "group_zscore"
    eps: PositiveFloat = 1e-6

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards."""
        rows = complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in rows_of(groups, [row is not None for row in rows]):
            total = np.zeros(len(members))
            for name in parts:
                values = np.array(
                    [row[name] for row in (rows[index] for index in members) if row is not None]
                )
                if np.ptp(values) > 0:
                    total += weights[name] * (values - values.mean()) / (values.std() + self.eps)
            for index, reward in zip(members, total, strict=True):
                rewards[index] = float(reward)
        return rewards


class LogSigmoidCentred(Combine):
    """Σ w·log sigmoid(r − reference) ("Transforming and Combining Rewards").

    With weights 1, the log-probability of being good on every count. Deviation: the paper's reference is a
    percentile of the *reference* policy's samples for the prompt; `group` takes that of the rollouts at hand, the
    policy's own.

    Args:
        references: Reference value by part, or `group`: a percentile of the group's own values.
        percentile: 85 as noted of a re-implementation.
    """

    kind: Literal["logsigmoid_centred"] = "logsigmoid_centred"
    references: dict[str, FiniteFloat] | Literal["group"] = "group"
    percentile: Annotated[float, Field(ge=0, le=100)] = 85.0

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse a part without a reference."""
        if missing := [name for name in parts if self.references != "group" and name not in self.references]:
            raise ValueError(f"combine.references lacks {missing[0]!r}")

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards."""
        rows = complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in rows_of(groups, [row is not None for row in rows]):
            known = [row for row in (rows[index] for index in members) if row is not None]
            if isinstance(self.references, dict):
                centre = self.references
            else:
                centre = {
                    name: float(np.percentile([row[name] for row in known], self.percentile))
                    for name in parts
                }
            for index, row in zip(members, known, strict=True):
                terms = {name: log_sigmoid(value - centre[name]) for name, value in row.items()}
                rewards[index] = weighted(terms, weights)
        return rewards


class SoftAnd(Combine):
    """exp(mean log((s + delta)/(1 + delta))) over floors, times the weighted mean of the rest (SearchLLM).

    Args:
        floors: Parts that must all hold. All values lie in [0, 1].
        delta: Not published; ours.
    """

    kind: Literal["soft_and"] = "soft_and"
    floors: tuple[str, ...] = Field(min_length=1)
    delta: PositiveFloat = 0.1

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse floors alone, and weights that are no mean."""
        rest = [part.weight for name, part in parts.items() if name not in self.floors]
        if min(rest, default=0.0) < 0 or sum(rest) <= 0:
            raise ValueError("soft_and needs parts beside the floors, with weights above 0")

    def _reward(self, row: Known, weights: Weights) -> float:
        for name, value in row.items():
            in_unit(name, value)
        logs = [math.log((row[name] + self.delta) / (1 + self.delta)) for name in self.floors]
        total = sum(weight for name, weight in weights.items() if name not in self.floors)
        return math.exp(math.fsum(logs) / len(logs)) * weighted(row, weights, without=self.floors) / total


class CritiqueBonus(Combine):
    """RM-NLHF: `bad_format` if the format is bad, else outcome + Σ w·p of the others, where the outcome is above 0.

    Args:
        outcome: The part that is the outcome.
        format: The part whose 0 means a bad format; null: no such rule. It decides and adds nothing.
        bad_format: −1 as released.
        gated: Whether the others count only where the outcome is above 0, as released.
        without_critique: Where a part beside outcome and format abstains. `outcome`: it adds nothing if the row has no
            reference critique; if it has one, or the group has other values, a call has failed and the row abstains.
            `abstain`: the row abstains.
    """

    kind: Literal["critique_bonus"] = "critique_bonus"
    outcome: str = "outcome"
    format: str | None = None
    bad_format: FiniteFloat = -1.0
    gated: bool = True
    without_critique: Literal["outcome", "abstain"] = "outcome"

    def check(self, parts: Mapping[str, RewardPart]) -> None:
        """Refuse one part as both."""
        if self.format == self.outcome:
            raise ValueError(f"combine.format and combine.outcome are both {self.outcome!r}")

    def combined(
        self, weights: Weights, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = NEVER
    ) -> Values:
        """Return the rewards.

        Exception to the general rule under `without_critique: outcome`: a part that abstains for the whole group
        adds nothing, if there was no reference critique to compare any of them with. If calls have failed, or it
        abstains for some rows only, nothing would mean "a bad critique", so those rows abstain unless their reward
        does not need it.
        """
        base = [name for name in (self.outcome, self.format) if name is not None]
        extras = [name for name in weights if name not in base]
        if self.without_critique == "abstain":
            whole = complete_rows(parts)
            return [None if row is None else self._bonus(weights, row, extras) for row in whole]
        known = {
            (group, name)
            for name in extras
            for group, value in zip(groups, parts[name], strict=True)
            if value is not None
        }
        rewards: Values = []
        for index, group in enumerate(groups):
            row = {name: value for name in parts if (value := parts[name][index]) is not None}
            wanted = [name for name in extras if (group, name) in known or is_lost(failed, name, index)]
            ready = all(name in row for name in base)
            rewards.append(self._bonus(weights, row, wanted) if ready else None)
        return rewards

    def _bonus(self, weights: Weights, row: Known, extras: Sequence[str]) -> float | None:
        """Return the reward of one row, None if it needs an extra that the row lacks."""
        if self.format is not None and row[self.format] <= 0:
            return self.bad_format
        right = weights[self.outcome] * row[self.outcome]
        if self.gated and row[self.outcome] <= 0:
            return right
        if any(name not in row for name in extras):
            return None
        return right + math.fsum(weights[name] * row[name] for name in extras)


CombineSection = Annotated[
    WeightedSum
    | CritiqueBonus
    | PositiveOnly
    | Multiplicative
    | FailureOnly
    | RuleFirstElseModel
    | GroupZScore
    | LogSigmoidCentred
    | SoftAnd,
    Field(discriminator="kind"),
]


def build_combinator(section: CombineSection, weights: Weights) -> Combinator:
    """Return the combinator that a config describes, with the parts' weights in it."""
    return partial(section.combined, weights)
