"""Rollouts in one line: `rollout("A", target="A")` was said A where A is right, in the row's own order."""

from __future__ import annotations

from typing import Any

from reasrm.records import Comparison, Judgment, Message, Order, ParseStatus, Verdict, Winner
from reasrm.rewards.base import Rollout


def rollout(
    said: Winner | None = "A",
    *,
    target: Winner | None = "A",
    text: str = "",
    status: ParseStatus = ParseStatus.NO_VERDICT,
    group: str = "g",
    num_tokens: int = 10,
    evaluation: str | None = None,
    own_rubric: str | None = None,
    row_id: str = "r",
    order: Order = Order.AB,
    **row: Any,
) -> Rollout:
    """Build a rollout.

    Args:
        said: The verdict; None is unreadable, with `status`.
        target: The label; None for none.
        text: The completion.
        status: Of an unreadable judgment.
        group: Whose rollouts it is compared with.
        num_tokens: Its length.
        evaluation: The critique it wrote.
        own_rubric: The rubric it wrote.
        row_id: The pair.
        order: The order shown.
        row: Further fields of the comparison.
    """
    comparison = Comparison(
        id=row_id,
        prompt=(Message("user", "Which?"),),
        response_a="first",
        response_b="second",
        target=None if target is None else Verdict(target),
        order=order,
        **row,
    )
    judgment = Judgment(
        status=status if said is None else ParseStatus.OK,
        verdict=None if said is None else Verdict(said),
        text=text,
        critique=evaluation,
        rubric=own_rubric,
        order=order,
    )
    return Rollout(comparison, judgment, group, num_tokens)
