"""The ledger: what became of every row and every answer, and what it cost, by source and reason.

Rows of all lines add up to the rows of the input, answers to all answers, tokens to the bill. A row counts once, under
`kept` or the last reason why nothing of it was; its answers count under their own reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from reasrm.durable.lookup import sorted_lines
from reasrm.durable.paths import refuse_inputs
from reasrm.errors import ConfigError
from reasrm.files import replacing
from reasrm.strictjson import dumps

__all__ = ["KEPT", "AnswerFiles", "Ledger", "WriteLine"]

KEPT = "kept"
WriteLine = Callable[[str, str, Mapping[str, Any]], None]
"""Takes a file's name among those that are written, a key, and a line."""


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """The folder of a procedure that asks, keeps some answers and counts all."""

    WRITTEN: ClassVar[tuple[str, ...]] = ()
    """Names of the files that it writes at its end."""

    folder: Path

    @property
    def rejected(self) -> Path:
        """Answers that are not kept, and rows without any, with `reason`."""
        return self.folder / "rejected.jsonl"

    @property
    def ledger(self) -> Path:
        """Rows, answers and tokens by source and reason."""
        return self.folder / "ledger.jsonl"

    @property
    def calls(self) -> Path:
        """Every answer as it came: the run's memory."""
        return self.folder / "calls.jsonl"

    def refuse_foreign(self) -> None:
        """Raise `ConfigError` if another command's result lies in the folder."""
        for whose, names in {
            "a training": ("manifest.json", "checkpoints"),
            "a curation": ("curation.json",),
        }.items():
            if all((self.folder / name).exists() for name in names):
                raise ConfigError(
                    f"the folder holds {whose}", place=str(self.folder), remedy="choose another output folder"
                )

    def refuse_inputs(self, inputs: Sequence[Path]) -> None:
        """Raise `ConfigError` if a file to be written is an input."""
        names = ("rejected", "ledger", *self.WRITTEN)
        refuse_inputs([self.folder / f"{name}.jsonl" for name in names], inputs, str(self.folder))

    @contextmanager
    def written(self, steps: Sequence[str], **paths: Path) -> Iterator[tuple[Ledger, WriteLine]]:
        """Lend the ledger, and what writes lines; all files appear when the block ends, none if it fails.

        Args:
            steps: Of the ledger.
            paths: Name that a file is written to by → where it is; its lines stand in the order of their keys.
        """
        ledger = Ledger(steps)
        with ExitStack() as stack:
            write = {name: stack.enter_context(sorted_lines(path)) for name, path in paths.items()}
            yield ledger, lambda name, key, line: write[name](key, dumps(line) + b"\n")
        with replacing(self.ledger) as stream:
            stream.writelines(dumps(line) + b"\n" for line in ledger.to_json())


@dataclass(slots=True)
class _Line:
    rows: int = 0
    answers: int = 0
    costs: dict[str, Counter[str]] = field(default_factory=dict)
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
        """Count an answer and its tokens: those that were counted, and in `uncounted` the answer if some were not."""
        self._line(source, reason).answers += 1
        self._add_call(source, reason, step, record)

    def add_failure(self, source: str, step: str) -> None:
        """Count a call that brought no answer."""
        self._add_call(source, "call_failed", step, {})

    def add_judgments(self, source: str, reason: str, step: str, calls: int, completion_tokens: int) -> None:
        """Count what a judge answered, as judged rows tell it."""
        self._add(source, reason, step, calls=calls, completion_tokens=completion_tokens)

    def _add_call(self, source: str, reason: str, step: str, record: Mapping[str, Any]) -> None:
        prompt, completion = record.get("num_prompt_tokens"), record.get("num_tokens")
        uncounted = prompt is None or completion is None
        tokens = {"prompt_tokens": prompt or 0, "completion_tokens": completion or 0}
        self._add(source, reason, step, calls=1, **tokens, uncounted=int(uncounted))

    def _add(self, source: str, reason: str, step: str, **numbers: int) -> None:
        self._line(source, reason).costs.setdefault(step, Counter()).update(numbers)

    def _line(self, source: str, reason: str) -> _Line:
        return self._lines.setdefault((source, reason), _Line())

    def to_json(self) -> Iterator[dict[str, Any]]:
        """Yield the lines by source and reason, `kept` first."""
        for source, reason in sorted(self._lines, key=lambda key: (key[0], key[1] != KEPT, key[1])):
            line = self._lines[source, reason]
            costs = {step: dict(line.costs[step]) for step in self._steps if step in line.costs}
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
