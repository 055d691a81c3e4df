"""Which rows of an input changed since they were recorded: what a refused resume tells its user."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reasrm.durable.index import IdIndex, hash_id, view
from reasrm.durable.log import row_of, unseal
from reasrm.printable import one_line

__all__ = ["RowChanges", "find_changes"]


@dataclass(frozen=True, slots=True)
class RowChanges:
    """How an input differs from what was recorded; ids are the first ten.

    Args:
        num_changed: Recorded rows whose content is another now.
        changed: Their ids.
        num_missing: Recorded rows that are no longer in the input.
        missing: Their ids.
        num_new: Rows without a record: added since, or not reached by the earlier run.
        new: Their ids.
    """

    num_changed: int
    changed: tuple[str, ...]
    num_missing: int
    missing: tuple[str, ...]
    num_new: int
    new: tuple[str, ...]

    def __str__(self) -> str:
        """Render as `3 rows differ (q7, q19, q20), 1 is missing (q2)`."""
        parts = []
        for count, ids, one, many in (
            (self.num_changed, self.changed, "row differs", "rows differ"),
            (self.num_missing, self.missing, "row is gone", "rows are gone"),
            (self.num_new, self.new, "row is new or was not finished", "rows are new or were not finished"),
        ):
            if count:
                more = ", …" if count > len(ids) else ""
                parts.append(f"{count} {one if count == 1 else many} ({', '.join(map(one_line, ids))}{more})")
        return ", ".join(parts) or "no row differs, only the file's bytes do"


def find_changes(output: Path, current: Iterable[tuple[str, str]]) -> RowChanges:
    """Compare the rows of an input with what a log recorded of them, at 24 bytes a row."""
    hashes, digests = array("Q"), array("Q")
    for row_id, digest in _recorded(output):
        hashes.append(hash_id(row_id))
        digests.append(_number(digest))
    values = view(digests)[np.argsort(view(hashes))]
    known, present = IdIndex(hashes), IdIndex()
    changed, missing, new = _Sample(), _Sample(), _Sample()
    for row_id, digest in current:
        present.add(row_id)
        place = known.find(row_id)
        if place is None:
            new.add(row_id)
        elif int(values[place]) != _number(digest):
            changed.add(row_id)
    for row_id, _ in _recorded(output):
        if present.add(row_id):  # once, though a row may have several records
            missing.add(row_id)
    return RowChanges(
        changed.count, tuple(changed.ids), missing.count, tuple(missing.ids), new.count, tuple(new.ids)
    )


class _Sample:
    """A count, and the first ten."""

    def __init__(self) -> None:
        self.count = 0
        self.ids: list[str] = []

    def add(self, row_id: str) -> None:
        self.count += 1
        if len(self.ids) < 10:
            self.ids.append(row_id)


def _number(digest: str) -> int:
    return int(digest or "0", 16)


def _recorded(output: Path) -> Iterator[tuple[str, str]]:
    """Ids and digests of the undamaged records, before any repair."""
    with suppress(FileNotFoundError), open(output, "rb") as stream:
        for line in stream:
            record = unseal(line)
            if record is not None:
                yield row_of(record), str(record.get("row_digest"))
