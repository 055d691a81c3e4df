"""Reading what is to be judged: one pass that validates and counts, then a stream of rows with settled ids.

Rows with an id of their own must not repeat it. Rows without one are named by their content; equal rows get an
occurrence number (`…#1`), so that ids do not depend on what else is in the file. Memory stays at a few bytes a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reasrm.durable import DuplicateCheck, hash_id
from reasrm.errors import ConfigError, InputError, RowError
from reasrm.files import display_name
from reasrm.hashing import digest
from reasrm.judging.aggregate import label_of, rule_status
from reasrm.pipes import as_typed, settled
from reasrm.records import Row, RowStatus
from reasrm.sources import Source, read_file
from reasrm.sources.recorded import Recordings
from reasrm.sources.rubric_lines import Rubrics
from reasrm.tables import Columns, TruncatedInput, content_sha256, told_apart

__all__ = ["InputRow", "JudgeInput", "Scan"]

Dedupe = Literal["refuse", "first"]
_REPORT_EVERY = 500_000
_MAX_EXAMPLES = 10


class InputRow(NamedTuple):
    """One row ready to be judged, or the reason why it cannot be."""

    id: str
    place: str
    digest: bytes
    row: Row | None
    error: RowError | None

    @property
    def where(self) -> Mapping[str, Any]:
        """What its record says of it beside the id: nothing."""
        return {}


class _RawRow(NamedTuple):
    source: str | None
    id: str
    place: str
    digest: bytes
    row: Row | None
    error: RowError | None
    derived: bool


@dataclass(slots=True)
class Scan:
    """What the validating pass found.

    Args:
        source: The schema's name.
        num_rows: Rows that can be judged, after expansion (an RM-Bench item is nine).
        num_invalid: Input lines that cannot.
        invalid: Reason → lines.
        examples: First messages, at most ten.
        num_labelled: Rows with a label.
        num_identical: Rows whose responses are equal.
        num_degenerate: Rows with an empty response.
        sha256: Hash of each input file, in order.
        num_rubrics: Rows for which a given rubric file has a rubric.
        saw_labels: Rows whose rubric's author is known to have known their label, the first ten named.
        num_saw_labels: How many there are.
        repeated: Hashes of ids that occur more than once.
        recorded: What kinds of recorded answers the rows carry: `text`, `decision`, `score`.
        num_critiques: Rows with a reference critique.
        shown: Rows that a judge may be shown a `rubric` with, their own or a given one, or a `principle`.
        num_items: Rows and invalid lines that reading yields, repeats left out and the limit kept.
    """

    source: str = ""
    num_rows: int = 0
    num_invalid: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    num_labelled: int = 0
    num_identical: int = 0
    num_degenerate: int = 0
    sha256: list[str] = field(default_factory=list)
    num_rubrics: int = 0
    saw_labels: list[str] = field(default_factory=list)
    num_saw_labels: int = 0
    repeated: frozenset[int] = frozenset()
    recorded: set[str] = field(default_factory=set)
    num_critiques: int = 0
    shown: Counter[str] = field(default_factory=Counter)
    num_items: int = 0


class JudgeInput:
    """The input files of one run. What comes through a pipe is kept in a temporary file, to be read again.

    Args:
        paths: Files of rows, folders of shards, globs, or data sets of the Hub; pipes; `-` for standard input.
        source: A schema, its name, or `auto`.
        coerce_scalars: Read booleans and numbers as texts where a text is expected.
        dedupe: What to do with a repeated id: `refuse`, or keep the `first` where the content is equal.
        limit: Judge at most this many rows.
        rubrics: Rubrics by row id or request, overriding the rows' own where they have one.
        recordings: Recorded answers by row id, instead of the rows' own.
        columns: Field → the column, or path into one, that holds it.
        on_lines: Called during `scan`, now and then, with the lines validated so far.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        source: str | Source = "auto",
        coerce_scalars: bool = False,
        dedupe: Dedupe = "refuse",
        limit: int | None = None,
        rubrics: Rubrics | None = None,
        recordings: Mapping[str, Recordings] | None = None,
        columns: Columns | None = None,
        on_lines: Callable[[int], None] | None = None,
    ) -> None:
        if not paths:
            raise ConfigError("no input file", remedy="pass --input FILE")
        self.paths = tuple(map(settled, paths))
        self.limit = limit
        self._coerce_scalars = coerce_scalars
        self._dedupe = dedupe
        self._rubrics = rubrics
        self._recordings = recordings
        self._source = source
        self._columns = dict(columns or {})
        self._on_lines = on_lines
        self._repeated: frozenset[int] = frozenset()

    def with_rubrics(self, rubrics: Rubrics) -> JudgeInput:
        """Return the same input with other rubrics; it is to be scanned anew."""
        other = copy(self)
        other._rubrics = rubrics
        return other

    @property
    def identity(self) -> dict[str, Any]:
        """What besides the files' bytes decides how a row is judged.

        A limit may be raised, and coercion and deduplication only make rows usable that were not: a run continues.
        """
        rubrics = [] if self._rubrics is None else self._rubrics.identity
        recordings = sorted(
            (row_id, [(order.value, list(votes)) for order, votes in sorted(recorded.items())])
            for row_id, recorded in (self._recordings or {}).items()
        )
        return {
            "rubrics": digest(rubrics) if rubrics else None,
            "recordings": digest(recordings) if recordings else None,
            **({"columns": self._columns} if self._columns else {}),
        }

    def described(self, scan: Scan) -> list[dict[str, str]]:
        """Return path and SHA-256 of each file, as results name them."""
        return [
            {"path": as_typed(str(path)), "sha256": sha256}
            for path, sha256 in zip(self.paths, scan.sha256, strict=True)
        ]

    def scan(self) -> Scan:
        """Validate every row, count, and find repeated ids.

        Raises:
            InputError: Ids repeat (unless `dedupe="first"` and the content is equal), or no row is usable.
        """
        scan = Scan()
        check = DuplicateCheck()
        sources: dict[str, None] = {}
        for line, raw in enumerate(self._raw(), 1):
            if raw.source is not None:
                sources[raw.source] = None
            check.add(raw.id)
            if line % _REPORT_EVERY == 0 and self._on_lines is not None:
                self._on_lines(line)
            if raw.row is None:
                _count_invalid(scan, raw.error)
            else:
                self._count(scan, raw.row)
        scan.source = "+".join(sources)
        self._repeated = scan.repeated = frozenset(check.repeated_hashes())
        scan.sha256 = [content_sha256(path) for path in self.paths]
        num_lines = scan.num_rows + scan.num_invalid
        scan.num_items = num_lines if self.limit is None else min(num_lines, self.limit)
        if self._repeated:
            scan.num_items -= self._refuse_duplicates()
        if not scan.num_rows:
            if not scan.num_invalid:
                raise InputError("the file is empty", place=str(self.paths[0]))
            raise InputError(
                f"none of {scan.num_invalid} lines is a usable row, first: {scan.examples[0]}",
                place=str(self.paths[0]),
                remedy="see docs/data.md for the rows that are read; name columns with --columns field=column,…",
            )
        if self._rubrics is not None and not scan.num_rubrics:
            raise InputError(
                "no row has an id or a prompt that the rubrics name", remedy="check the ids of both files"
            )
        if self._recordings is not None and not scan.recorded:
            raise InputError(
                "no row has an id that the recordings name", remedy="check the ids of both files"
            )
        return scan

    def _count(self, scan: Scan, row: Row) -> None:
        scan.num_rows += 1
        scan.num_labelled += label_of(row) is not None
        status = rule_status(row)
        scan.num_critiques += row.critique is not None
        scan.num_identical += status is RowStatus.IDENTICAL
        scan.num_degenerate += status is RowStatus.DEGENERATE
        scan.num_rubrics += self._rubrics is not None and self._rubrics.find(row) is not None
        row = self._enrich(row)
        if row.rubric is not None and row.rubric.saw_label:
            scan.num_saw_labels += 1
            scan.saw_labels += [row.id] if len(scan.saw_labels) < _MAX_EXAMPLES else []
        scan.shown.update(name for name in ("rubric", "principle") if getattr(row, name) is not None)
        for votes in row.recorded.values():
            scan.recorded.update(answer.kind for answer in votes)

    def __iter__(self) -> Iterator[InputRow]:
        """Yield every row once. Call `scan` first: it finds the ids that repeat."""
        seen: Counter[str] = Counter()
        for raw in islice(self._raw(), self.limit):
            number = 0
            if self._repeated and hash_id(raw.id) in self._repeated:
                number = seen[raw.id]
                seen[raw.id] += 1
                if number and not raw.derived:
                    continue
            if raw.row is None:
                yield InputRow(raw.id, raw.place, raw.digest, None, raw.error)
                continue
            row = replace(raw.row, id=f"{raw.id}#{number}") if number else raw.row
            yield InputRow(row.id, raw.place, raw.digest, self._enrich(row), None)

    def contents(self) -> Iterator[tuple[str, str]]:
        """Yield id and digest (hex) of every row and invalid line, to be compared with what was recorded."""
        for item in self:
            yield item.id, item.digest.hex()

    def _raw(self) -> Iterator[_RawRow]:
        """Yield every record or invalid line of every file. A cut-off file ends in an invalid line.

        Places name the file alone, or its folder too where two files have the same name.
        """
        for path, folder in told_apart(self.paths):
            items = read_file(path, self._source, columns=self._columns, coerce_scalars=self._coerce_scalars)
            try:
                for item in items:
                    place = folder + item.place
                    if item.error is not None:
                        own_id = item.id or f"line:{place}"
                        yield _RawRow(item.source, own_id, place, item.digest, None, item.error, False)
                    for row in item.rows:
                        yield _RawRow(item.source, row.id, place, item.digest, row, None, item.id_is_derived)
            except TruncatedInput as cut:
                error = RowError(
                    cut.message, code="truncated_input", place=cut.place or str(path), remedy=cut.remedy
                )
                place = f"{folder}{display_name(path)}:end"
                yield _RawRow(None, f"line:{place}", place, b"", None, error, False)

    def _enrich(self, row: Row) -> Row:
        """Join what other files say of a row. Given recordings replace the rows' own altogether: one judge, not two."""
        if self._rubrics is not None:
            row = self._rubrics.join(row)
        if self._recordings is not None:
            row = replace(row, recorded=self._recordings.get(row.id, {}))
        return row

    def _refuse_duplicates(self) -> int:
        """Look again at the rows whose ids repeat, this time with names and places; count those to be left out."""
        first: dict[str, tuple[str, bytes]] = {}
        clashes: list[str] = []
        num_clashes = num_left_out = 0
        for number, raw in enumerate(self._raw()):
            if raw.derived or hash_id(raw.id) not in self._repeated:
                self._refuse_numbered(raw)
                continue
            mine = (raw.place, raw.digest)
            earlier = first.setdefault(raw.id, mine)
            if earlier is mine:
                continue
            num_left_out += self.limit is None or number < self.limit
            same = earlier[1] == raw.digest
            if self._dedupe == "refuse" or not same:
                num_clashes += 1
                if num_clashes <= _MAX_EXAMPLES:
                    content = "same content" if same else "different content"
                    clashes.append(f"{raw.id!r} at {earlier[0]} and {raw.place} ({content})")
        if clashes:
            more = f"; and {num_clashes - len(clashes)} more" if num_clashes > len(clashes) else ""
            raise InputError(
                f"ids repeat: {'; '.join(clashes)}{more}",
                place=str(self.paths[0]),
                remedy="make ids unique, or pass --dedupe first where the content is the same",
            )
        return num_left_out

    def _refuse_numbered(self, raw: _RawRow) -> None:
        """Refuse an id that a repeated row without one would get (`…#1`)."""
        base, mark, number = raw.id.rpartition("#")
        if mark and number.isdigit() and not raw.derived and hash_id(base) in self._repeated:
            raise InputError(
                f"the id {raw.id!r} is what a repeated row without an id is called",
                place=raw.place,
                remedy="give all rows ids of their own, or none",
            )


def _count_invalid(scan: Scan, error: RowError | None) -> None:
    scan.num_invalid += 1
    if error is not None:
        scan.invalid[error.code] += 1
        if len(scan.examples) < _MAX_EXAMPLES:
            scan.examples.append(str(error))
