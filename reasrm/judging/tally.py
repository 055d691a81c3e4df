"""Running counts over output rows: what the progress bar shows and the summary reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasrm.judged import JudgedRow
from reasrm.metrics.intervals import clustered_mean, wilson
from reasrm.records import ParseStatus

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of rows and judgments written so far, earlier runs included.

    Args:
        total: Rows to judge in all.
        statuses: Row status → rows.
        parses: Parse status → judgments.
        errors: Rows in the error file.
        resumed: Rows that an earlier run had finished or given up.
        right: Whether a readable row with a label is right → rows that belong to no group.
        groups: The same of rows that belong together: how many are right, and how many there are, by group.
        num_consistent: Rows with the same verdict in both orders.
        num_both_orders: Rows readable in both orders.
        sided: Readable judgments of a row that chose the response shown first, and that chose a side → rows.
        num_tokens: Generated tokens, where counted.
        num_flagged: Rows with text that imitates control tokens or verdicts.
    """

    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    parses: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    resumed: int = 0
    right: Counter[bool] = field(default_factory=Counter)
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)
    num_consistent: int = 0
    num_both_orders: int = 0
    sided: Counter[tuple[int, int]] = field(default_factory=Counter)
    num_tokens: int = 0
    num_flagged: int = 0

    @property
    def rows(self) -> int:
        """Rows in the output."""
        return self.statuses.total()

    @property
    def num_unreadable(self) -> int:
        """Judgments that could not be read."""
        return self.parses.total() - self.parses["ok"]

    @property
    def coverage(self) -> float | None:
        """Share of rows whose judges could be read: (`ok` + `split`) / rows, errors counting as rows."""
        rows = self.rows + self.errors
        return (self.statuses["ok"] + self.statuses["split"]) / rows if rows else None

    def add(self, row: JudgedRow) -> None:
        """Count one output row."""
        self.statuses[row.status.value] += 1
        self.num_flagged += bool(row.flagged)
        if row.correct is not None and row.group is None:
            self.right[row.correct] += 1
        elif row.correct is not None and row.group is not None:
            right, rows = self.groups.get(row.group, (0, 0))
            self.groups[row.group] = right + row.correct, rows + 1
        if len({judgment.order for judgment in row.judgments if judgment.status is ParseStatus.OK}) == 2:
            self.num_both_orders += 1
            self.num_consistent += bool(row.consistent)
        first = sided = 0
        for judgment in row.judgments:
            self.parses[judgment.status.value] += 1
            self.num_tokens += judgment.num_tokens or 0
            if judgment.winner in ("A", "B"):
                sided += 1
                first += judgment.winner == judgment.order[0]
        if sided:
            self.sided[first, sided] += 1

    def headline(self) -> dict[str, Any]:
        """Return the numbers that come first, the same of `judge` and `eval`.

        Accuracy (null without labels) with its interval is over the `n` labelled rows with a verdict. Beside it stand
        the `splits`, rows whose two orders disagree, most of which have no verdict, and the coverage.
        """
        accuracy = self._accuracy() or {"value": None, "ci_low": None, "ci_high": None, "n": 0}
        return {
            "accuracy": accuracy["value"],
            **{name: accuracy[name] for name in ("ci_low", "ci_high", "n")},
            "splits": self.num_both_orders - self.num_consistent,
            "coverage": self.coverage,
        }

    def _accuracy(self) -> dict[str, Any] | None:
        credits = Counter({(int(right), 1): rows for right, rows in self.right.items()})
        credits.update(self.groups.values())
        return _share(credits)

    def summary(self) -> dict[str, Any]:
        """Return the counts and rates for the last line of stdout. A rate over nothing is null.

        Judgments of one row, and rows of one group, are no independent trials: intervals are over rows and groups.
        """
        return {
            "headline": self.headline(),
            "rows": self.rows,
            "errors": self.errors,
            "resumed": self.resumed,
            "coverage": self.coverage,
            "status": dict(sorted(self.statuses.items())),
            "parse_status": dict(sorted(self.parses.items())),
            "accuracy": self._accuracy(),
            "consistency": wilson(self.num_consistent, self.num_both_orders).as_dict()
            if self.num_both_orders
            else None,
            "position_a_rate": _share(self.sided),
            "tokens": self.num_tokens,
            "flagged": self.num_flagged,
        }


def _share(parts: Mapping[tuple[int, int], int]) -> dict[str, Any] | None:
    return clustered_mean(parts, 0).as_dict() if parts else None
