"""Published subset scores, read back as the rows that must have produced them.

A leaderboard file often holds only an accuracy per subset. Where the number of rows is known and the accuracy is a
whole number of rows, the outcomes are known too, up to which row was which, and every metric can be recomputed with
its interval.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from reasrm.errors import InputError
from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.rewardbench import ROWS

__all__ = ["rewardbench_outcomes"]

_MAX_BYTES = 1_000_000


def rewardbench_outcomes(path: Path) -> list[RowOutcome] | None:
    """Read a JSON object of accuracy by RewardBench subset; None if the file is anything else.

    Raises:
        InputError: An accuracy is not a whole number of that subset's rows.
    """
    try:
        table = orjson.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(table, dict) or not ROWS.keys() <= table.keys():
        return None
    outcomes: list[RowOutcome] = []
    for subset, rows in ROWS.items():
        right = _whole(table[subset], rows, f"{path}: {subset}")
        outcomes += [
            RowOutcome(id=f"{subset}/{n}", target="A", verdict="A" if n < right else "B", subset=subset)
            for n in range(rows)
        ]
    return outcomes


def _whole(accuracy: object, rows: int, place: str) -> int:
    if not isinstance(accuracy, int | float) or isinstance(accuracy, bool):
        raise InputError(f"expected an accuracy, found {accuracy!r}", place=place)
    right = round(accuracy * rows)
    if not 0 <= right <= rows or abs(right / rows - accuracy) > 1e-9:
        raise InputError(f"{accuracy!r} is not a whole number of {rows} rows", place=place)
    return right
