"""What every report prints beside a score: coverage, consistency, position, agreement between orders, counts.

None of these needs a label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from reasrm.metrics.intervals import Estimate, bootstrap_ratio, bootstrap_table, wilson
from reasrm.metrics.outcomes import Reading, RowOutcome
from reasrm.records import Order, RowStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "common_counts",
    "common_metrics",
    "consistency",
    "coverage",
    "num_inconsistent",
    "order_kappa",
    "position_a_rate",
]

_READ = (RowStatus.OK, RowStatus.SPLIT)
_CODES: dict[Reading, int] = {"A": 0, "B": 1, "tie": 2, "split": 3}


def coverage(rows: Sequence[RowOutcome]) -> Estimate:
    """Return the share of rows with a readable judgment: (`ok` + `split`) / rows."""
    return wilson(sum(row.status in _READ for row in rows), len(rows))


def consistency(rows: Iterable[RowOutcome]) -> Estimate:
    """Return the share of rows with the same underlying verdict in both orders, ties included.

    Denominator: rows readable in both orders. Several votes in one order speak by their majority; an order
    whose votes are level has no verdict to agree with, so its row is inconsistent.
    """
    both = _both_orders(rows)
    return wilson(sum(_agree(pair) for pair in both), len(both))


def num_inconsistent(rows: Iterable[RowOutcome]) -> int:
    """Return how many rows, readable in both orders, have different verdicts in them."""
    return sum(not _agree(pair) for pair in _both_orders(rows))


def position_a_rate(rows: Iterable[RowOutcome], seed: int = 0) -> Estimate:
    """Return the share of readable judgments that chose the response shown first.

    Denominator: judgments that chose a side; ties and unreadable ones are left out. The interval resamples
    rows, as the judgments of one row depend on each other; `n` counts rows with at least one side chosen.
    """
    return bootstrap_ratio([_first_and_sided(row) for row in rows], seed)


def order_kappa(rows: Iterable[RowOutcome], seed: int = 0) -> Estimate:
    """Return Cohen's kappa between the verdicts of both orders, over rows readable in both.

    kappa = (agreement - chance) / (1 - chance), chance from each order's own verdict shares (Cohen 1960).
    Undefined if both orders always say one and the same thing. The interval resamples rows.
    """
    import numpy as np

    table = np.zeros((len(_CODES), len(_CODES)))
    for first, second in _both_orders(rows):
        table[_CODES[first], _CODES[second]] += 1
    return bootstrap_table(table, _kappa, seed)["kappa"]


def _kappa(table: NDArray[np.float64]) -> dict[str, float]:
    n = table.sum()
    agreement = float(table.trace() / n) if n else math.nan
    chance = float(table.sum(axis=0) @ table.sum(axis=1) / n**2) if n else math.nan
    return {"kappa": (agreement - chance) / (1 - chance) if chance < 1 else math.nan}


def _both_orders(rows: Iterable[RowOutcome]) -> list[tuple[Reading, Reading]]:
    games = ((row.game(Order.AB), row.game(Order.BA)) for row in rows)
    return [(a, b) for a, b in games if a in _CODES and b in _CODES]


def _agree(pair: tuple[Reading, Reading]) -> bool:
    return pair[0] == pair[1] != "split"


def _first_and_sided(row: RowOutcome) -> tuple[float, float]:
    sided = [(order, vote) for order, votes in row.by_order.items() for vote in votes if vote in ("A", "B")]
    return float(sum(vote == order.value[0] for order, vote in sided)), float(len(sided))


def common_metrics(rows: Sequence[RowOutcome], seed: int = 0) -> dict[str, Estimate]:
    """Return `coverage`, `consistency` and `position_a_rate`."""
    return {
        "coverage": coverage(rows),
        "consistency": consistency(rows),
        "position_a_rate": position_a_rate(rows, seed),
    }


def common_counts(rows: Sequence[RowOutcome]) -> dict[str, int]:
    """Return row and judgment counts: `status_*` of rows, `parse_*` of judgments, totals."""
    statuses = Counter(f"status_{row.status.value}" for row in rows)
    parses = Counter(f"parse_{parse.value}" for row in rows for parse in row.parses)
    return {
        "num_rows": len(rows),
        "num_labelled": sum(row.target is not None for row in rows),
        "num_judgments": parses.total(),
        "num_inconsistent": num_inconsistent(rows),
        **dict(sorted(statuses.items())),
        **dict(sorted(parses.items())),
    }
