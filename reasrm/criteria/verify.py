"""Whether a rubric earns its place: arithmetic over what a second judge said with it and without it.

`consistency` is OpenRubrics' filter (arXiv 2510.07743, eq. 1-3): of the ordered pairs that a request's responses
induce, at least τ come out right under the rubric, and this pair does. Ours: the judge is asked in both orders, and a
tie or an unreadable answer is not right. `gain` (ours): without the rubric the same judge was not right in both
orders.

An author's own word on its rubric has no place here, and who wrote a rubric should not verify it: the share that is
kept would say nothing. Beside that share belongs `kept_by_chance`, what a coin would have kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reasrm.errors import InternalError
from reasrm.records import Winner

__all__ = [
    "Answer",
    "Effect",
    "RejectionReason",
    "Require",
    "Verification",
    "answer",
    "effect",
    "kept_by_chance",
    "verify",
]

Answer: TypeAlias = bool | None
"""Whether one judgment came out as the label; None if it was unreadable. A tie is wrong where one side is better."""
Require = Literal["both", "majority", "one"]
"""How many of a pair's judgments must be right: all (both orders, every vote), more than half, or one."""
Effect = Literal["helpful", "neutral", "misleading"]
RejectionReason = Literal[
    "wrong_under_rubric", "split_under_rubric", "unreadable_under_rubric", "below_tau", "no_gain"
]


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of verifying one rubric on one pair.

    Args:
        reason: Why it is not kept; None if it is.
        right: Right answers under the rubric.
        asked: Answers under the rubric, unreadable ones included.
        effect: What the rubric did to the judge; None where nobody asked without it.
    """

    reason: RejectionReason | None
    right: int
    asked: int
    effect: Effect | None

    @property
    def kept(self) -> bool:
        """Whether the rubric is kept."""
        return self.reason is None


def answer(verdict: Winner | None, label: Winner) -> Answer:
    """Return whether a verdict, in the row's own terms, is the label; None for no verdict."""
    return None if verdict is None else verdict == label


def verify(
    under: Sequence[Answer],
    without: Sequence[Answer] = (),
    *,
    require: Require = "both",
    others: Sequence[Sequence[Answer]] = (),
    tau: float | None = None,
    gain: bool = False,
) -> Verification:
    """Return whether a rubric is kept for a pair, and if not the first `Reason` that holds.

    A pair that does not pass is `split` if some answers were right and some wrong, `wrong` if none was right and some
    wrong, else `unreadable`. A gain must be shown: it needs a readable answer without the rubric that is not right.

    Args:
        under: The judge's answers under the rubric, over orders and votes.
        without: The same judge's answers about the same pair without it.
        require: How many must be right.
        others: Answers under the same rubric about the other pairs that the request's responses induce.
        tau: The least share of all induced pairs, this one included, that must pass; None asks for none.
        gain: Whether the judge must have been in need of the rubric.

    Raises:
        InternalError: Nobody was asked under the rubric, or without it where a gain is demanded.
    """
    if not under or (gain and not without):
        raise InternalError("a rubric is verified by answers under it, a gain by answers without it, too")
    passed = _passes(under, require)
    share = (passed + sum(_passes(one, require) for one in others)) / (1 + len(others))
    reason: RejectionReason | None = None
    if not passed:
        reason = _failure(under)
    elif tau is not None and share < tau:
        reason = "below_tau"
    elif gain and not any(one is False for one in without):
        reason = "no_gain"
    return Verification(
        reason,
        sum(one is True for one in under),
        len(under),
        effect(under, without, require) if without else None,
    )


def effect(under: Sequence[Answer], without: Sequence[Answer], require: Require = "both") -> Effect:
    """Return what a rubric did to a judge: right only with it, right only without it, or neither."""
    change = _passes(under, require) - _passes(without, require)
    return "helpful" if change > 0 else "misleading" if change < 0 else "neutral"


def kept_by_chance(
    asked: int,
    *,
    require: Require = "both",
    others: int = 0,
    tau: float | None = None,
    without: int = 0,
    right: float = 0.5,
) -> float:
    """Return the probability that `verify` keeps a rubric if every answer is right by an independent coin.

    Args:
        asked: Answers about each pair under the rubric.
        require: As in `verify`.
        others: Other induced pairs.
        tau: As in `verify`.
        without: Answers without the rubric where a gain is demanded, else 0.
        right: The coin's probability of a right answer.
    """
    least = {"both": asked, "majority": asked // 2 + 1, "one": 1}[require]
    passes = _at_least(least, asked, right)
    pairs = 1 + others
    needed = 1 if tau is None else math.ceil(tau * pairs - 1e-9)
    keeps = passes * _at_least(needed - 1, others, passes)
    return keeps * (1 - right**without) if without else keeps


def _at_least(least: int, n: int, p: float) -> float:
    return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(max(least, 0), n + 1))


def _passes(answers: Sequence[Answer], require: Require) -> bool:
    right = sum(one is True for one in answers)
    match require:
        case "both":
            return right == len(answers)
        case "majority":
            return 2 * right > len(answers)
        case "one":
            return right > 0


def _failure(answers: Sequence[Answer]) -> RejectionReason:
    if not any(one is False for one in answers):
        return "unreadable_under_rubric"
    return "split_under_rubric" if any(answers) else "wrong_under_rubric"
