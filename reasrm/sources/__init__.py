"""Foreign rows in, records out: one file of `sets` per public dataset, and one reader for all of them.

`read_file` is the way in. The source is named or recognised row by row, specific schemas before generic ones,
so that what a row becomes never depends on the rows around it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.records import Row
from reasrm.sources.base import RowIds, Source, SourceRow
from reasrm.sources.fields import RowData, row_id
from reasrm.sources.prompts import refuse_unread
from reasrm.sources.sets import SOURCES
from reasrm.tables import Columns, RawRow, RowLimits, check_fields, read_rows

__all__ = [
    "SOURCES",
    "RowIds",
    "Source",
    "SourceRow",
    "detect",
    "get",
    "read_file",
    "read_row",
]

_MAX_LOOKAHEAD = 100
_FIELDS = frozenset[str]().union(*(source.fields for source in SOURCES))


def get(name: str) -> Source:
    """Return the source of a name.

    Raises:
        ConfigError: There is none of that name; the message holds the nearest.
    """
    for source in SOURCES:
        if source.name == name:
            return source
    names = [source.name for source in SOURCES]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1, cutoff=0.5)
    known = f"known sources: auto, {', '.join(names)}"
    raise ConfigError(
        f"there is no source {name!r}", remedy=f"did you mean {near[0]!r}? {known}" if near else known
    )


def detect(row: RowData, place: str | None = None) -> Source:
    """Return the source that a row looks like.

    Raises:
        InputError: No source fits; the message holds the row's keys and says where the known sources are listed.
    """
    source = _first(row)
    if source is not None:
        return source
    raise InputError(
        f"no source recognises a row with the keys {', '.join(map(repr, list(row)[:20])) or '(none)'}",
        place=place,
        remedy="see what is read with reasrm data sources; name one with --source, its columns with --columns",
    )


def read_file(
    path: Path | str,
    source: str | Source = "auto",
    *,
    columns: Columns | None = None,
    coerce_scalars: bool = False,
    limits: RowLimits | None = None,
) -> Iterator[SourceRow]:
    """Yield every row of a file as records or as an error, in order, in near-constant memory.

    Args:
        path: What `tables.read_rows` reads.
        source: A source, its name, or `auto`.
        columns: Field → the column that holds it; by default those that the source was configured with.
        coerce_scalars: Read booleans and numbers in text fields as text.
        limits: Of rows and gzip files, as in `read_rows`.

    Raises:
        InputError: None of the first hundred rows is of a known source or has a column whose name was assumed or
            given.
        ConfigError: The source reads no such field.
    """
    if source == "auto":
        check_fields(columns or {}, _FIELDS, "a row")
        return _read_auto(read_rows(path, columns=columns, limits=limits), coerce_scalars)
    chosen = source if isinstance(source, Source) else get(source)
    if columns:
        chosen = chosen.configured({}, columns)
    raws = read_rows(path, columns=chosen.columns, limits=limits)
    items = _read_named(raws, chosen, coerce_scalars)
    return items if chosen.join is None else chosen.join(items)


def _read_named(raws: Iterator[RawRow], source: Source, coerce_scalars: bool) -> Iterator[SourceRow]:
    head = list(islice(raws, _MAX_LOOKAHEAD)) if source.assumed else []
    good = [raw for raw in head if raw.data is not None]
    if good:
        source.check_columns([raw.data or {} for raw in good], good[0].place)
    for raw in chain(head, raws):
        yield _read(raw, source, coerce_scalars)


def _read_auto(raws: Iterator[RawRow], coerce_scalars: bool) -> Iterator[SourceRow]:
    # A row that no source recognises is read as the file's first recognised source, to name what it lacks.
    head: list[RawRow] = []
    fallback = _look_ahead(raws, head)
    for raw in chain(head, raws):
        if raw.data is None:
            yield SourceRow(raw.line, raw.place, raw.digest, error=raw.error)
            continue
        source = _first(raw.data) or fallback or detect(raw.data, raw.place)
        yield _read(raw, source, coerce_scalars)


def _look_ahead(raws: Iterator[RawRow], head: list[RawRow]) -> Source | None:
    """Move rows to `head` up to the first that a source recognises, at most a hundred; return that source."""
    for raw in raws:
        head.append(raw)
        source = None if raw.data is None else _first(raw.data)
        if source is not None or len(head) == _MAX_LOOKAHEAD:
            return source
    return None


def _first(row: RowData) -> Source | None:
    for source in SOURCES:
        if source.recognises(row):
            return source
    return None


def read_row(row: RowData, place: str, source: Source) -> tuple[Row, ...]:
    """Return the records of one row.

    Raises:
        RowError: It cannot be read, or says what the source does not read.
    """
    rows = source.read(row, place)
    refuse_unread(row, place, [found.prompt for found in rows])
    return rows


def _own_id(row: RowData, source: Source) -> str | None:
    try:
        return row_id(row, source.id_keys, "")
    except RowError:
        return None


def _read(raw: RawRow, source: Source, coerce_scalars: bool) -> SourceRow:
    data = raw.data
    if data is None:
        return SourceRow(raw.line, raw.place, raw.digest, error=raw.error, source=source.name)
    if coerce_scalars:
        data = source.coerce_scalars(data)
    try:
        rows = read_row(data, raw.place, source)
    except RowError as error:
        own_id = _own_id(data, source)
        return SourceRow(raw.line, raw.place, raw.digest, error=error, source=source.name, id=own_id)
    return SourceRow(raw.line, raw.place, raw.digest, rows, None, source.derives_id(data), source.name)
