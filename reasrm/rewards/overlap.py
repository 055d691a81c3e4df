"""Overlap of the judge's words with a reference text: what `bleu` and `rouge` share.

Source: BLEUBERI (released code), a cheap baseline for rewards on critiques. Deviation: the reference is one text, the
row's human critique or its reference answer, and a row without one abstains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reasrm.records import Order
from reasrm.rewards.base import Part, RewardPart, Rollout, each_row
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.reading import after_last

__all__ = ["OverlapPart"]


class OverlapPart(RewardPart):
    """Overlap of the judge's words with a reference text.

    Args:
        against: `critique` (the row's human critique) or `reference` (its reference answer).
        read: What of the judgment is compared: `critique` (its evaluation section; none written earns 0) or `text`
            (after thinking). BLEUBERI scores the whole answer: `read: text`, with `after: "<answer>"` where there
            is one.
        other_order: A critique in free text names the responses in the row's own order. Where the other order was
            shown: `abstain`, or `use` it all the same.
        after: With `read: text`, reading begins after the last of these literals.
    """

    against: Literal["critique", "reference"] = "critique"
    read: Literal["critique", "text"] = "critique"
    other_order: Literal["abstain", "use"] = "abstain"
    after: str = "</think>"

    def by(self, similarity: Callable[[str, str], float]) -> Part:
        """Return the part that compares what was said with what was expected."""

        def reward(rollout: Rollout) -> float | None:
            expected = self._reference(rollout)
            if not expected or wrote_nothing(rollout):
                return None
            judgment = rollout.judgment
            said = judgment.critique if self.read == "critique" else after_last(judgment, self.after)
            return float(similarity(said, expected)) if said and said.strip() else 0.0

        return each_row(reward)

    def _reference(self, rollout: Rollout) -> str | None:
        """Return the text to compare with.

        A critique in free text speaks of the row's own order and cannot be turned round; core arguments have no
        letter.
        """
        comparison = rollout.comparison
        if self.against == "reference":
            return comparison.reference
        critique = comparison.critique
        if critique is None:
            return None
        if critique.text is None:
            return "\n".join(argument.text for argument in critique.arguments)
        if comparison.order is Order.BA and self.other_order == "abstain":
            return None
        return critique.text
