"""Running counts over output rows: what the progress bar shows and the summary reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasrm.metrics.intervals import wilson

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
        num_correct: Rows whose verdict is the label.
        num_labelled: Readable rows with a label.
        num_consistent: Rows with the same verdict in both orders.
        num_both_orders: Rows readable in both orders.
        num_first: Readable judgments that chose the response shown first.
        num_sided: Readable judgments that chose a side.
        num_tokens: Generated tokens, where counted.
        num_flagged: Rows with text that imitates control tokens or verdicts.
    """

    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    parses: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    resumed: int = 0
    num_correct: int = 0
    num_labelled: int = 0
    num_consistent: int = 0
    num_both_orders: int = 0
    num_first: int = 0
    num_sided: int = 0
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

    def add(self, line: Mapping[str, Any]) -> None:
        """Count one output row."""
        self.statuses[line["status"]] += 1
        self.num_flagged += "flagged" in line
        if line.get("correct") is not None:
            self.num_labelled += 1
            self.num_correct += bool(line["correct"])
        if len({judgment["order"] for judgment in line["judgments"] if judgment["status"] == "ok"}) == 2:
            self.num_both_orders += 1
            self.num_consistent += bool(line["consistent"])
        for judgment in line["judgments"]:
            self.parses[judgment["status"]] += 1
            self.num_tokens += judgment.get("num_tokens") or 0
            if judgment["verdict"] in ("A", "B"):
                self.num_sided += 1
                self.num_first += judgment["verdict"] == judgment["order"][0]

    def summary(self) -> dict[str, Any]:
        """Return the counts and rates for the last line of stdout. A rate over nothing is null."""
        return {
            "rows": self.rows,
            "errors": self.errors,
            "resumed": self.resumed,
            "coverage": self.coverage,
            "status": dict(sorted(self.statuses.items())),
            "parse_status": dict(sorted(self.parses.items())),
            "accuracy": wilson(self.num_correct, self.num_labelled).as_dict() if self.num_labelled else None,
            "consistency": wilson(self.num_consistent, self.num_both_orders).as_dict()
            if self.num_both_orders
            else None,
            "position_a_rate": wilson(self.num_first, self.num_sided).as_dict() if self.num_sided else None,
            "tokens": self.num_tokens,
            "flagged": self.num_flagged,
        }
