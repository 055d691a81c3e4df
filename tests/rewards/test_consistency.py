"""The referee's ladder and agreement between the two orders of a pair."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reasrm.records import Order
from reasrm.rewards.base import Helpers, RewardProblem
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from reasrm.rewards.consistency import Opinion, Question
from reasrm.rewards.parts.consistency_ladder import ConsistencyLadderPart
from reasrm.rewards.parts.pair_consistency import PairConsistencyPart
from tests.rewards.rollouts import rollout

SHAPED = "<think>one\ntwo\n\nthree\nfour\n</think>\n<answer>[[A]]</answer>"


class Says:
    """A referee that says one thing and remembers what it was asked."""

    def __init__(self, opinion: Opinion) -> None:
        self.opinion = opinion
        self.asked: list[Question] = []

    def __call__(self, questions: Sequence[Question]) -> list[Opinion]:
        self.asked += questions
        return [self.opinion] * len(questions)


@pytest.mark.parametrize(
    ("opinion", "expected"),
    [
        (1, [2.0, 1.5, 0.5, 0.0, 0.5]),
        (0, [1.5, 1.0, 0.5, 0.0, 0.5]),
        (-1, [1.0, 0.5, 0.5, 0.0, 0.5]),
    ],
)
def test_the_ladder(opinion: Opinion, expected: list[float]) -> None:
    rows = [
        rollout("A", text=SHAPED),  # 0.5 + 1·(1 + 0.5c)
        rollout("A", text="no tags"),  # 1·(1 + 0.5c)
        rollout("B", text=SHAPED),
        rollout("B", text="no tags"),
        rollout(None, text=SHAPED),
    ]
    assert ConsistencyLadderPart().build(Helpers(referee=Says(opinion)))(rows) == expected


def test_an_error_of_the_referee_is_never_a_success() -> None:
    rows = [rollout("A", text=SHAPED), rollout("B", text=SHAPED)]
    assert ConsistencyLadderPart().build(Helpers(referee=Says(None)))(rows) == [None, 0.5]
    assert ConsistencyLadderPart(on_error="zero").build(Helpers(referee=Says(None)))(rows) == [1.5, 0.5]


def test_the_referee_sees_the_end_of_the_reasoning_of_right_verdicts_only() -> None:
    referee = Says(1)
    rows = [
        rollout("B", text=SHAPED),
        rollout("A", text=SHAPED, row_id="q"),
        rollout("B", target="B", text="only\nlines", order=Order.BA),
        rollout("A", target=None, text=SHAPED),
    ]
    assert ConsistencyLadderPart().build(Helpers(referee=referee))(rows) == [0.5, 2.0, 1.5, None]
    assert referee.asked == [
        Question("q/AB/1", "two\nthree\nfour", "A"),
        Question("r/BA/2", "only\nlines", "B"),
    ]


def test_nobody_is_asked_about_nothing() -> None:
    def refuse(questions: Sequence[Question]) -> list[Opinion]:
        raise AssertionError("asked")

    assert ConsistencyLadderPart().build(Helpers(referee=refuse))([rollout("B", text=SHAPED)]) == [0.5]


def broken(questions: Sequence[Question]) -> list[Opinion]:
    raise TimeoutError("no referee there")


def short(questions: Sequence[Question]) -> list[Opinion]:
    return []


def loud(questions: Sequence[Question]) -> list[Opinion]:
    return [7] * len(questions)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("referee", "message"),
    [
        (broken, "threw TimeoutError: no referee there"),
        (short, "gave 0 opinions on 1 questions"),
        (loud, "gave 7"),
    ],
    ids=["throws", "too few", "no opinion"],
)
def test_a_referee_that_breaks_its_contract_stops_the_run(referee, message: str) -> None:
    section = RewardSection.model_validate({"parts": {"ladder": {"kind": "consistency_ladder"}}})
    reward = build_reward(section, referee=referee)
    with pytest.raises(RewardProblem, match=message) as caught:
        reward([rollout("B"), rollout("A", row_id="q9")])
    assert (caught.value.part, caught.value.row_id, caught.value.order) == ("ladder", "q9", Order.AB)


def both(first: str, second: str, row_id: str = "r"):
    """Rollouts of both orders of a pair: letters as said in the order shown, `?` unreadable."""
    return [
        rollout(None if letter == "?" else letter, row_id=row_id, order=order, group=f"{row_id}{order}")  # type: ignore[arg-type]
        for order, letters in ((Order.AB, first), (Order.BA, second))
        for letter in letters
    ]


def test_pair_consistency_is_the_other_orders_share() -> None:
    # In the row's own order the first say A, A, B, ? and the second (B, B, A, ? as shown) say A, A, B.
    values = PairConsistencyPart().build()(both("AAB?", "BBA?"))
    assert values == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0.0, 2 / 3, 2 / 3, 1 / 3, 0.0])


def test_a_judge_of_position_earns_nothing() -> None:
    assert PairConsistencyPart().build()(both("AA", "AA")) == [0.0] * 4


def test_another_pair_is_no_other_order() -> None:
    rows = [*both("A", "", "p"), *both("", "B", "q")]
    assert PairConsistencyPart().build()(rows) == [None, None]
    assert PairConsistencyPart(absent="zero").build()(rows) == [0.0, 0.0]


def test_an_unreadable_other_order_is_no_evidence() -> None:
    assert PairConsistencyPart().build()(both("A?", "??")) == [None, None, 0.0, 0.0]
    assert PairConsistencyPart(absent="zero").build()(both("A?", "??")) == [0.0] * 4


def test_ties_agree_with_ties() -> None:
    rows = [rollout("tie"), rollout("tie", order=Order.BA)]
    assert PairConsistencyPart().build()(rows) == [1.0, 1.0]
