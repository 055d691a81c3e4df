"""Reference critiques of judged rows: read, checked against what was judged, and joined to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from reasrm.errors import InputError, RowError
from reasrm.hashing import joined_digest
from reasrm.judging.critiques import Critiques, Written, first_row, refuse_columns
from reasrm.records import Comparison
from reasrm.sources import fields
from reasrm.tables import Columns, read_rows

__all__ = ["check_references", "reference_of", "reference_rows", "with_reference"]

_LOG = logging.getLogger("reasrm")


def _is_extracted(path: Path) -> bool:
    """Tell whether a file's first readable row is what `reasrm critiques extract` writes of a row."""
    first = first_row(path)
    return "arguments" in first and "prompt" not in first


def _extracted(path: Path) -> Iterator[Written]:
    """Yield each line of extracted core arguments, the responses of its comparison empty.

    Raises:
        RowError: A line is none. References are evidence: none is skipped.
    """
    for raw in read_rows(path):
        if raw.data is None:
            raise raw.error or RowError("is not a row", code="bad_json", place=raw.place)
        row_id = fields.text(raw.data, "id", raw.place)
        critique = fields.shared({"critique": {"arguments": raw.data.get("arguments")}}, raw.place)[
            "critique"
        ]
        shown = Comparison(id=row_id, prompt=(), response_a="", response_b="")
        yield Written(row_id, raw.place, raw.digest, shown, critique)


def reference_of(own: Mapping[str, Written], row: str) -> Comparison | None:
    """Return a row with its reference critique, in its own order."""
    found = own.get(row)
    return replace(found.comparison, critique=found.critique) if found and found.comparison else None


def reference_rows(path: Path, source: str, columns: Columns | None) -> dict[str, Written]:
    """Return the rows that have a reference critique, by id, in their own order.

    Raises:
        ConfigError: Columns are named, and the file has columns of its own.
        InputError: A row cannot be read (references are evidence: none is skipped), or not one has a critique.
    """
    if _is_extracted(path):
        refuse_columns(columns, path, "extracted arguments")
        return {item.id: item for item in _extracted(path)}
    rows: dict[str, Written] = {}
    for item in Critiques([path], source=source, columns=columns):
        if item.error is not None:
            raise item.error
        if item.comparison is not None and item.critique is not None:
            rows[item.id] = item
    if not rows:
        raise InputError(
            "no row has a reference critique", place=str(path), remedy="give rows with a field 'critique'"
        )
    return rows


def check_references(own: Mapping[str, Written], judged: Critiques, reference: Path) -> None:
    """Refuse references of other rows, and warn of those whose responses may stand the other way round.

    Raises:
        InputError: They name no judged row.
    """
    known = others = 0
    example = ""
    for item in judged:
        row = reference_of(own, item.judgment.row) if item.judgment else None
        if item.judgment is None or row is None:
            continue
        known += 1
        target = row.target.winner if row.target else None
        if target and item.judgment.label and target != item.judgment.label:
            others, example = others + 1, example or row.id
    if not known:
        raise InputError(
            "names no judged row", place=str(reference), remedy="give the rows that were judged, by id"
        )
    if others:
        _LOG.warning(
            "%s: %d of %d judgments are of rows with another label here, %r for instance; critiques are compared "
            "as if the responses stood in the order that was judged",
            *(reference, others, known, example),
        )


def with_reference(item: Written, own: Mapping[str, Written]) -> Written:
    """Return a judgment whose digest changes when its row's reference does, too."""
    reference = own.get(item.judgment.row) if item.judgment else None
    return item if reference is None else item._replace(digest=joined_digest(item.digest, reference.digest))
