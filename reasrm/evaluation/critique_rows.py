"""Where written critiques stand in files: in rows of any schema, and in the judgments of judged rows.

A judged row is told by its `judgments`; any other row is read by its schema. The critique of a row calls the responses
A and B in the row's own order, that of a judgment in the order that its judge was shown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from reasrm.durable import DuplicateCheck, hash_id
from reasrm.errors import ConfigError, InputError, RowError
from reasrm.hashing import joined_digest
from reasrm.judged import judgment_id, read_judgments
from reasrm.judging.inputs import JudgeInput
from reasrm.protocol.grammar import Grammar
from reasrm.protocol.spec import load_spec
from reasrm.protocol.thinking import after_thinking
from reasrm.records import Comparison, Critique, Order, as_comparison
from reasrm.sources import fields
from reasrm.tables import Columns, RawRow, content_sha256, read_rows

_LOG = logging.getLogger("reasrm")
__all__ = [
    "FileScan",
    "Writer",
    "Written",
    "check_references",
    "is_judged",
    "reference_of",
    "reference_rows",
    "scan",
    "with_reference",
    "written",
]

_UNSUPPORTED = "that is not of a pair has no sides for a critique to speak of"


@dataclass(frozen=True, slots=True)
class Writer:
    """The judgment of a judged row in which a critique stands.

    Args:
        row: The row's id.
        order: The order shown.
        vote: Which sample.
        verdict: In the row's own order; None if unreadable.
        label: The row's.
        is_written: Whether the judge wrote anything.
        subset: The row's subset.
    """

    row: str
    order: Order
    vote: int
    verdict: str | None
    label: str | None
    is_written: bool
    subset: str | None

    @property
    def right(self) -> bool | None:
        """Whether the verdict is the label; None without a label."""
        return None if self.label is None else self.verdict == self.label

    @property
    def where(self) -> dict[str, Any]:
        """What an output line says of it."""
        return {"row": self.row, "order": self.order.value, "vote": self.vote}


class Written(NamedTuple):
    """One critique, a place where there is none, or the reason why a row cannot be read.

    Args:
        id: The row's id; of a judgment `ROW/ORDER/VOTE`.
        place: File and line.
        digest: Changes when the row does.
        comparison: As shown; of a judged row, whose responses are not in the file, with its id and order alone.
        critique: None if there is none.
        judgment: Whose critique it is; None if it is the row's.
        error: Why the row cannot be read.
    """

    id: str
    place: str
    digest: bytes
    comparison: Comparison | None = None
    critique: Critique | None = None
    judgment: Writer | None = None
    error: RowError | None = None

    @property
    def where(self) -> Mapping[str, Any]:
        """Which judgment of which row it is; nothing of a row's own critique."""
        return {} if self.judgment is None else self.judgment.where


@dataclass(slots=True)
class FileScan:
    """What a first pass over a file found.

    Args:
        num_rows: Lines that are rows.
        num_items: Critiques, rows without one, and lines in error.
        num_critiques: Critiques.
        num_without: Rows and judgments without one.
        num_judgments: Judgments, with and without one.
        num_invalid: Lines that cannot be read.
        sha256: Of the file.
    """

    num_rows: int = 0
    num_items: int = 0
    num_critiques: int = 0
    num_without: int = 0
    num_judgments: int = 0
    num_invalid: int = 0
    sha256: str = ""
    _ids: DuplicateCheck = field(default_factory=DuplicateCheck, repr=False)


def is_judged(path: Path) -> bool:
    """Tell whether a file's first readable row is what `reasrm judge` writes."""
    return "judgments" in (_first_row(path) or {})


def scan(path: Path, source: str, name: str, columns: Columns | None = None) -> FileScan:
    """Read a whole file once, count, and refuse it if ids repeat.

    Raises:
        InputError: Ids repeat, or there is not one critique.
    """
    found = FileScan(sha256=content_sha256(path))
    place = ""
    for item in written(path, source, name, columns):
        found.num_items += 1
        found.num_invalid += item.error is not None
        found.num_critiques += item.critique is not None
        found.num_judgments += item.judgment is not None
        found.num_without += item.error is None and item.critique is None
        found._ids.add(item.id)
        found.num_rows += item.place != place
        place = item.place
    repeated = found._ids.repeated_hashes()
    if repeated:
        items = written(path, source, name, columns)
        first = next(item for item in items if hash_id(item.id) in repeated)
        raise InputError(
            f"{len(repeated)} ids repeat, {first.id!r} for instance",
            place=first.place,
            remedy="make ids unique, or merge the rows",
        )
    if not found.num_critiques:
        raise InputError(
            f"not one of {found.num_items} rows or judgments has a critique in the field {name!r}",
            place=str(path),
            remedy="name the field that holds it with --field, 'text' for the whole text of a judgment",
        )
    return found


def written(path: Path, source: str, name: str, columns: Columns | None = None) -> Iterator[Written]:
    """Yield every critique of a file, and every row and judgment without one.

    Args:
        path: Rows of any kind.
        source: The schema of rows that are not judged, or `auto`.
        name: The field that holds the critique, of the row or of each judgment.
        columns: Field → the column that holds it, in rows that are not judged.

    Raises:
        ConfigError: Columns are named, and the rows are judged.
    """
    if not is_judged(path):
        own = {} if name == "critique" else {"critique": name}
        yield from _of_rows(path, source, {**own, **(columns or {})})
        return
    _refuse_columns(columns, path, "judged rows")
    yield from _of_judged(path, name)


def _refuse_columns(columns: Columns | None, path: Path, what: str) -> None:
    """Raise `ConfigError` if columns are named for a file of our own."""
    if columns:
        raise ConfigError(
            f"holds {what}, which have columns of their own", place=str(path), remedy="leave --columns out"
        )


def _is_extracted(path: Path) -> bool:
    """Tell whether a file's first readable row is what `reasrm critiques extract` writes of a row."""
    first = _first_row(path) or {}
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
        _refuse_columns(columns, path, "extracted arguments")
        return {item.id: item for item in _extracted(path)}
    rows: dict[str, Written] = {}
    for item in written(path, source, "critique", columns):
        if item.error is not None:
            raise item.error
        if item.comparison is not None and item.critique is not None:
            rows[item.id] = item
    if not rows:
        raise InputError(
            "no row has a reference critique", place=str(path), remedy="give rows with a field 'critique'"
        )
    return rows


def check_references(own: Mapping[str, Written], judged: Path, name: str, reference: Path) -> None:
    """Refuse references of other rows, and warn of those whose responses may stand the other way round.

    Raises:
        InputError: They name no judged row.
    """
    known = others = 0
    example = ""
    for item in written(judged, "auto", name):
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


def _of_judged(path: Path, name: str) -> Iterator[Written]:
    grammar = load_spec("mt-bench").grammar  # all mark thinking alike unless somebody says otherwise
    for raw in read_rows(path):
        try:
            if raw.data is None:
                raise raw.error or RowError("is not a row", code="bad_json", place=raw.place)
            yield from list(_judgments(raw.data, raw, name, grammar))
        except RowError as error:
            own = (raw.data or {}).get("id")
            row_id = own if isinstance(own, str) else f"line:{raw.place}"
            yield Written(row_id, raw.place, raw.digest, error=error)


def _judgments(row: Mapping[str, Any], raw: RawRow, name: str, grammar: Grammar) -> Iterator[Written]:
    place = raw.place
    row_id, subset = fields.text(row, "id", place), fields.optional_text(row, "subset", place)
    judgments = read_judgments(row, place)
    if not judgments:  # the row was settled without asking the judge
        yield Written(row_id, place, raw.digest)
    for judgment, item in zip(judgments, row["judgments"], strict=False):
        if judgment.response or judgment.shown or judgment.ranking or judgment.score is not None:
            raise RowError(f"a judgment {_UNSUPPORTED}", code="unsupported", place=place)
        said = fields.optional_text(item, name, place)
        # The critique that a grammar marks was read after the thinking already.
        if name != "critique":
            said = after_thinking(grammar, said or "", thinking_open=judgment.thinking_open)
        text = (said or "").strip()
        writer = Writer(
            row=row_id,
            order=judgment.order,
            vote=judgment.vote,
            verdict=judgment.winner,
            label=row.get("label"),
            is_written=bool(judgment.text) or said is not None,
            subset=subset,
        )
        shown = Comparison(id=row_id, prompt=(), response_a="", response_b="", order=judgment.order)
        own_id = judgment_id(row_id, judgment.order, judgment.vote)
        critique = Critique(text=text) if text else None
        yield Written(own_id, place, raw.digest, shown, critique, writer)


def _of_rows(path: Path, source: str, columns: Columns) -> Iterator[Written]:
    rows = JudgeInput([path], source=source, columns=columns)
    rows.scan()
    for item in rows:
        if item.row is None:
            yield Written(item.id, item.place, item.digest, error=item.error)
            continue
        own = as_comparison(item.row)
        if own is None and item.row.critique is not None:
            error = RowError(f"a row {_UNSUPPORTED}", code="unsupported", place=item.place)
            yield Written(item.id, item.place, item.digest, error=error)
            continue
        critique = item.row.critique
        has = critique is not None and (critique.arguments or (critique.text or "").strip())
        yield Written(item.id, item.place, item.digest, own, critique if has else None)


def _first_row(path: Path) -> Mapping[str, Any] | None:
    return next((raw.data for raw in read_rows(path) if raw.data is not None), None)
