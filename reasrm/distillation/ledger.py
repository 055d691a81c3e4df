"""The ledger: what became of every row and every answer, and what it cost, by source and reason.

Rows of all lines add up to the rows of the input, answers to all answers of all teachers, tokens to the bill. A row
counts once, under `kept` or the last reason why none of its traces was; its answers count under their own reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasrm.distillation.slots import PASSES, Pass

__all__ = ["KEPT", "Ledger"]

KEPT = "kept"


@dataclass(slots=True)
class _Cost:
    """Calls of one pass. Tokens are those that were counted; `uncounted` says for how many answers they were not."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        prompt, completion = record.get("num_prompt_tokens"), record.get("num_tokens")
        self.calls += 1
        self.prompt_tokens += prompt or 0
        self.completion_tokens += completion or 0
        self.uncounted += prompt is None or completion is None

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _Cost.__slots__}


@dataclass(slots=True)
class _Line:
    rows: int = 0
    answers: int = 0
    costs: dict[Pass, _Cost] = field(default_factory=lambda: {name: _Cost() for name in PASSES})


class Ledger:
    """Counts by source and reason."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], _Line] = {}

    def add_row(self, source: str, reason: str) -> None:
        """Count a row of the input."""
        self._line(source, reason).rows += 1

    def add_answer(self, source: str, reason: str, record: Mapping[str, Any]) -> None:
        """Count an answer and its tokens."""
        line = self._line(source, reason)
        line.answers += 1
        line.costs[record["pass"]].add(record)

    def add_failure(self, source: str, name: Pass) -> None:
        """Count a call that brought no answer."""
        self._line(source, "call_failed").costs[name].add({})

    def _line(self, source: str, reason: str) -> _Line:
        return self._lines.setdefault((source, reason), _Line())

    def to_json(self) -> Iterator[dict[str, Any]]:
        """Yield the lines by source and reason, `kept` first."""
        for source, reason in sorted(self._lines, key=lambda key: (key[0], key[1] != KEPT, key[1])):
            line = self._lines[source, reason]
            costs = {str(name): cost.to_json() for name, cost in line.costs.items() if cost.calls}
            yield {"source": source, "reason": reason, "rows": line.rows, "answers": line.answers, **costs}

    def rows(self) -> dict[str, int]:
        """Return reason → rows, over all sources."""
        return self._sum(lambda line: line.rows)

    def answers(self) -> dict[str, int]:
        """Return reason → answers, over all sources."""
        return self._sum(lambda line: line.answers)

    def sources(self) -> dict[str, tuple[int, int]]:
        """Return source → rows kept and rows in all."""
        totals: dict[str, tuple[int, int]] = {}
        for (source, reason), line in sorted(self._lines.items()):
            kept, rows = totals.get(source, (0, 0))
            totals[source] = (kept + (line.rows if reason == KEPT else 0), rows + line.rows)
        return totals

    def _sum(self, count: Any) -> dict[str, int]:
        totals: dict[str, int] = {}
        for (_, reason), line in sorted(self._lines.items()):
            totals[reason] = totals.get(reason, 0) + count(line)
        return {reason: number for reason, number in totals.items() if number}
