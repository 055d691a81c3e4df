"""Right verdict, wrong critique: outcome and process apart.

Source: RM-NLHF, which counts right verdicts whose critique does not reach its F1 threshold (0.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reasrm.records import CoreArgument, Side

__all__ = ["favoured_side", "inconsistency"]


def inconsistency(
    right: Sequence[bool], f1: Sequence[float | None], *, threshold: float = 0.5
) -> float | None:
    """Return #(right and F1 < threshold) / #right, over verdicts whose critique has an F1.

    Args:
        right: Whether each verdict is right.
        f1: Each critique's F1; None where the row has no reference critique or no score could be had.
        threshold: The least F1 of a critique that counts as right.

    Returns:
        A share, or None if no right verdict has an F1.
    """
    of_right = [value for is_right, value in zip(right, f1, strict=True) if is_right and value is not None]
    return sum(value < threshold for value in of_right) / len(of_right) if of_right else None


def favoured_side(arguments: Iterable[CoreArgument]) -> Side | None:
    """Return the side that the arguments speak for, each counting one; None if they balance."""
    balance = sum(1 if (a.about == "A") is (a.stance == "for") else -1 for a in arguments)
    return None if not balance else "A" if balance > 0 else "B"
