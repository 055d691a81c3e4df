"""Whether a judge agrees with itself: reasoning with verdict (a referee says), and one order with the other.

Sources: R1-Reward (arXiv 2505.02835, released reward): R = 0.5·format + acc·(1 + 0.5·c), c ∈ {+1, 0, −1} from a
referee that sees the last three lines before the answer and the verdict. Deviations: the released answer checker gives
full marks when it throws; here an error of the referee abstains or counts as c = 0, and never as a success. The layout
of tags is configurable. Pair consistency is ours; "consistency" is the same underlying verdict in both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.records import Order, Winner
from reasrm.rewards.base import Part, Rollout, RowFault, Values, stop_if_dead
from reasrm.rewards.outcome import is_right, wrote_nothing
from reasrm.rewards.part_sections import ConsistencyLadderPart, PairConsistencyPart
from reasrm.rewards.reading import has_layout, whole_text

__all__ = ["ConsistencyReferee", "Opinion", "Question", "consistency_ladder", "pair_consistency"]

Opinion = Literal[-1, 0, 1] | None
"""+1 reasoning and verdict agree, −1 they do not, 0 the referee could not be read, None the referee failed."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a referee is asked: the end of the reasoning, and the verdict it led to.

    Args:
        id: Row, order and number of the rollout, unique in its batch.
        reasoning: The last lines before the answer.
        winner: The verdict, in the order shown.
    """

    id: str
    reasoning: str
    winner: Winner


class ConsistencyReferee(Protocol):
    """Says whether reasoning and verdict agree. It answers every question; None is an error of its own."""

    def __call__(self, questions: Sequence[Question], /) -> list[Opinion]:
        """Return one opinion per question, in their order."""
        ...


def consistency_ladder(section: ConsistencyLadderPart, referee: ConsistencyReferee) -> Part:
    """Return R1-Reward's ladder: right and consistent 1.5, right 1.0, right but inconsistent 0.5, plus 0.5·format.

    The referee is asked only about right verdicts, in one call, because c acts only where acc = 1. Without a target or
    a completion the row abstains. Ends the run where every call of a batch failed.
    """

    def part(rollouts: Sequence[Rollout]) -> Values:
        right = [index for index, rollout in enumerate(rollouts) if is_right(rollout)]
        opinions = _ask(referee, [_question(n, rollouts[n], section) for n in right], right)
        values: Values = []
        for index, rollout in enumerate(rollouts):
            shape = has_layout(whole_text(rollout.judgment), section.layout, prefilled=section.prefilled)
            earned = section.format_weight * shape
            if is_right(rollout) is None:
                values.append(None)
            elif index not in opinions:
                values.append(earned)
            else:
                opinion = opinions[index]
                if opinion is None and section.on_error == "abstain":
                    values.append(None)
                else:
                    values.append(earned + 1 + section.consistency_weight * (opinion or 0))
        return values

    return part


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


def _question(index: int, rollout: Rollout, section: ConsistencyLadderPart) -> Question:
    """Take the last lines with something on them before the last answer marker, a closing tag not counted."""
    comparison, verdict = rollout.comparison, rollout.judgment.verdict
    assert verdict is not None, "only right verdicts are asked about"  # noqa: S101
    before, marker, rest = rollout.judgment.text.rpartition(section.answer_marker)
    reasoning = (before if marker else rest).rstrip()
    for tag in section.layout:
        reasoning = reasoning.removesuffix(f"</{tag}>")
    lines = [line.strip() for line in reasoning.splitlines() if line.strip()]
    return Question(
        id=f"{comparison.id}/{comparison.order}/{index}",
        reasoning="\n".join(lines[-section.lines :]),
        winner=verdict.winner,
    )


def pair_consistency(section: PairConsistencyPart) -> Part:
    """Return the share of the other order's readable verdicts that name the same response as this rollout's.

    Both orders of a pair are found by `comparison.id` and `comparison.order`; verdicts are compared in the row's own
    order, ties included. An unreadable judgment earns 0. Where the batch holds no readable verdict of the other order,
    the row abstains or earns 0; where the policy wrote nothing it abstains.
    """

    def part(rollouts: Sequence[Rollout]) -> Values:
        said: dict[tuple[str, Order], list[Winner]] = {}
        for rollout in rollouts:
            winner = _underlying(rollout)
            if winner is not None:
                said.setdefault((rollout.comparison.id, rollout.comparison.order), []).append(winner)
        values: Values = []
        for rollout in rollouts:
            winner = _underlying(rollout)
            others = said.get((rollout.comparison.id, rollout.comparison.order.swap()), [])
            if wrote_nothing(rollout) or (not others and section.absent == "abstain"):
                values.append(None)
            else:
                values.append(0.0 if winner is None or not others else others.count(winner) / len(others))
        return values

    return part


def _underlying(rollout: Rollout) -> Winner | None:
    """Return the verdict's winner in the row's own order."""
    verdict = rollout.judgment.verdict
    return None if verdict is None else rollout.comparison.order.seen(verdict).winner
