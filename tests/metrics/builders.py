"""Outcomes in one line: `pair("A", "B")` was said A in its own order and B in the other, row frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reasrm.metrics.outcomes import RowOutcome, majority
from reasrm.records import Order, ParseStatus, RowStatus, Winner

SAID: dict[str, Winner | None] = {"A": "A", "B": "B", "=": "tie", "?": None}
SWAP: dict[Winner | None, Winner | None] = {"A": "B", "B": "A", "tie": "tie", None: None}


def pair(
    first: str, second: str = "", *, target: Winner | None = "A", row_id: str = "r", **rest: Any
) -> RowOutcome:
    """Build a pairwise outcome.

    Args:
        first: Votes in the row's own order: `A`, `B`, `=` tie, `?` unreadable; "" if not asked.
        second: The same for the other order; verdicts speak of the row's own responses.
        target: The label.
        row_id: The id.
        rest: Further fields.
    """
    orders = {Order.AB: first, Order.BA: second}
    by_order = {order: tuple(SAID[c] for c in votes) for order, votes in orders.items() if votes}
    votes = [vote for part in by_order.values() for vote in part]
    reading = majority(votes)
    status = {"split": RowStatus.SPLIT, "unreadable": RowStatus.NO_VERDICT}.get(reading, RowStatus.OK)
    return RowOutcome(
        id=row_id,
        target=target,
        status=status,
        verdict=reading if reading in ("A", "B", "tie") else None,
        by_order=by_order,
        parses=tuple(ParseStatus.NO_VERDICT if vote is None else ParseStatus.OK for vote in votes),
        **rest,
    )


def swapped(row: RowOutcome) -> RowOutcome:
    """Return the same judging with the row's two responses exchanged."""
    return replace(
        row,
        target=SWAP[row.target],
        verdict=SWAP[row.verdict],
        by_order={o.swap(): tuple(SWAP[v] for v in votes) for o, votes in row.by_order.items()},
    )


def numbered(rows: Sequence[RowOutcome]) -> list[RowOutcome]:
    """Give every row its own id."""
    return [replace(row, id=f"r{n}") for n, row in enumerate(rows)]
