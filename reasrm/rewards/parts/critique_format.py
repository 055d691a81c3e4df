"""The shape of a critique."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from reasrm.rewards.base import RewardPart, Rollout
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.reading import critique_of


class CritiqueFormatPart(RewardPart):
    """Critique and verdict are there, and the critique is short enough.

    formula: 1 if there is a critique within the limits and a readable verdict, else 0
    source: RM-NLHF, released code
    abstains: the policy wrote nothing

    Args:
        max_lines: Most lines of the critique, as released; null: no limit. Blank lines inside count, those around
            do not.
        max_characters: Most characters of it, as released; null: no limit.
    """

    kind: Literal["critique_format"] = "critique_format"
    max_lines: PositiveInt | None = 4
    max_characters: PositiveInt | None = 1500

    def value(self, rollout: Rollout) -> float | None:
        """Return 0 or 1."""
        if wrote_nothing(rollout):
            return None
        said = critique_of(rollout.judgment)
        return float(
            bool(said)
            and rollout.judgment.verdict is not None
            and (self.max_lines is None or len(said.splitlines()) <= self.max_lines)
            and (self.max_characters is None or len(said) <= self.max_characters)
        )
