"""What a source is: one public schema, how to recognise it, and how its rows become ours.

A source holds what a user must know before trusting it (address, licence, revision, the meaning of its
labels) beside two functions, `recognises` and `read`. Reading is total: a row becomes records or a
`RowError`.

Where a dataset leaves a decision to its user (which of two labels, which of several pairs), the source has an
option; its first value is the default, and a source is configured before it reads. Column names that could
not be confirmed against the owner's files are `assumed`: a file read by name is checked for them at its first
rows, other names can be given for them, and what is read says `schema: unverified`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.records import Row
from reasrm.sources.fields import OPTIONAL, SYSTEM, RowData
from reasrm.tables import check_fields, lacking_columns

__all__ = ["RowIds", "Source", "SourceRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A dataset's schema.

    Args:
        name: What `--source` says.
        url: Where the data or the description of the format lives.
        licence: As stated by its owner, and where.
        revision: The version that the reader was checked against.
        label_rule: What the labels mean, in one sentence.
        becomes: What its rows become.
        example: An invented row of this shape.
        recognises: Whether a row, by its keys, is of this shape.
        read: Turns a row into records; the second argument is the row's place, for errors.
        id_keys: Fields that identify a row, first match wins; a row without any gets an id from its content.
        text_keys: Fields that must be strings, for `coerce_scalars`.
        options: Option → value → what it changes of the source; the first value is the default.
        assumed: Columns whose names could not be confirmed; empty where they were.
        columns: Field → the column, or path into one, that holds it in this file, as the user says.
        join: Turns rows that are read alone into pairs with their neighbours.
        generic: How much else it fits: a source with more is tried after all those with less.
        exchange: Rewrites the text of a critique for exchanged responses; None where it cannot tell.
    """

    name: str
    url: str
    licence: str
    revision: str
    label_rule: str
    becomes: str
    example: RowData
    recognises: Callable[[RowData], bool]
    read: Callable[[RowData, str], tuple[Row, ...]]
    id_keys: tuple[str, ...] = ("id",)
    text_keys: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    join: Callable[[Iterable[SourceRow]], Iterator[SourceRow]] | None = None
    generic: int = 0
    exchange: Callable[[str], str | None] = lambda text: None

    @property
    def fields(self) -> frozenset[str]:
        """The fields that may be read of a row."""
        return OPTIONAL.union(self.example, self.id_keys, self.assumed, SYSTEM)

    @property
    def verified(self) -> bool:
        """Whether the column names were confirmed against the owner's files or description."""
        return not self.assumed and not self.columns

    def configured(self, options: Mapping[str, str], columns: Mapping[str, str]) -> Source:
        """Return the source with options chosen and columns named.

        Raises:
            ConfigError: There is no such option, value or field; the message holds those there are.
        """
        changes: dict[str, Any] = {}
        for name, value in options.items():
            if value not in self.options.get(name, {}):
                known = "; ".join(f"{key}={'|'.join(values)}" for key, values in self.options.items())
                raise ConfigError(
                    f"the source {self.name!r} has no option {name}={value}",
                    remedy=f"its options: {known}" if known else "it has no options",
                )
            changes |= self.options[name][value]
        check_fields(columns, self.fields, f"the source {self.name!r}")
        return replace(self, **changes, columns=dict(columns))

    def check_columns(self, rows: Sequence[RowData], place: str) -> None:
        """Raise `InputError` if none of a file's first rows has a column that is assumed."""
        lacking = [key for key in self.assumed if not any(key in row for row in rows)]
        if lacking and rows:
            raise lacking_columns(lacking, rows, place)

    def derives_id(self, row: RowData) -> bool:
        """Return whether the ids of this row's records come from its content."""
        return all(row.get(key) is None for key in self.id_keys)

    def coerce_scalars(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with booleans and numbers in text fields spelled as text (`True`, `3.5`)."""
        odd = {k: str(row[k]) for k in self.text_keys if isinstance(row.get(k), bool | int | float)}
        return {**row, **odd} if odd else row


class SourceRow(NamedTuple):
    """One line of a file, read.

    Args:
        line: Line number, from 1; in a JSON array, the item's number.
        place: `file:line`.
        digest: Hash of the line's bytes.
        rows: The records it became, none if it is in error.
        error: Why it could not be read.
        id_is_derived: Whether the ids of `rows` come from their content, so that equal content shares an id.
        source: Name of the source that read it.
        id: Of a row in error, the id it gives itself, if any.
    """

    line: int
    place: str
    digest: bytes
    rows: tuple[Row, ...] = ()
    error: RowError | None = None
    id_is_derived: bool = False
    source: str | None = None
    id: str | None = None


class RowIds:
    """Keeps ids unique in one run: numbers repeated derived ids, notes repeated explicit ones.

    The first row of a content keeps the bare id, the next get `#1`, `#2` …, so that removing or moving other
    rows changes no id. Memory grows with the number of rows: meant for imports, not for millions of rows.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._repeats: dict[str, int] = {}
        self.duplicates: list[tuple[str, str, str]] = []

    def admit(self, item: SourceRow) -> tuple[Row, ...]:
        """Return the item's records under unique ids; a repeated explicit id is noted in `duplicates`."""
        return tuple([self._admit(row, item) for row in item.rows])

    def _admit(self, row: Row, item: SourceRow) -> Row:
        first = self._places.setdefault(row.id, item.place)
        if first is item.place:  # identity, not equality: the same file given twice repeats its places
            return row
        if not item.id_is_derived:
            self.duplicates.append((row.id, first, item.place))
            return row
        self._repeats[row.id] = number = self._repeats.get(row.id, 0) + 1
        return replace(row, id=f"{row.id}#{number}")

    def check(self) -> None:
        """Raise `InputError` with the first ten pairs of places if an explicit id occurred twice."""
        if not self.duplicates:
            return
        shown = "; ".join(
            f"{row_id!r} at {first} and {place}" for row_id, first, place in self.duplicates[:10]
        )
        raise InputError(
            f"{len(self.duplicates)} rows repeat the id of an earlier row: {shown}",
            remedy="make the ids unique, or remove the field to have ids derived from the content",
        )
