"""A price on length."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reasrm.rewards.base import NonNegative, RewardPart, Rollout


class LengthPart(RewardPart):
    """A price per token beyond a soft limit.

    formula: −min(`most`, `per_token`·max(0, n − `soft_limit`)), n generated tokens
    source: ours; Libra and HARMO use length penalties whose formulas are not known
    abstains: never

    Args:
        soft_limit: Tokens that cost nothing.
        per_token: Price of each further one.
        most: Greatest price.
    """

    kind: Literal["length"] = "length"
    soft_limit: Annotated[int, Field(ge=0)]
    per_token: NonNegative = 0.001
    most: NonNegative = 1.0

    def value(self, rollout: Rollout) -> float:
        """Return minus the price."""
        return -min(self.most, self.per_token * max(0, rollout.num_tokens - self.soft_limit))
