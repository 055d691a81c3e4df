"""What a config says about rewards and advantages: parts, how they combine, and how they are centred.

A part is chosen by its `kind` (a file of `rewards/parts`), named by its key, and weighted.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from reasrm.config import Config
from reasrm.rewards.base import NonNegative, RewardPart
from reasrm.rewards.combine import CombineSection, WeightedSum
from reasrm.rewards.parts import PARTS
from reasrm.rewards.parts.outcome import OutcomePart

__all__ = ["AdvantageSection", "PartSection", "RewardSection"]


if TYPE_CHECKING:
    PartSection = RewardPart
else:
    PartSection = Annotated[reduce(or_, PARTS), Field(discriminator="kind")]


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
        combine.check(self.parts)
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
