"""What a config says about rewards and advantages: parts, how they combine, and how they are centred.

A part is chosen by its `kind` (a file of `rewards/parts`), named by its key, and weighted.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from reasrm.config import Config
from reasrm.rewards.base import NonNegative, RewardPart, Share
from reasrm.rewards.parts import PARTS
from reasrm.rewards.parts.outcome import OutcomePart

__all__ = [
    "AdvantageSection",
    "CombineSection",
    "CritiqueBonus",
    "FailureOnly",
    "GroupZScore",
    "LogSigmoidCentred",
    "Multiplicative",
    "PartSection",
    "PositiveOnly",
    "RewardSection",
    "RuleFirstElseModel",
    "SoftAnd",
    "WeightedSum",
]


if TYPE_CHECKING:
    PartSection = RewardPart
else:
    PartSection = Annotated[reduce(or_, PARTS), Field(discriminator="kind")]


class WeightedSum(Config):
    """Σ w·r."""

    kind: Literal["weighted_sum"] = "weighted_sum"


class PositiveOnly(Config):
    """Extras count only where the outcome is positive (LongTraceRL).

    Args:
        outcome: The part that opens the gate where its value is above 0.
        eta: r = (1 − eta)·outcome + eta·extras, 0.3 as released; null: outcome + extras.
        normalise: Divide extras by the greatest of the group, where that is above 0, as released.
    """

    kind: Literal["positive_only"] = "positive_only"
    outcome: str = "outcome"
    eta: Share | None = 0.3
    normalise: bool = True


class Multiplicative(Config):
    """outcome · Σ w·r of the others (RationaleRM). The outcome lies in [0, 1]."""

    kind: Literal["multiplicative"] = "multiplicative"
    outcome: str = "outcome"


class FailureOnly(Config):
    """outcome + beta·(Σ w·r of the others)·(1 − outcome) (SubSearch). The outcome lies in [0, 1].

    Args:
        outcome: The part that is the outcome.
        beta: 0.2 as released, 0.02 after decay.
    """

    kind: Literal["failure_only"] = "failure_only"
    outcome: str = "outcome"
    beta: NonNegative = 0.2


class RuleFirstElseModel(Config):
    """1 where the rule is above 0, else sigmoid(model) (BaseReward). An abstaining rule leaves it to the model."""

    kind: Literal["rule_first_else_model"] = "rule_first_else_model"
    rule: str = "outcome"
    model: str


class GroupZScore(Config):
    """Σ w·z, z over the group (BLEUBERI; two weights of 0.5 are its mean of two)."""

    kind: Literal["group_zscore"] = "group_zscore"
    eps: PositiveFloat = 1e-6


class LogSigmoidCentred(Config):
    """Σ w·log sigmoid(r − reference) ("Transforming and Combining Rewards").

    Args:
        references: Reference value by part, or `group`: a percentile of the group's own values.
        percentile: 85 as noted of a re-implementation.
    """

    kind: Literal["logsigmoid_centred"] = "logsigmoid_centred"
    references: dict[str, FiniteFloat] | Literal["group"] = "group"
    percentile: Annotated[float, Field(ge=0, le=100)] = 85.0


class SoftAnd(Config):
    """exp(mean log((s + delta)/(1 + delta))) over floors, times the weighted mean of the rest (SearchLLM).

    Args:
        floors: Parts in [0, 1] that must all hold.
        delta: Not published; ours.
    """

    kind: Literal["soft_and"] = "soft_and"
    floors: tuple[str, ...] = Field(min_length=1)
    delta: PositiveFloat = 0.1


class CritiqueBonus(Config):
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


def _rm_r1() -> dict[str, PartSection]:
    return {"outcome": OutcomePart()}


class RewardSection(Config):
    """Which parts make the reward and how. The default is RM-R1's: right +1, anything else −1."""

    parts: dict[str, PartSection] = Field(default_factory=_rm_r1, min_length=1)
    combine: CombineSection = Field(default_factory=WeightedSum)

    @property
    def code(self) -> dict[str, Path]:
        """The files of code that parts run which are none of ours, by the part's place in a config."""
        return {f"rewards.parts.{name}": part.code for name, part in self.parts.items() if part.code}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        combine = self.combine
        for key in ("outcome", "format", "rule", "model"):
            name = getattr(combine, key, None)
            if name is not None and name not in self.parts:
                raise ValueError(f"combine.{key} {name!r} is none of the parts: {', '.join(self.parts)}")
        named = getattr(combine, "floors", ()) or getattr(combine, "references", ())
        if unknown := [name for name in named if name not in self.parts and named != "group"]:
            raise ValueError(f"combine names {unknown[0]!r}, none of the parts: {', '.join(self.parts)}")
        match combine:
            case PositiveOnly() | Multiplicative() | FailureOnly() if len(self.parts) < 2:
                raise ValueError(f"combine.kind {combine.kind!r} needs a part beside {combine.outcome!r}")
            case CritiqueBonus() if combine.format == combine.outcome:
                raise ValueError(f"combine.format and combine.outcome are both {combine.outcome!r}")
            case LogSigmoidCentred() if combine.references != "group":
                if missing := [name for name in self.parts if name not in combine.references]:
                    raise ValueError(f"combine.references lacks {missing[0]!r}")
            case RuleFirstElseModel() if combine.rule == combine.model or len(self.parts) > 2:
                raise ValueError("rule_first_else_model takes exactly two parts, the rule and the model")
            case SoftAnd():
                rest = [part.weight for name, part in self.parts.items() if name not in combine.floors]
                if min(rest, default=0.0) < 0 or sum(rest) <= 0:
                    raise ValueError("soft_and needs parts beside the floors, with weights above 0")
            case _:
                pass
        return self._gates_in_range()

    def _gates_in_range(self) -> Self:
        """A gate of −1 would turn a penalty into a reward."""
        if isinstance(self.combine, Multiplicative | FailureOnly):
            gate = self.parts[self.combine.outcome]
            if isinstance(gate, OutcomePart) and (gate.bounds[0] < 0 or gate.bounds[1] > 1):
                raise ValueError(
                    f"combine.kind {self.combine.kind!r} needs an outcome in [0, 1]; "
                    f"set right, wrong and unparsed of {self.combine.outcome!r} to 1, 0, 0"
                )
        return self


class AdvantageSection(Config):
    """How rewards become advantages.

    Args:
        kind: `group` (GRPO: (r − group mean)/(group std + eps)), `mean_only` (Dr. GRPO: no division),
            `leave_one_out` (RLOO: r − mean of the others of the group), `batch` (TRL's: group mean, batch std), or
            `whitened` (StableReinforce: mean and population std of the whole batch).
        eps: Added to the standard deviation, 1e-4 as TRL. Unused by `mean_only` and `leave_one_out`.
        outlier_sigma: StableReinforce's filter: advantages whose z-score over the batch is beyond this many standard
            deviations become 0 (3 as noted of the paper); None: no filter.
    """

    kind: Literal["group", "mean_only", "leave_one_out", "batch", "whitened"] = "group"
    eps: NonNegative = 1e-4
    outlier_sigma: PositiveFloat | None = None
