"""Whether the reasoning leads to the verdict, as a referee says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.rewards.base import (
    ALONE,
    Helpers,
    NonNegative,
    Part,
    RewardPart,
    Rollout,
    RowFault,
    Values,
    stop_if_dead,
)
from reasrm.rewards.consistency import ConsistencyReferee, Opinion, Question
from reasrm.rewards.outcome import is_right
from reasrm.rewards.reading import has_layout, whole_text


class ConsistencyLadderPart(RewardPart):
    """Format, the right verdict, and reasoning that agrees with it.

    formula: `format_weight`·format + acc·(1 + `consistency_weight`·c); c = +1, −1, or 0 where the referee could not be
        read: right and consistent 1.5, right 1, right but inconsistent 0.5, each + 0.5 with the format
    source: R1-Reward (arXiv 2505.02835), released reward. The released checker gives full marks when it throws;
        here an error is never a success, and the layout can be chosen
    abstains: no label; the referee failed (`on_error: abstain`)

    The referee is asked about right verdicts only, for c acts nowhere else. It is any model that `judge` takes,
    named in the config's `referee` section; an unreadable reply is asked for again, three tries in all. A referee
    that raises instead of answering ends the run.

    Args:
        layout: The completion is exactly these tags, once each, in this order, with nothing between.
        prefilled: Whether the prompt may hold the first opening tag; not needed for a `<think>` of the chat template.
        format_weight: As released.
        consistency_weight: As released.
        lines: How many of the last lines before the answer the referee sees, beside the verdict in words; as released.
        answer_marker: Literal that opens the answer.
        on_error: A referee's error: `abstain`, or `zero` (c = 0: no bonus, no loss).
    """

    asks: ClassVar[Literal["referee"]] = "referee"
    kind: Literal["consistency_ladder"] = "consistency_ladder"
    layout: tuple[str, ...] = Field(default=("think", "answer"), min_length=1)
    prefilled: bool = False
    format_weight: NonNegative = 0.5
    consistency_weight: NonNegative = 0.5
    lines: PositiveInt = 3
    answer_marker: str = Field(default="<answer>", min_length=1)
    on_error: Literal["abstain", "zero"] = "abstain"

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return the ladder; it ends the run where every call of a batch failed."""
        referee = helpers.referee
        assert referee is not None, "see asks"  # noqa: S101

        def part(rollouts: Sequence[Rollout]) -> Values:
            right = [index for index, rollout in enumerate(rollouts) if is_right(rollout)]
            opinions = _ask(referee, [self._question(n, rollouts[n]) for n in right], right)
            values: Values = []
            for index, rollout in enumerate(rollouts):
                shape = has_layout(whole_text(rollout.judgment), self.layout, prefilled=self.prefilled)
                earned = self.format_weight * shape
                if is_right(rollout) is None:
                    values.append(None)
                elif index not in opinions:
                    values.append(earned)
                else:
                    opinion = opinions[index]
                    if opinion is None and self.on_error == "abstain":
                        values.append(None)
                    else:
                        values.append(earned + 1 + self.consistency_weight * (opinion or 0))
            return values

        return part

    def owes(self, rollout: Rollout) -> bool:
        """Whether the rollout can be right or wrong."""
        return is_right(rollout) is not None

    def _question(self, index: int, rollout: Rollout) -> Question:
        """Take the last lines with something on them before the last answer marker, a closing tag not counted."""
        comparison, verdict = rollout.comparison, rollout.judgment.verdict
        assert verdict is not None, "only right verdicts are asked about"  # noqa: S101
        before, marker, rest = rollout.judgment.text.rpartition(self.answer_marker)
        reasoning = (before if marker else rest).rstrip()
        for tag in self.layout:
            reasoning = reasoning.removesuffix(f"</{tag}>")
        lines = [line.strip() for line in reasoning.splitlines() if line.strip()]
        return Question(
            id=f"{comparison.id}/{comparison.order}/{index}",
            reasoning="\n".join(lines[-self.lines :]),
            winner=verdict.winner,
        )


def _ask(referee: ConsistencyReferee, questions: list[Question], rows: list[int]) -> dict[int, Opinion]:
    if not questions:
        return {}
    try:
        opinions = referee(questions)
    except (ConfigError, EnvironmentProblem):
        raise
    except Exception as error:
        raise RowFault(rows[0], f"the referee threw {type(error).__name__}: {error}") from error
    if len(opinions) != len(rows):
        raise RowFault(rows[0], f"the referee gave {len(opinions)} opinions on {len(rows)} questions")
    for row, opinion in zip(rows, opinions, strict=True):
        if opinion not in (-1, 0, 1, None):
            raise RowFault(row, f"the referee gave {opinion!r}, none of -1, 0, 1, None")
    if all(opinion is None for opinion in opinions):
        stop_if_dead(referee, "the referee")
    return dict(zip(rows, opinions, strict=True))
