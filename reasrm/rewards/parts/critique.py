"""The judge's critique against a person's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reasrm.critiques.cases import CritiqueCase
from reasrm.rewards.base import ALONE, Helpers, Part, RewardPart, Rollout, Values, stop_if_dead
from reasrm.rewards.outcome import wrote_nothing


class CritiquePart(RewardPart):
    """How well the critique agrees with the row's reference critique.

    formula: 1 if the critique's score against the row's reference critique is at least `least`, else 0
    source: RM-NLHF (arXiv 2601.07349, released code): F1 over core arguments, cut at 0.5. RationaleRM (arXiv
        2602.04649): average precision as it is
    abstains: the row has no reference critique or none with a core argument; a call of a model extractor or matcher
        failed; the policy wrote nothing. No critique written is no reason: it scores 0

    How critiques are read and compared is said once, in the config's section `critique` (below); without it the
    part is refused. Compared are the judge's evaluation and the reference as the judge saw the pair: a reference is
    mapped to the order shown.

    Args:
        score: `f1`, `precision`, `recall`, `average_precision` or `soft_recall`.
        least: 1 for a score of at least this, else 0; null: the score itself.
    """

    asks: ClassVar[Literal["critique"]] = "critique"
    kind: Literal["critique"] = "critique"
    score: Literal["f1", "precision", "recall", "average_precision", "soft_recall"] = "f1"
    least: Annotated[float, Field(gt=0, le=1)] | None = 0.5

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return what asks the scorer; it ends the run where no score could be had because every call failed."""
        scorer = helpers.critique
        assert scorer is not None, "see asks"  # noqa: S101

        def part(rollouts: Sequence[Rollout]) -> Values:
            asked = [n for n, rollout in enumerate(rollouts) if not wrote_nothing(rollout)]
            cases = [CritiqueCase(rollouts[n].comparison, rollouts[n].judgment.critique) for n in asked]
            found = scorer(cases) if cases else []
            if len(found) != len(cases):
                raise ValueError(f"the scorer gave {len(found)} scores for {len(cases)} critiques")
            if cases and not any(found):
                stop_if_dead(scorer, "the critique scorer")
            values: Values = [None] * len(rollouts)
            for n, scores in zip(asked, found, strict=True):
                if scores is not None:
                    value: float = getattr(scores, self.score)
                    values[n] = value if self.least is None else float(value >= self.least)
            return values

        return part

    def owes(self, rollout: Rollout) -> bool:
        """Whether the row has a critique to compare with."""
        return rollout.comparison.critique is not None
