"""The verdict against the label: RM-R1's reward."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from reasrm.records import ParseStatus
from reasrm.rewards.base import RewardPart, Rollout
from reasrm.rewards.outcome import wrote_nothing


class OutcomePart(RewardPart):
    """Whether the verdict equals the label.

    formula: `right`, `wrong` or `unparsed`
    source: RM-R1 (arXiv 2505.02387) §2.3.2: +1 if the verdict is the label, else −1. The released script reads the
        last 80 characters, and tells unreadable and wrong not apart; here the one parser reads, and each has its
        own value
    abstains: no label; statuses `error` and `too_long` unless named (the policy wrote nothing)

    Args:
        right: Value of the right verdict.
        wrong: Value of the wrong verdict.
        unparsed: Value of a judgment without a readable verdict, as published that of a wrong one.
        predicted_tie: Value of a tie where the label is A or B; null: as wrong.
        gold_tie: Where the label is a tie: `score` (a tie is right, A and B are wrong) or `abstain`.
        statuses: Values by parse status, before `unparsed`; null abstains: `{truncated: -0.5}`.
    """

    kind: Literal["outcome"] = "outcome"
    right: FiniteFloat = 1.0
    wrong: FiniteFloat = -1.0
    unparsed: FiniteFloat = -1.0
    predicted_tie: FiniteFloat | None = None
    gold_tie: Literal["score", "abstain"] = "score"
    statuses: dict[ParseStatus, FiniteFloat | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _right_is_best(self) -> Self:
        if ParseStatus.OK in self.statuses:
            raise ValueError("statuses names 'ok', whose values are right, wrong and predicted_tie")
        others = {"wrong": self.wrong, "unparsed": self.unparsed, "predicted_tie": self.predicted_tie}
        others |= {f"statuses.{status.value}": value for status, value in self.statuses.items()}
        for name, value in others.items():
            if value is not None and value >= self.right:
                raise ValueError(f"{name} is {value:g}, and right {self.right:g}; right must earn more")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value it can give."""
        values = [self.right, self.wrong, self.unparsed, self.predicted_tie, *self.statuses.values()]
        known = [value for value in values if value is not None]
        return min(known), max(known)

    def value(self, rollout: Rollout) -> float | None:
        """Return what right, wrong and unreadable verdicts are worth."""
        target, judgment = rollout.comparison.target, rollout.judgment
        if target is None or (target.winner == "tie" and self.gold_tie == "abstain"):
            return None
        if judgment.verdict is None:
            if judgment.status in self.statuses:
                return self.statuses[judgment.status]
            return None if wrote_nothing(rollout) else self.unparsed
        if judgment.verdict.winner == target.winner:
            return self.right
        if judgment.verdict.winner == "tie" and self.predicted_tie is not None:
            return self.predicted_tie
        return self.wrong
