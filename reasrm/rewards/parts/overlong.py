"""DAPO's soft overlong punishment."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from reasrm.rewards.base import RewardPart, Rollout


class OverlongPart(RewardPart):
    """A price on the last tokens before the limit.

    formula: 0 up to `max_tokens` − `buffer_tokens`, then linear to −1 at `max_tokens`, and −1 beyond
    source: DAPO (arXiv 2503.14476) eq. 13
    abstains: never

    Args:
        max_tokens: Length that costs 1.
        buffer_tokens: How many tokens before it begin to cost.
    """

    kind: Literal["overlong"] = "overlong"
    max_tokens: PositiveInt
    buffer_tokens: PositiveInt

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.buffer_tokens > self.max_tokens:
            raise ValueError(f"buffer_tokens {self.buffer_tokens} is more than max_tokens {self.max_tokens}")
        return self

    def value(self, rollout: Rollout) -> float:
        """Return minus the price."""
        beyond = max(0, rollout.num_tokens - (self.max_tokens - self.buffer_tokens))
        return -min(1.0, beyond / self.buffer_tokens)
