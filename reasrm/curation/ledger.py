"""What became of every row: counts that add up, and one line in `dropped.jsonl` for each row that is not kept."""

from __future__ import annotations

from collections import Counter
from typing import IO, Any

from reasrm.curation.store import RowStore
from reasrm.strictjson import dumps

__all__ = ["DropLedger"]


class DropLedger:
    """Counts drops by stage, reason and source, and writes them down as they happen.

    Args:
        dropped: Where the lines go.
    """

    def __init__(self, dropped: IO[bytes]) -> None:
        self._dropped = dropped
        self.num_read = 0
        self._stages: dict[str, Counter[str]] = {}
        self._by_source: dict[str, Counter[str]] = {}

    def begin(self, stage: str) -> None:
        """Note that a stage runs, even if it should drop nothing."""
        self._stages.setdefault(stage, Counter())

    def drop(
        self, stage: str, reason: str, *, row_id: str | None, place: str, source: str | None, **details: Any
    ) -> None:
        """Drop a row that is not in the store."""
        self._stages.setdefault(stage, Counter())[reason] += 1
        self._by_source.setdefault(source or "unknown", Counter())[reason] += 1
        line = {"id": row_id, "place": place, "stage": stage, "reason": reason, **details}
        self._dropped.write(dumps(line) + b"\n")

    def drop_stored(self, stage: str, reason: str, store: RowStore, index: int, **details: Any) -> None:
        """Drop a row of the store."""
        row = store.get(index)
        store.alive[index] = False
        self.drop(
            stage,
            reason,
            row_id=row.data()["id"],
            place=row.place,
            source=store.source(index),
            **details,
        )

    @property
    def num_dropped(self) -> int:
        """All rows dropped so far."""
        return sum(reasons.total() for reasons in self._stages.values())

    def to_json(self, kept_by_source: Counter[str]) -> dict[str, Any]:
        """Return the ledger: per stage what came in and what stayed, per source what became of its rows.

        Args:
            kept_by_source: Source → rows that are left.
        """
        stages, left = [], self.num_read
        for stage, reasons in self._stages.items():
            stages.append(
                {
                    "stage": stage,
                    "rows": left,
                    "kept": left - reasons.total(),
                    "dropped": dict(sorted(reasons.items())),
                }
            )
            left -= reasons.total()
        names = sorted(self._by_source.keys() | kept_by_source.keys())
        return {
            "rows": self.num_read,
            "kept": left,
            "dropped": self.num_dropped,
            "stages": stages,
            "sources": [
                {
                    "source": name,
                    "kept": kept_by_source[name],
                    "dropped": dict(sorted(self._by_source.get(name, Counter()).items())),
                }
                for name in names
            ],
        }
