"""Whether a judge agrees with itself when the responses change places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reasrm.records import Order, Winner
from reasrm.rewards.base import ALONE, Helpers, Part, RewardPart, Rollout, Values
from reasrm.rewards.outcome import wrote_nothing


class PairConsistencyPart(RewardPart):
    """The same underlying verdict in both orders.

    formula: share of the other order's readable verdicts that name the same response; 0 if this one is unreadable
    source: ours; the consistency that evaluation reports, as a bonus
    abstains: see `absent`; the policy wrote nothing

    It needs both orders of a pair in one generation batch (`data.orders: both`), which it knows by the row's id;
    ties are compared like the rest. A judge that looks at the position only earns 0, one that always names the same
    response earns 1 whether that is right or not: gate it by the outcome.

    Args:
        absent: Where the batch holds no readable verdict of the other order: `abstain` or `zero`.
    """

    kind: Literal["pair_consistency"] = "pair_consistency"
    absent: Literal["abstain", "zero"] = "abstain"

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return what compares the rollouts of a batch."""
        return self._values

    def _values(self, rollouts: Sequence[Rollout]) -> Values:
        said: dict[tuple[str, Order], list[Winner]] = {}
        for rollout in rollouts:
            winner = _underlying(rollout)
            if winner is not None:
                said.setdefault((rollout.comparison.id, rollout.comparison.order), []).append(winner)
        values: Values = []
        for rollout in rollouts:
            winner = _underlying(rollout)
            others = said.get((rollout.comparison.id, rollout.comparison.order.swap()), [])
            if wrote_nothing(rollout) or (not others and self.absent == "abstain"):
                values.append(None)
            else:
                values.append(0.0 if winner is None or not others else others.count(winner) / len(others))
        return values


def _underlying(rollout: Rollout) -> Winner | None:
    """Return the verdict's winner in the row's own order."""
    verdict = rollout.judgment.verdict
    return None if verdict is None else rollout.comparison.order.seen(verdict).winner
