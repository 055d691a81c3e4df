"""A file of sealed JSON lines: one `write` each, synced behind the writer's back, checked when read.

A sealed line is a JSON object whose last key is `crc32`: eight hex digits over the bytes of the line before
the comma in front of that key. Any changed byte, the newline included, shows.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from reasrm.errors import EnvironmentProblem, InputError, InternalError
from reasrm.jsonl import dumps

__all__ = ["AppendLog", "damaged", "read_records", "row_of", "seal", "unseal"]

SYNC_RECORDS = 64
SYNC_S = 1.0
_TAIL = len(b',"crc32":"00000000"}')


def seal(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line with its checksum, newline included.

    Raises:
        InternalError: The record is not strict JSON, or has a `crc32` of its own.
    """
    if "crc32" in record or not record:
        raise InternalError("a record must not be empty or have a key 'crc32'")
    body = dumps(record)[:-1]
    return b'%b,"crc32":"%08x"}\n' % (body, zlib.crc32(body))


def unseal(line: bytes) -> dict[str, Any] | None:
    """Return the record in a line (with its newline), checksum removed; None if the line is damaged."""
    body = line[: -_TAIL - 1]
    if line[-_TAIL - 1 :] != b',"crc32":"%08x"}\n' % zlib.crc32(body):
        return None
    try:
        record = orjson.loads(body + b"}")
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def row_of(record: Mapping[str, Any]) -> str:
    """Return the id of the row that a record is about. Calls and judgments of a row have names of their own."""
    return str(record.get("row") or record.get("pair") or record.get("id"))


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a finished or growing file, checksums removed. A torn last line is not there yet.

    Raises:
        InputError: A line is damaged.
    """
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            record = unseal(line)
            if record is None:
                raise damaged(path.name, number)
            yield record


def damaged(name: str, number: int) -> InputError:
    """Return the error for a line of a log that is not what was written."""
    return InputError(
        "the record is damaged or was edited (its crc32 does not fit)",
        place=f"{name}:{number}",
        remedy="run the command that wrote the file again; it repairs the file",
    )


class AppendLog:
    """The writing end of a log. `append` writes at once; a thread syncs every 64 records or every second.

    Args:
        path: The file; made if absent.

    Raises:
        EnvironmentProblem: From every method: the disk is full or fails, or the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._num_unsynced = 0
        self._closing = False
        self._sync_error: OSError | None = None
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._problem("opened", error) from error
        self._thread = threading.Thread(target=self._sync_forever, name=f"sync {path.name}", daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> None:
        """Write one line. When this fails, the file is as it was."""
        self._raise_sync_error()
        written = 0
        try:
            while written < len(line):  # a second round only tells why the first fell short
                written += os.write(self._descriptor, line[written:])
        except OSError as error:
            self._take_back(written)
            raise self._problem("written", error, len(line)) from error
        with self._changed:
            self._num_unsynced += 1
            if self._num_unsynced in (1, SYNC_RECORDS):
                self._changed.notify()

    def close(self) -> None:
        """Sync and close. Calling it twice is harmless."""
        if self._descriptor < 0:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        try:
            self._sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1
        self._raise_sync_error()

    def _take_back(self, written: int) -> None:
        """Cut the part of a line that got through. If even that fails, recovery will find it torn."""
        if written:
            with suppress(OSError):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)

    def _sync_forever(self) -> None:
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._num_unsynced or self._closing)
                self._changed.wait_for(lambda: self._num_unsynced >= SYNC_RECORDS or self._closing, SYNC_S)
            self._sync()

    def _sync(self) -> None:
        with self._changed:
            due, self._num_unsynced = self._num_unsynced, 0
        if due and self._sync_error is None:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._sync_error = error

    def _raise_sync_error(self) -> None:
        if self._sync_error is not None:
            raise self._problem("synced to disk", self._sync_error) from self._sync_error

    def _problem(self, verb: str, error: OSError, size: int = 0) -> EnvironmentProblem:
        needed = f" ({size} bytes needed)" if size else ""
        return EnvironmentProblem(
            f"cannot be {verb}{needed}: {error.strerror}",
            place=str(self.path),
            remedy="free the space or repair the disk and run the same command again; finished rows are kept",
        )
