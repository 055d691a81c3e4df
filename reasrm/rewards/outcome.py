"""Whether a verdict is right, which most rewards begin with."""

from __future__ import annotations

from reasrm.records import ParseStatus
from reasrm.rewards.base import Rollout

__all__ = ["is_right", "wrote_nothing"]

_NOTHING_WRITTEN = frozenset({ParseStatus.ERROR, ParseStatus.TOO_LONG})


def wrote_nothing(rollout: Rollout) -> bool:
    """Return whether the call failed or the prompt did not fit: nothing that the policy could have done better."""
    return rollout.judgment.status in _NOTHING_WRITTEN


def is_right(rollout: Rollout) -> bool | None:
    """Return whether the verdict names the target's winner. Unreadable is not right.

    None where there is no target, or the policy wrote nothing.
    """
    target, verdict = rollout.comparison.target, rollout.judgment.verdict
    if target is None or wrote_nothing(rollout):
        return None
    return verdict is not None and verdict.winner == target.winner
