"""Big files of text handled by small things in memory: sealed records looked up by id, lines written in order of keys.

Texts stay on disk. In memory a record costs 16 bytes, a line its key and two numbers.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np

from reasrm.durable import hash_id
from reasrm.durable.log import damaged, unseal
from reasrm.files import replacing

__all__ = ["RecordIndex", "open_records", "sorted_lines"]


class RecordIndex:
    """The records of a sealed log by id.

    Args:
        name: What messages call the log.
        stream: The log, open at its beginning; a torn last line is not there yet.

    Raises:
        InputError: A line is damaged.
    """

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        hashes, offsets = array("Q"), array("Q")
        end = 0
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                break
            record = unseal(line)
            if record is None:
                raise damaged(name, number)
            hashes.append(hash_id(str(record["id"])))
            offsets.append(end)
            end += len(line)
        order = np.argsort(np.array(hashes, np.uint64), kind="stable")
        self._hashes = array("Q", (hashes[n] for n in order))
        self._offsets = array("Q", (offsets[n] for n in order))
        self._stream = stream

    def __len__(self) -> int:
        return len(self._hashes)

    def get(self, record_id: str) -> dict[str, Any] | None:
        """Return a record, checksum removed, or None."""
        key = hash_id(record_id)
        place = bisect_left(self._hashes, key)
        while place < len(self._hashes) and self._hashes[place] == key:
            self._stream.seek(self._offsets[place])
            record = unseal(self._stream.readline())
            if record is not None and record["id"] == record_id:
                return record
            place += 1
        return None


@contextmanager
def open_records(path: Path) -> Iterator[RecordIndex]:
    """Open a sealed log for looking up records.

    Raises:
        InputError: A line is damaged.
    """
    with open(path, "rb") as stream:
        yield RecordIndex(path.name, stream)


@contextmanager
def sorted_lines(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Write lines under keys; the file holds them in order of their keys, equal keys in order of writing.

    It appears whole when the block ends, or not at all.

    Raises:
        EnvironmentProblem: The file cannot be written.
    """
    lines: list[tuple[str, int, int]] = []
    with replacing(path) as stream, tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent) as spool:

        def write(key: str, line: bytes) -> None:
            lines.append((key, spool.tell(), len(line)))
            spool.write(line)

        yield write
        for _, start, size in sorted(lines, key=itemgetter(0)):
            spool.seek(start)
            stream.write(spool.read(size))
