"""Whom a reward asks whether a judge's reasoning and its verdict agree; `reasrm.scorers.referee` is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from reasrm.records import Winner

__all__ = ["ConsistencyReferee", "Opinion", "Question"]

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
