"""One reader for files of rows of every kind; JSON Lines is its simplest case and stays where it is.

The kind is told by a file's first bytes; CSV and TSV, which have none, by the name, or where that says nothing (of a
pipe, say) by the first two lines.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import IO

from reasrm import jsonl
from reasrm.compressed import DAMAGE, decompressing, is_damage
from reasrm.errors import EnvironmentProblem, InputError, ReasrmError, RowError
from reasrm.hashing import canonical_json
from reasrm.jsonl import MAX_RATIO, RawRow, RowLimits, TruncatedInput
from reasrm.tables.columns import Columns, Renamer
from reasrm.tables.formats import (
    Rows,
    TableError,
    arrow_rows,
    csv_rows,
    kind_of_lines,
    parquet_rows,
    table_kind,
)
from reasrm.tables.places import format_of, input_files, is_hub
from reasrm.tables.values import to_json, without_nulls

__all__ = ["read_rows"]

_FIRST_ROWS = 100
_SPOOL_BYTES = 64 * 2**20
_BLOCK = 1 << 20
_HEAD_BYTES = 1 << 16


def read_rows(
    path: str | os.PathLike[str], *, columns: Columns | None = None, limits: RowLimits | None = None
) -> Iterator[RawRow]:
    """Yield the rows of an input in order, bad ones with their error, under the fields that the columns name.

    A null is an absent key. Of several files, those after a cut-off one are read before that is raised. Error codes
    beside those of `jsonl.read_rows`: `bad_csv`, `binary`, `wrong_type`, `bad_path`.

    Args:
        path: A file (JSON Lines, JSON, Parquet, Arrow, CSV, TSV, each also compressed), a folder of shards, a glob, or
            `hf://owner/name[@revision][:config][/split]`.
        columns: Field → column or path.
        limits: Of rows and compressed files; by default what `set_limits` said.

    Raises:
        InputError: The input is missing or cannot be used as a whole, or lacks a column that was named.
        TruncatedInput: It ends too early; raised after its complete rows.
        EnvironmentProblem: It cannot be read.
    """
    renamer = Renamer(columns or {})
    raws = _raw_rows(path, renamer, limits or jsonl.limits_now())
    if not renamer:
        yield from raws
        return
    head = list(islice(raws, _FIRST_ROWS))
    good = [raw for raw in head if raw.data is not None]
    renamer.check([raw.data or {} for raw in good], good[0].place if good else str(path))
    for raw in chain(head, raws):
        if raw.data is not None:
            try:
                raw = raw._replace(data=renamer(raw.data, raw.place))
            except RowError as error:
                raw = raw._replace(data=None, error=error)
        yield raw


def _raw_rows(path: str | os.PathLike[str], renamer: Renamer, limits: RowLimits) -> Iterator[RawRow]:
    if is_hub(path):
        from reasrm.tables.hub import hub_rows

        yield from _checked(hub_rows(os.fspath(path)), os.fspath(path), renamer)
        return
    cut: TruncatedInput | None = None
    for name, file in input_files(path):
        try:
            yield from _of_file(file, name, renamer, limits)
        except TruncatedInput as error:
            cut = cut or error
    if cut is not None:
        raise cut


def _of_file(file: Path, name: str, renamer: Renamer, limits: RowLimits) -> Iterator[RawRow]:
    # A pipe can be read once only, so nobody looks ahead in it.
    is_table, kind = _kind(file, name) if _is_regular(file) else (False, None)
    if not is_table:
        for raw in jsonl.read_rows(file, name=name, limits=limits):
            yield raw if raw.data is None else raw._replace(data=without_nulls(raw.data))
        return
    try:
        with ExitStack() as stack:
            raw_file = stack.enter_context(io.BufferedReader(io.FileIO(file), _BLOCK))
            stream, packing = decompressing(raw_file)
            if kind in ("CSV", "TSV"):
                rows = csv_rows(stream, name, "," if kind == "CSV" else "\t", limits.row_bytes)
            else:
                if packing:
                    stream = stack.enter_context(_unpacked(stream, file, name, limits))
                rows = parquet_rows(stream) if kind == "Parquet" else arrow_rows(stream)
            yield from _checked(rows, name, renamer)
    except DAMAGE as error:
        if isinstance(error, ReasrmError):
            raise
        if not is_damage(error):
            raise EnvironmentProblem(f"cannot be read: {error}", place=name) from error
        raise TruncatedInput(
            f"the compressed data is cut or damaged ({error})", place=name, offset=None, num_rows=0
        ) from error


def _checked(rows: Rows, name: str, renamer: Renamer) -> Iterator[RawRow]:
    """Yield rows of typed columns as JSON has them; damage becomes `TruncatedInput`."""
    number = 0
    try:
        for number, row in rows:
            place = f"{name}:row {number}"
            data, error = None, None
            if isinstance(row, RowError):
                error = row
            else:
                try:
                    data = {
                        key: to_json(value, key, place)
                        for key, value in row.items()
                        if value is not None and key not in renamer.left_out
                    }
                except RowError as problem:
                    error = problem
            content = str(row).encode("utf-8", "replace") if data is None else canonical_json(data)
            yield RawRow(place, number, data, error, hashlib.blake2b(content, digest_size=8).digest())
    except TableError as damage:
        raise TruncatedInput(
            f"the table is cut or damaged ({damage})", place=name, offset=None, num_rows=number
        ) from damage
    except DAMAGE as damage:
        if isinstance(damage, ReasrmError) or not is_damage(damage):
            raise
        reason = f"the compressed data is cut or damaged ({damage})"
        raise TruncatedInput(reason, place=name, offset=None, num_rows=number) from damage


def _is_regular(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False  # said by the reader


def _kind(file: Path, name: str) -> tuple[bool, str | None]:
    """Return whether a file is a table, and which; refuse one that is not what its name says."""
    told = format_of(name)
    head = second = b""
    try:
        with io.BufferedReader(io.FileIO(file), 1 << 12) as raw:
            stream = decompressing(raw)[0]
            head = stream.readline(_HEAD_BYTES)
            second = stream.readline(_HEAD_BYTES) if told is None else b""
    except DAMAGE as error:
        if not is_damage(error):
            return False, None  # said by the reader
    kind = table_kind(head)
    if kind is None and told is None:
        told = kind_of_lines(head, second)
    if kind == "Feather 1":
        raise InputError(
            "is Feather of version 1, which Arrow gave up", place=name, remedy="write it as Parquet"
        )
    if kind is not None:
        return True, kind
    if told in ("Parquet", "Arrow"):
        pointer = " (a Git LFS pointer)" if head.startswith(b"version ") else ""
        raise InputError(
            f"does not begin as {told} does{pointer}", place=name, remedy="fetch the file again, whole"
        )
    return told in ("CSV", "TSV"), told


def _unpacked(stream: IO[bytes], file: Path, name: str, limits: RowLimits) -> IO[bytes]:
    """Return the content of a compressed table as a file that can be sought in, on disk where it is large."""
    spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    most = max(limits.unpacked_bytes, int(file.stat().st_size * MAX_RATIO))
    while block := stream.read(_BLOCK):
        spool.write(block)
        if spool.tell() > most:
            spool.close()
            raise InputError(
                f"expands to more than {most} bytes",
                place=name,
                remedy="if you trust it, decompress it yourself or pass --max-unpacked-bytes",
            )
    spool.seek(0)
    return spool
