"""How the values of several parts become one reward: sums, gates, transforms.

Every function here takes the parts' values by name and the group of each row. General rule: a row for which any part
abstains (None) abstains, also where the formula would not have looked at that part, so that abstaining does not depend
on being right. The exceptions are `rule_first_else_model` and `critique_bonus`; a failed call abstains there, too, if
the row's reward depends on it.

Sources: RM-NLHF arXiv 2601.07349 (critique bonus), LongTraceRL (positive-only), RationaleRM arXiv 2602.04649
(multiplicative), SubSearch (failure-only), BaseReward (rule first), BLEUBERI (group z-score), "Transforming and
Combining Rewards" (log-sigmoid-centred sum), SearchLLM (soft AND). Deviations are named in the docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias, assert_never

import numpy as np

from reasrm.rewards.base import RowFault, Values
from reasrm.rewards.config import (
    CombineSection,
    CritiqueBonus,
    FailureOnly,
    GroupZScore,
    LogSigmoidCentred,
    Multiplicative,
    PositiveOnly,
    RuleFirstElseModel,
    SoftAnd,
    WeightedSum,
)

__all__ = ["Combinator", "build_combinator", "log_sigmoid", "sigmoid"]

Failed: TypeAlias = Mapping[str, Sequence[bool]]
"""Part → per row, whether it is None because a call failed; a part that is not named never fails."""
_NEVER: Failed = MappingProxyType({})


class Combinator(Protocol):
    """What makes one reward per row of the parts' values."""

    def __call__(self, parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        """Return the rewards.

        Args:
            parts: Values by part.
            groups: The group of each row.
            failed: Which values are missing because a call failed.
        """
        ...


Weights = Mapping[str, float]
Known = Mapping[str, float]


def build_combinator(section: CombineSection, weights: Weights) -> Combinator:
    """Return the combinator that a config describes, with the parts' weights in it."""
    match section:
        case WeightedSum():
            return _by_row(lambda row: _sum(row, weights))
        case CritiqueBonus():
            return _critique_bonus(section, weights)
        case PositiveOnly():
            return _positive_only(section, weights)
        case Multiplicative():
            return _by_row(_multiplicative(section, weights))
        case FailureOnly():
            return _by_row(_failure_only(section, weights))
        case RuleFirstElseModel():
            return _rule_first(section, weights)
        case GroupZScore():
            return _group_zscore(section, weights)
        case LogSigmoidCentred():
            return _log_sigmoid_centred(section, weights)
        case SoftAnd():
            return _by_row(_soft_and(section, weights))
        case _:
            assert_never(section)


def sigmoid(x: float) -> float:
    """Return 1/(1 + e^−x) without overflow."""
    return math.exp(log_sigmoid(x))


def log_sigmoid(x: float) -> float:
    """Return log(1/(1 + e^−x)) without overflow."""
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


def _sum(row: Known, weights: Weights, *, without: Iterable[str] = ()) -> float:
    return math.fsum(weights[name] * value for name, value in row.items() if name not in without)


def _complete_rows(parts: Mapping[str, Values]) -> list[dict[str, float] | None]:
    """Return the values of each row by part, or None where any part abstains."""
    rows: list[dict[str, float] | None] = []
    for values in zip(*parts.values(), strict=True):
        known = {name: value for name, value in zip(parts, values, strict=True) if value is not None}
        rows.append(known if len(known) == len(parts) else None)
    return rows


def _by_row(reward: Callable[[Known], float]) -> Combinator:
    """Return the combinator that looks at one row at a time."""

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        rewards: Values = []
        for index, row in enumerate(_complete_rows(parts)):
            try:
                rewards.append(None if row is None else reward(row))
            except ValueError as error:
                raise RowFault(index, str(error)) from error
        return rewards

    return combine


def _in_unit(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name!r} gave {value:g}, and this combinator needs a value in [0, 1]")
    return value


def _rows_of(groups: Sequence[str], usable: Sequence[bool]) -> list[list[int]]:
    """Return the usable rows of each group."""
    rows: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        if usable[index]:
            rows.setdefault(group, []).append(index)
    return list(rows.values())


def _critique_bonus(section: CritiqueBonus, weights: Weights) -> Combinator:
    """`bad_format` where the format part is 0, else w_o·o + Σ w·p, the sum only where o > 0 (RM-NLHF, released).

    Exception to the general rule under `without_critique: outcome`: a part that abstains for the whole group adds
    nothing, if there was no reference critique to compare any of them with. If calls have failed, or it abstains for
    some rows only, nothing would mean "a bad critique", so those rows abstain unless their reward does not need it.
    """
    base = [name for name in (section.outcome, section.format) if name is not None]
    extras = [name for name in weights if name not in base]

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        if section.without_critique == "abstain":
            whole = _complete_rows(parts)
            return [None if row is None else _bonus(section, weights, row, extras) for row in whole]
        known = {
            (group, name)
            for name in extras
            for group, value in zip(groups, parts[name], strict=True)
            if value is not None
        }
        rewards: Values = []
        for index, group in enumerate(groups):
            row = {name: value for name in parts if (value := parts[name][index]) is not None}
            wanted = [name for name in extras if (group, name) in known or _is_lost(failed, name, index)]
            ready = all(name in row for name in base)
            rewards.append(_bonus(section, weights, row, wanted) if ready else None)
        return rewards

    return combine


def _is_lost(failed: Failed, name: str, index: int) -> bool:
    return name in failed and failed[name][index]


def _bonus(section: CritiqueBonus, weights: Weights, row: Known, extras: Sequence[str]) -> float | None:
    """Return the reward of one row, None if it needs an extra that the row lacks."""
    if section.format is not None and row[section.format] <= 0:
        return section.bad_format
    right = weights[section.outcome] * row[section.outcome]
    if section.gated and row[section.outcome] <= 0:
        return right
    if any(name not in row for name in extras):
        return None
    return right + math.fsum(weights[name] * row[name] for name in extras)


def _positive_only(section: PositiveOnly, weights: Weights) -> Combinator:
    """(1 − η)·o + η·e where o > 0, else o (LongTraceRL, released: η 0.3, e divided by the group's greatest).

    o is the weighted outcome, e the weighted sum of the others. With `eta: null` r = o + e. Deviation: a wrong row
    keeps its outcome's own value, which is the published 0 for a 0/1 outcome.
    """
    gate = section.outcome

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        rows = _complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in _rows_of(groups, [row is not None for row in rows]):
            known = [row for row in (rows[index] for index in members) if row is not None]
            extras = [_sum(row, weights, without=(gate,)) for row in known]
            most = max(extras)
            if section.normalise and most > 0:
                extras = [extra / most for extra in extras]
            for index, row, extra in zip(members, known, extras, strict=True):
                right = weights[gate] * row[gate]
                if row[gate] <= 0:
                    rewards[index] = right
                elif section.eta is None:
                    rewards[index] = right + extra
                else:
                    rewards[index] = (1 - section.eta) * right + section.eta * extra
        return rewards

    return combine


def _multiplicative(section: Multiplicative, weights: Weights) -> Callable[[Known], float]:
    """w_o·o · Σ w·r of the others (RationaleRM: average precision × outcome)."""
    gate = section.outcome

    def reward(row: Known) -> float:
        return weights[gate] * _in_unit(gate, row[gate]) * _sum(row, weights, without=(gate,))

    return reward


def _failure_only(section: FailureOnly, weights: Weights) -> Callable[[Known], float]:
    """w_o·o + β·(Σ w·r of the others)·(1 − o) (SubSearch, released: β 0.2, two extras of weight 0.5)."""
    gate = section.outcome

    def reward(row: Known) -> float:
        outcome = _in_unit(gate, row[gate])
        extras = _sum(row, weights, without=(gate,))
        return weights[gate] * outcome + section.beta * extras * (1 - outcome)

    return reward


def _rule_first(section: RuleFirstElseModel, weights: Weights) -> Combinator:
    """w_rule·1 where the rule's value is above 0, else w_model·sigmoid(model) (BaseReward, weights 1).

    Exception to the general rule: an abstaining rule leaves the row to the model, unless its call failed; and an
    abstaining model does not matter where the rule is above 0. A row abstains only if nothing is left to decide it.
    """

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        rewards: Values = []
        for index, (rule, model) in enumerate(zip(parts[section.rule], parts[section.model], strict=True)):
            if rule is not None and rule > 0:
                rewards.append(weights[section.rule])
            elif model is None or _is_lost(failed, section.rule, index):
                rewards.append(None)
            else:
                rewards.append(weights[section.model] * sigmoid(model))
        return rewards

    return combine


def _group_zscore(section: GroupZScore, weights: Weights) -> Combinator:
    """Σ w·(r − mean)/(std + eps) over the complete rows of the group (BLEUBERI, eps 1e-6; z's mean of two).

    The source does not say which deviation; the population's is ours.
    """

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        rows = _complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in _rows_of(groups, [row is not None for row in rows]):
            total = np.zeros(len(members))
            for name in parts:
                values = np.array(
                    [row[name] for row in (rows[index] for index in members) if row is not None]
                )
                if np.ptp(values) > 0:
                    total += weights[name] * (values - values.mean()) / (values.std() + section.eps)
            for index, reward in zip(members, total, strict=True):
                rewards[index] = float(reward)
        return rewards

    return combine


def _log_sigmoid_centred(section: LogSigmoidCentred, weights: Weights) -> Combinator:
    """Σ w·log sigmoid(r − reference): with weights 1, the log-probability of being good on every count.

    Deviation: the paper's reference is a percentile of the *reference* policy's samples for the prompt (85th, as noted
    of a re-implementation); `group` takes that percentile of the rollouts at hand, which are the policy's own.
    """
    references = section.references

    def combine(parts: Mapping[str, Values], groups: Sequence[str], failed: Failed = _NEVER) -> Values:
        rows = _complete_rows(parts)
        rewards: Values = [None] * len(rows)
        for members in _rows_of(groups, [row is not None for row in rows]):
            known = [row for row in (rows[index] for index in members) if row is not None]
            if isinstance(references, dict):
                centre = references
            else:
                centre = {
                    name: float(np.percentile([row[name] for row in known], section.percentile))
                    for name in parts
                }
            for index, row in zip(members, known, strict=True):
                terms = {name: log_sigmoid(value - centre[name]) for name, value in row.items()}
                rewards[index] = _sum(terms, weights)
        return rewards

    return combine


def _soft_and(section: SoftAnd, weights: Weights) -> Callable[[Known], float]:
    """exp(mean_i log((s_i + δ)/(1 + δ))) · Σ w·r / Σ w (SearchLLM). All values lie in [0, 1]; δ is ours."""
    floors = section.floors
    total = sum(weight for name, weight in weights.items() if name not in floors)

    def reward(row: Known) -> float:
        for name, value in row.items():
            _in_unit(name, value)
        logs = [math.log((row[name] + section.delta) / (1 + section.delta)) for name in floors]
        gate = math.exp(math.fsum(logs) / len(logs))
        return gate * _sum(row, weights, without=floors) / total

    return reward
