"""Critiques to be scored: of rows that carry one, or of what `reasrm judge` wrote together with the rows it judged.

A critique speaks of the order that its writer saw, and comes with the comparison in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from reasrm.errors import InputError, RowError
from reasrm.hashing import joined_digest
from reasrm.judged import is_judged, judgment_id, read_judgments
from reasrm.judging.inputs import JudgeInput
from reasrm.pipes import settled
from reasrm.records import Comparison, Critique, Order, Row, as_comparison
from reasrm.sources import fields
from reasrm.tables import Columns, RawRow, read_rows

__all__ = ["Critiqued", "Critiques", "critiques_of"]


@dataclass(frozen=True, slots=True)
class Critiqued:
    """One critique to score, or why there is none to be had.

    Args:
        id: Unique: the row's id, and for judgments order and vote behind it.
        row: The row's id.
        place: Where it stands.
        digest: Of its line, and of the pair's where that stands elsewhere.
        order: In which the writer saw the responses.
        vote: Which of several judgments it is from.
        comparison: As the writer saw it; None with an error.
        critique: The text; None where nothing was written.
        error: Why the row cannot be scored.
    """

    id: str
    row: str
    place: str
    digest: bytes
    order: Order = Order.AB
    vote: int = 0
    comparison: Comparison | None = None
    critique: str | None = None
    error: RowError | None = None

    @property
    def where(self) -> dict[str, Any]:
        """What its record says of it beside the id."""
        return {"row": self.row, "order": self.order.value, "vote": self.vote}


def critiques_of(
    inputs: Sequence[Path],
    pairs: Sequence[Path] = (),
    limit: int | None = None,
    columns: Columns | None = None,
) -> Critiques:
    """Return the critiques of some files.

    Args:
        inputs: Rows with critiques, or what `reasrm judge` wrote.
        pairs: In the latter case the rows that were judged.
        limit: Read at most this many rows.
        columns: Field → the column that holds it, of rows with critiques or of those that were judged.
    """
    files = [settled(path) for path in inputs]
    if pairs:
        return _Judged(files, [settled(path) for path in pairs], limit, columns)
    return _OwnCritiques(files, limit, columns)


class _OwnCritiques:
    """Rows that carry a critique; it speaks of the row's own order."""

    def __init__(self, inputs: Sequence[Path], limit: int | None, columns: Columns | None) -> None:
        self.paths, self.columns = tuple(inputs), dict(columns or {})
        self._rows = JudgeInput(inputs, limit=limit, columns=columns)

    def count(self) -> int:
        """Validate everything, and return how many critiques there are.

        Raises:
            InputError: Ids repeat, or nothing there is a critique.
        """
        for path in self.paths:
            first = next(iter(read_rows(path)), None)
            if first is not None and first.data is not None and is_judged(first.data):
                raise InputError(
                    "holds judgments, and not what was judged",
                    place=first.place,
                    remedy="pass the rows that were judged with --pairs",
                )
        found = self._rows.scan()
        if not found.num_critiques:
            raise InputError(
                f"none of {found.num_rows} rows carries a critique",
                place=str(self.paths[0]),
                remedy="give rows with a field critique, or judgments with --pairs",
            )
        total = found.num_rows + found.num_invalid
        return total if self._rows.limit is None else min(total, self._rows.limit)

    def __iter__(self) -> Iterator[Critiqued]:
        for item in self._rows:
            base = Critiqued(item.id, item.id, item.place, item.digest, error=item.error)
            if item.row is None:
                yield base
                continue
            try:
                pair = _as_comparison(item.row, item.place)
            except RowError as error:
                yield Critiqued(item.id, item.id, item.place, item.digest, error=error)
                continue
            text = None if pair.critique is None else _render(pair.critique)
            yield Critiqued(item.id, item.id, item.place, item.digest, comparison=pair, critique=text)


class _Judged:
    """What `reasrm judge` wrote, and the rows it was about."""

    def __init__(
        self, inputs: Sequence[Path], pairs: Sequence[Path], limit: int | None, columns: Columns | None
    ) -> None:
        self.paths, self.columns = (*inputs, *pairs), dict(columns or {})
        self._inputs, self._limit = tuple(inputs), limit
        self._pairs = JudgeInput(pairs, columns=columns)
        self._rows: dict[str, tuple[Comparison | RowError, bytes]] = {}

    def count(self) -> int:
        self._pairs.scan()
        for item in self._pairs:
            if item.row is not None:
                try:
                    self._rows[item.id] = _as_comparison(item.row, item.place), item.digest
                except RowError as error:
                    self._rows[item.id] = error, item.digest
        seen: dict[str, str] = {}
        critiques = 0
        for found in self:
            first = seen.setdefault(found.id, found.place)
            if first != found.place:
                raise InputError(
                    f"the judgment {found.id!r} stands at {first} too",
                    place=found.place,
                    remedy="give one file of judgments per output",
                )
            critiques += found.critique is not None
        if not critiques:
            raise InputError(
                "no judgment there holds a critique of a row of --pairs",
                place=str(self._inputs[0]),
                remedy="give what `reasrm judge` wrote, by a spec that marks critiques, and the rows that it judged",
            )
        return len(seen)

    def __iter__(self) -> Iterator[Critiqued]:
        raws = (raw for path in self._inputs for raw in read_rows(path))
        for raw in islice(raws, self._limit):
            try:
                yield from self._judgments(raw)
            except RowError as error:
                own = None if raw.data is None else raw.data.get("id")
                row_id = own if isinstance(own, str) else f"line:{raw.place}"
                yield Critiqued(row_id, row_id, raw.place, self._digest(raw, row_id), error=error)

    def _digest(self, raw: RawRow, row_id: str) -> bytes:
        """Return what changes when a judged row, or the pair that it is about, does."""
        known = self._rows.get(row_id)
        return raw.digest if known is None else joined_digest(raw.digest, known[1])

    def _judgments(self, raw: RawRow) -> Iterator[Critiqued]:
        if raw.data is None:
            raise raw.error or RowError("is not a row", code="bad_json", place=raw.place)
        if not is_judged(raw.data):
            raise RowError("holds no judgments", code="no_judgments", place=raw.place)
        row_id = fields.text(raw.data, "id", raw.place)
        pair, _ = self._rows.get(row_id, (None, b""))
        if pair is None:
            raise RowError(
                f"no row of --pairs has the id {row_id!r}",
                code="no_pair",
                place=raw.place,
                remedy="give all rows that were judged",
            )
        if isinstance(pair, RowError):
            raise pair
        digest = self._digest(raw, row_id)
        for said in read_judgments(raw.data, raw.place):
            yield Critiqued(
                judgment_id(row_id, said.order, said.vote),
                row_id,
                raw.place,
                digest,
                said.order,
                said.vote,
                said.order.seen(pair),
                said.critique or None,
            )


Critiques: TypeAlias = _OwnCritiques | _Judged
"""Critiques of some files: `count` validates everything; then each is yielded once."""


def _as_comparison(row: Row, place: str) -> Comparison:
    found = as_comparison(row)
    if found is not None:
        return found
    raise RowError(
        f"a {type(row).__name__} is no pair of responses",
        code="not_a_pair",
        place=place,
        remedy="give pairs or comparisons",
    )


def _render(critique: Critique) -> str | None:
    """Return a critique as text: its own, or one line for each of its arguments."""
    if critique.text and critique.text.strip():
        return critique.text
    lines = [f"{a.about} {a.stance}: {a.text}" for a in critique.arguments]
    return "\n".join(lines) or None
