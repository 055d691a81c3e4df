"""An outcome that depends on length."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import FiniteFloat, PositiveInt, model_validator

from reasrm.rewards.base import RewardPart, Rollout
from reasrm.rewards.outcome import is_right


class CosineLengthPart(RewardPart):
    """An outcome that depends on length by a half cosine: use it instead of `outcome`.

    formula: r_L + ½(r_0 − r_L)(1 + cos(π·n/`max_tokens`)), with its own r_0 and r_L for right and for wrong verdicts
    source: "Demystifying Long Chain-of-Thought Reasoning" (arXiv 2502.03373); the end values are ours, on RM-R1's
        scale
    abstains: no label; the policy wrote nothing

    Args:
        max_tokens: Length at which the second value is reached.
        right: Values of a right verdict at length 0 and at `max_tokens`.
        wrong: Values of a wrong or unreadable verdict at length 0 and at `max_tokens`.
        exceeded: Value beyond `max_tokens`.
    """

    kind: Literal["cosine_length"] = "cosine_length"
    max_tokens: PositiveInt
    right: tuple[FiniteFloat, FiniteFloat] = (1.0, 0.5)
    wrong: tuple[FiniteFloat, FiniteFloat] = (-1.0, -0.5)
    exceeded: FiniteFloat = -1.0

    @model_validator(mode="after")
    def _right_is_best(self) -> Self:
        if any(wrong >= right for right, wrong in zip(self.right, self.wrong, strict=True)):
            raise ValueError(f"wrong {self.wrong} is not below right {self.right}; right must earn more")
        return self

    def value(self, rollout: Rollout) -> float | None:
        """Return the point on the cosine."""
        right = is_right(rollout)
        if right is None:
            return None
        if rollout.num_tokens > self.max_tokens:
            return self.exceeded
        first, last = self.right if right else self.wrong
        angle = math.pi * rollout.num_tokens / self.max_tokens
        return last + 0.5 * (first - last) * (1 + math.cos(angle))
