"""The readers of one open file that is no JSON: Parquet and Arrow in batches, CSV and TSV line by line.

Each yields every row's number, from 1, and the row or why it cannot be read. Memory is bounded by a batch of rows, or
by the longest row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import orjson

from reasrm.errors import InputError, RowError

__all__ = ["Rows", "TableError", "arrow_rows", "csv_rows", "kind_of_lines", "parquet_rows", "table_kind"]

Rows = Iterator[tuple[int, dict[str, Any] | RowError]]
_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20
_COLUMN_CHARS = 100
_MAGIC = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\xff\xff\xff\xff": "Arrow", b"FEA1": "Feather 1"}


class TableError(Exception):
    """The content of a table cannot be read any further."""


def table_kind(head: bytes) -> str | None:
    """Return which binary table begins with some bytes, if any."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def kind_of_lines(first: bytes, second: bytes) -> str | None:
    """Return `CSV` or `TSV` where a text without a telling name begins with a list of columns, else None.

    A row of JSON begins with a bracket, so neither line does. Columns are parted by tabs or commas; by semicolons or
    bars, too, for `csv_rows` to refuse them by name.
    """
    if not second.strip() or any(
        line.lstrip(b"\xef\xbb\xbf \t\r")[:1] in (b"{", b"[") for line in (first, second)
    ):
        return None
    for delimiter, kind in (("\t", "TSV"), (",", "CSV"), (";", "CSV"), ("|", "CSV")):
        try:
            text = first.decode("utf-8-sig").rstrip("\r\n")
            cells = next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            continue
        if 1 < len(cells) == len(set(cells)) and all(len(cell) <= _COLUMN_CHARS for cell in cells):
            return kind
    return None


def parquet_rows(stream: IO[bytes]) -> Rows:
    """Yield the rows of a Parquet file, a row group after the other, a few hundred rows at a time."""
    import pyarrow.parquet as pq

    def batches() -> Iterator[Any]:
        file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        yield from file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)

    return _arrow(batches)


def arrow_rows(stream: IO[bytes]) -> Rows:
    """Yield the rows of an Arrow file (Feather) or an Arrow stream, as `datasets` keeps its tables."""
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        if not is_file:
            yield from pa.ipc.open_stream(stream)
            return
        file = pa.ipc.open_file(stream)
        for n in range(file.num_record_batches):
            yield file.get_batch(n)

    return _arrow(batches)


def _arrow(batches: Callable[[], Iterator[Any]]) -> Rows:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches():
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                for row in batch.slice(start, _BATCH_ROWS).to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TableError(" ".join(str(error).split())[:200]) from error


def csv_rows(stream: IO[bytes], name: str, delimiter: str, max_bytes: int) -> Rows:
    """Yield the rows of a CSV or TSV file whose first line names the columns.

    An empty cell is an absent key. Cells are texts, but for those that `_cell` says.

    Raises:
        InputError: The first line is no list of columns.
    """
    # An undecodable byte becomes a lone surrogate, so that it spoils one row and not the file.
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(max_bytes)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(reader, name, delimiter)
    number = 0
    while True:
        number += 1
        place = f"{name}:row {number}"
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if not cells:  # a blank line
                number -= 1
                continue
            row = _named(header, cells, place)
        except csv.Error as error:
            yield number, _bad(f"cannot be read as CSV: {error}", "bad_csv", place)
            continue
        except RowError as error:
            yield number, error
            continue
        yield number, row


def _header(reader: Any, name: str, delimiter: str) -> list[str]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(f"the first line is no list of columns: {error}", place=name) from error
    if header is None:
        return []
    # A table's index that was written without a name keeps a name of its own.
    header = [column.strip() or f"unnamed_{n}" for n, column in enumerate(header)]
    if any("\udc80" <= c <= "\udcff" for column in header for c in column):
        raise InputError("the first line is not UTF-8", place=name, remedy="save the file as UTF-8")
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise InputError(
            f"two columns are called {repeated[0]!r}", place=name, remedy="give each column a name of its own"
        )
    other = next((mark for mark in ";\t|," if mark != delimiter and mark in header[0]), None)
    if len(header) == 1 and other is not None:
        raise InputError(
            f"the first line is one column, {header[0][:60]!r}",
            place=name,
            remedy=f"its columns seem to be parted by {other!r}: save it with {delimiter!r}"
            + (", or call it .tsv" if other == "\t" else ""),
        )
    return header


def _named(header: list[str], cells: list[str], place: str) -> dict[str, Any]:
    if len(cells) != len(header):
        raise _bad(f"has {len(cells)} cells, and there are {len(header)} columns", "bad_csv", place)
    if any("\udc80" <= c <= "\udcff" for cell in cells if not cell.isascii() for c in cell):
        raise _bad("is not UTF-8", "bad_utf8", place)
    return {column: _cell(column, cell) for column, cell in zip(header, cells, strict=True) if cell}


def _bad(message: str, code: str, place: str) -> RowError:
    return RowError(f"the row {message}", code=code, place=place, remedy="correct the row or leave it out")


_NUMBERS = re.compile(
    r"(^|_)(label|labels|score|scores|rating|ratings|rank|ranking|preference|strength|margin|num|idx|index|vote|turn|winner)"
    r"(_|$)"
)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LISTS = frozenset(
    {"responses", "meta", "rubric", "critique", "criteria", "provenance", "arguments", "judgments", "judge"}
)


def _cell(column: str, text: str) -> Any:
    """Return a cell: a text, but a number in columns such as `label`, and JSON in those that hold more than text.

    A list of messages is read as JSON in any column.
    """
    if text[0] in "[{":
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return value if column in _LISTS or _NUMBERS.search(column) or _is_messages(value) else text
    if _NUMBERS.search(column) and _NUMBER.fullmatch(text):
        return orjson.loads(text)
    return text


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, Mapping) and isinstance(item.get("role"), str) for item in value)
    )
