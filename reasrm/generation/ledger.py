"""The ledger: what became of every row and every answer, and what it cost, by source and reason.

Rows of all lines add up to the rows of the input, answers to all answers, tokens to the bill. A row counts once, under
`kept` or the last reason why nothing of it was; its answers count under their own reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KEPT", "Ledger"]

KEPT = "kept"


@dataclass(slots=True)
class _Cost:
    """Calls of one step. Tokens are those that were counted; `uncounted` says for how many answers they were not."""

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
    costs: dict[str, _Cost] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Counts by source and reason.

    Args:
        steps: What answers are counted under, in the order in which a line names them.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = tuple(steps)
        self._lines: dict[tuple[str, str], _Line] = {}

    def add_row(self, source: str, reason: str, **counts: float) -> None:
        """Count a row of the input, and whatever else is counted of it."""
        line = self._line(source, reason)
        line.rows += 1
        for name, count in counts.items():
            line.counts[name] += count  # type: ignore[assignment]  # a Counter adds numbers of any kind

    def add_answer(self, source: str, reason: str, step: str, record: Mapping[str, Any]) -> None:
        """Count an answer and its tokens."""
        line = self._line(source, reason)
        line.answers += 1
        line.costs.setdefault(step, _Cost()).add(record)

    def add_failure(self, source: str, step: str) -> None:
        """Count a call that brought no answer."""
        self._line(source, "call_failed").costs.setdefault(step, _Cost()).add({})

    def _line(self, source: str, reason: str) -> _Line:
        return self._lines.setdefault((source, reason), _Line())

    def to_json(self) -> Iterator[dict[str, Any]]:
        """Yield the lines by source and reason, `kept` first."""
        for source, reason in sorted(self._lines, key=lambda key: (key[0], key[1] != KEPT, key[1])):
            line = self._lines[source, reason]
            costs = {step: line.costs[step].to_json() for step in self._steps if step in line.costs}
            counts = {"rows": line.rows, "answers": line.answers, **line.counts}
            yield {"source": source, "reason": reason, **counts, **costs}

    def rows(self) -> dict[str, int]:
        """Return reason → rows, over all sources."""
        return self._sum(lambda line: line.rows)

    def answers(self) -> dict[str, int]:
        """Return reason → answers, over all sources."""
        return self._sum(lambda line: line.answers)

    def total(self, name: str) -> float:
        """Return the sum of what is counted of rows under a name."""
        return sum(line.counts[name] for line in self._lines.values())

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
