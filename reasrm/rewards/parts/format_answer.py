"""The cold-start reward."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from reasrm.records import ParseStatus
from reasrm.rewards.base import RewardPart, Rollout
from reasrm.rewards.outcome import is_right
from reasrm.rewards.reading import after_last, has_tags


class Tagged(RewardPart):
    """Format and answer, 0 or 1 each and independent: a right verdict without the tags earns 1.

    Args:
        tags: Each stands exactly once, closed, not empty, in this order; `a|b` is exactly one of the two.
        after: Reading begins after the last of these literals.
    """

    tags: tuple[str, ...] = ()
    after: str = "</think>"

    @model_validator(mode="after")
    def _names(self) -> Self:
        for tag in self.tags:
            if not all(name.isidentifier() for name in tag.split("|")):
                raise ValueError(f"tag {tag!r} is no name; write it without brackets, alternatives as a|b")
        return self

    def value(self, rollout: Rollout) -> float | None:
        """Return 0, 1 or 2."""
        right = is_right(rollout)
        if right is None:
            return None
        judgment = rollout.judgment
        shape = has_tags(after_last(judgment, self.after), self.tags)
        return float(judgment.status is ParseStatus.OK and shape) + float(right)


class FormatAnswerPart(Tagged):
    """A verdict in the form that was asked for, and the right one: the cold-start reward.

    formula: format (0 or 1) + answer (0 or 1)
    source: RM-R1 App. I eq. 11. The paper does not spell the format out; here: a readable verdict and all `tags`
    abstains: no label
    """

    kind: Literal["format_answer"] = "format_answer"
