"""Whether the verdict is right: RM-R1's reward (arXiv 2505.02387 §2.3.2), +1 if the verdict equals the label, else −1.

The released script reads the last 80 characters and knows no third case, so an unreadable judgment earns −1 like a
wrong one. Deviations: the verdict is read by the one parser of `reasrm`; an unreadable judgment has a value of its own
(−1 as published unless configured); a failed call and a prompt that did not fit abstain, because the policy wrote
nothing; ties have explicit values; a comparison without a target abstains.
"""

from __future__ import annotations

from reasrm.records import ParseStatus
from reasrm.rewards.base import Part, Rollout, each_row
from reasrm.rewards.part_sections import OutcomePart

__all__ = ["is_right", "outcome", "wrote_nothing"]

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


def outcome(section: OutcomePart) -> Part:
    """Return the part that values right, wrong and unreadable verdicts."""

    def reward(rollout: Rollout) -> float | None:
        target, judgment = rollout.comparison.target, rollout.judgment
        if target is None or (target.winner == "tie" and section.gold_tie == "abstain"):
            return None
        if judgment.verdict is None:
            if judgment.status in section.statuses:
                return section.statuses[judgment.status]
            return None if wrote_nothing(rollout) else section.unparsed
        if judgment.verdict.winner == target.winner:
            return section.right
        if judgment.verdict.winner == "tie" and section.predicted_tie is not None:
            return section.predicted_tie
        return section.wrong

    return each_row(reward)
