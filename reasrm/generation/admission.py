"""Quotas: which rows are asked about, and in which turn.

The rows of a source under a quota stand in a queue whose order is a hash of id and seed: as many as the quota asks are
admitted; when they are settled, as many again as are missing, until the quota is full or the queue empty. So no call is
spent on rows that the quota would throw away, and which rows are kept depends neither on the order of the file nor on
who answered first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reasrm.hashing import derive_seed
from reasrm.records import Row

__all__ = ["Admission", "source_of"]

T = TypeVar("T")


@dataclass(slots=True)
class _Queue(Generic[T]):
    """The rows of a source under a quota, in the order in which they are admitted."""

    quota: int
    waiting: list[tuple[int, str, T]] = field(default_factory=list)
    num_admitted: int = 0


class Admission(Generic[T]):
    """What is asked about, as far as it is decided.

    Args:
        quota: Source → most rows kept, or None for no limit.
        seed: Of the draw.

    Attributes:
        admitted: Id of a row admitted so far → what is known of it.
        sources: Source → rows that can be asked about.
    """

    def __init__(self, quota: Callable[[str], int | None], seed: int) -> None:
        self.admitted: dict[str, T] = {}
        self.sources: Counter[str] = Counter()
        self._quota, self._seed = quota, seed
        self._queues: dict[str, _Queue[T]] = {}

    def add(self, source: str, row_id: str, known: T) -> None:
        """Take up a row that can be asked about."""
        self.sources[source] += 1
        quota = self._quota(source)
        if quota is None:
            self.admitted[row_id] = known
            return
        queue = self._queues.setdefault(source, _Queue(quota))
        queue.waiting.append((derive_seed("quota", self._seed, row_id), row_id, known))

    def close(self) -> None:
        """Bring the queues into their order and admit the first rows."""
        for queue in self._queues.values():
            queue.waiting.sort(key=lambda entry: entry[:2])
        self.admit_more(lambda row_id, known: False)

    def admit_more(self, is_kept: Callable[[str, T], bool]) -> bool:
        """Admit as many rows of each source as are missing to its quota; return whether there were any.

        Args:
            is_kept: Whether an admitted row, settled by now, is kept.
        """
        before = len(self.admitted)
        for queue in self._queues.values():
            admitted = queue.waiting[: queue.num_admitted]
            missing = queue.quota - sum(is_kept(row_id, known) for _, row_id, known in admitted)
            for _, row_id, known in queue.waiting[queue.num_admitted :][: max(missing, 0)]:
                self.admitted[row_id] = known
                queue.num_admitted += 1
        return len(self.admitted) > before

    def waiting(self) -> Iterator[T]:
        """Yield what is known of the rows that may still be admitted."""
        for queue in self._queues.values():
            for _, _, known in queue.waiting[queue.num_admitted :]:
                yield known


def source_of(row: Row | None, group_by: str) -> str:
    """Return the source under which a row is counted: its `meta.source`, or its subset."""
    if row is None:
        return "(invalid)"
    value = row.meta.get("source") if group_by == "source" else row.subset
    return value if isinstance(value, str) and value else "(none)"
