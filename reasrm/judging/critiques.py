"""Where written critiques stand in files: in rows of any schema, and in the judgments of judged rows.

The critique of a row calls the responses A and B in the row's own order, that of a judgment in the order that its judge
was shown; it comes with the comparison in that order, whose texts are there if the rows that were judged are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from reasrm.durable import DuplicateCheck, hash_id
from reasrm.errors import ConfigError, InputError, RowError
from reasrm.hashing import joined_digest
from reasrm.judged import is_judged, judgment_id, read_judgments
from reasrm.judging.inputs import InputRow, JudgeInput
from reasrm.pipes import settled
from reasrm.protocol.spec import load_spec
from reasrm.protocol.thinking import after_thinking
from reasrm.records import Comparison, Critique, Judgment, Order, as_comparison
from reasrm.sources import fields
from reasrm.tables import Columns, RawRow, read_rows

__all__ = ["CritiqueScan", "Critiques", "Writer", "Written", "first_row", "no_pair", "refuse_columns"]


@dataclass(frozen=True, slots=True)
class Writer:
    """The judgment of a judged row in which a critique stands.

    Args:
        row: The row's id.
        order: The order shown.
        verdict: In the row's own order; None if unreadable.
        label: The row's.
        is_written: Whether the judge wrote anything.
        subset: The row's subset.
    """

    row: str
    order: Order
    verdict: str | None
    label: str | None
    is_written: bool
    subset: str | None

    @property
    def right(self) -> bool | None:
        """Whether the verdict is the label; None without a label."""
        return None if self.label is None else self.verdict == self.label


class Written(NamedTuple):
    """One critique, a place where there is none, or the reason why a row cannot be read.

    Args:
        id: The row's id; of a judgment `ROW/ORDER/VOTE`.
        place: File and line.
        digest: Changes when the row does, or what is known of it from elsewhere.
        comparison: As shown; of a judged row that is not given, with its id and order alone. None of a row that is no
            pair, and of one that was settled without asking the judge.
        critique: None if there is none.
        judgment: Whose critique it is; None if it is the row's.
        error: Why the row cannot be read.
        where: What an output line says of it beside the id: row, order and vote of a judgment, nothing of a row.
    """

    id: str
    place: str
    digest: bytes
    comparison: Comparison | None = None
    critique: Critique | None = None
    judgment: Writer | None = None
    error: RowError | None = None
    where: Mapping[str, Any] = MappingProxyType({})

    @property
    def row(self) -> str:
        """The id of the row that it stands in."""
        return self.id if self.judgment is None else self.judgment.row


@dataclass(slots=True)
class CritiqueScan:
    """What a first pass over the files found.

    Args:
        num_rows: Lines that are rows.
        num_items: Critiques, rows without one, and lines in error.
        num_critiques: Critiques.
        num_without: Rows and judgments without one.
        num_judgments: Judgments, with and without one.
        num_settled: Judged rows that were settled without asking the judge.
        num_invalid: Lines that cannot be read.
    """

    num_rows: int = 0
    num_items: int = 0
    num_critiques: int = 0
    num_without: int = 0
    num_judgments: int = 0
    num_settled: int = 0
    num_invalid: int = 0
    _ids: DuplicateCheck = field(default_factory=DuplicateCheck, repr=False)


class Critiques:
    """The critiques of some files, and every row and judgment without one; each time it is iterated, anew.

    Args:
        inputs: Rows of any kind, or what `reasrm judge` wrote.
        source: The schema of rows that are not judged, or `auto`.
        name: The field that holds the critique, of the row or of each judgment.
        columns: Field → the column that holds it, in rows that are not judged.
        pairs: The rows that were judged, so that comparisons have their texts.
        limit: Read at most this many rows.

    Raises:
        ConfigError: Columns are named, and there are judged rows alone.
    """

    def __init__(
        self,
        inputs: Sequence[Path],
        *,
        source: str = "auto",
        name: str = "critique",
        columns: Columns | None = None,
        pairs: Sequence[Path] = (),
        limit: int | None = None,
    ) -> None:
        self.inputs = tuple(settled(path) for path in inputs)
        self.pairs = tuple(settled(path) for path in pairs)
        self.columns = dict(columns or {})
        self.are_judged = bool(pairs) or any(is_judged(first_row(path)) for path in self.inputs)
        self._source, self._name, self._limit = source, name, limit
        self._known: dict[str, tuple[Comparison | RowError, bytes]] | None = None
        self._grammar = load_spec(
            "mt-bench"
        ).grammar  # all mark thinking alike unless somebody says otherwise
        own = {} if self.are_judged or name == "critique" else {"critique": name}
        given, most = (self.pairs, None) if self.are_judged else (self.inputs, limit)
        if self.are_judged and not pairs:
            refuse_columns(columns, self.inputs[0], "judged rows")
        self._rows = (
            JudgeInput(given, source=source, columns={**own, **self.columns}, limit=most) if given else None
        )
        self._is_read = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (*self.inputs, *self.pairs)

    @property
    def identity(self) -> dict[str, Any]:
        """What besides the files' bytes decides what is read."""
        columns = {"columns": self.columns} if self.columns else {}
        return {"source": self._source, "field": self._name, **columns}

    def scan(self) -> CritiqueScan:
        """Read everything once, count, and refuse it if ids repeat.

        Raises:
            InputError: Ids repeat, or there is not one critique.
        """
        found = CritiqueScan()
        place = ""
        for item in self:
            found.num_items += 1
            found.num_invalid += item.error is not None
            found.num_critiques += item.critique is not None
            found.num_judgments += item.judgment is not None
            found.num_without += item.error is None and item.critique is None
            found.num_settled += self.are_judged and item.error is None and item.judgment is None
            found._ids.add(item.id)
            found.num_rows += item.place != place
            place = item.place
        repeated = found._ids.repeated_hashes()
        if repeated:
            first = next(item for item in self if hash_id(item.id) in repeated)
            raise InputError(
                f"{len(repeated)} ids repeat, {first.id!r} for instance",
                place=first.place,
                remedy="make ids unique, or merge the rows",
            )
        if not found.num_critiques:
            raise InputError(
                f"none of {found.num_items} rows or judgments carries a critique in the field {self._name!r}",
                place=str(self.inputs[0]),
                remedy="give rows with critiques, or judgments by a spec that marks them; critiques extract and score "
                "take the field's name with --field, 'text' for the whole text of a judgment",
            )
        return found

    def __iter__(self) -> Iterator[Written]:
        if self._rows is not None and not self._is_read:
            self._rows.scan()
            self._is_read = True
            if self.are_judged:
                rows = (item for item in self._rows if item.row is not None)
                self._known = {item.id: (_pair_of(item), item.digest) for item in rows}
        if self._rows is not None and not self.are_judged:
            yield from map(_of_row, self._rows)
            return
        raws = (raw for path in self.inputs for raw in read_rows(path))
        for raw in islice(raws, self._limit):
            own = (raw.data or {}).get("id")
            row_id = own if isinstance(own, str) else f"line:{raw.place}"
            known = (self._known or {}).get(row_id)
            digest = raw.digest if known is None else joined_digest(raw.digest, known[1])
            try:
                yield from list(self._judgments(raw, digest))
            except RowError as error:
                yield Written(row_id, raw.place, digest, error=error)

    def _judgments(self, raw: RawRow, digest: bytes) -> Iterator[Written]:
        row, place = raw.data, raw.place
        if row is None:
            raise raw.error or RowError("is not a row", code="bad_json", place=place)
        if "judgments" not in row:
            raise RowError("holds no judgments", code="no_judgments", place=place)
        row_id, subset = fields.text(row, "id", place), fields.optional_text(row, "subset", place)
        judgments = read_judgments(row, place)
        if not judgments:  # the row was settled without asking the judge
            yield Written(row_id, place, digest)
            return
        pair = self._pair(row_id, place)
        for judgment, item in zip(judgments, row["judgments"], strict=True):
            if judgment.response or judgment.shown or judgment.ranking or judgment.score is not None:
                raise no_pair("a judgment", place)
            order, vote = judgment.order, judgment.vote
            said = self._said(judgment, item, place)
            writer = Writer(
                row=row_id,
                order=order,
                verdict=judgment.winner,
                label=row.get("label"),
                is_written=bool(judgment.text) or said is not None,
                subset=subset,
            )
            text = (said or "").strip()
            yield Written(
                judgment_id(row_id, order, vote),
                place,
                digest,
                order.seen(pair),
                Critique(text=text) if text else None,
                writer,
                where={"row": row_id, "order": order.value, "vote": vote},
            )

    def _said(self, judgment: Judgment, item: Mapping[str, Any], place: str) -> str | None:
        """Return a judgment's critique; one that a grammar marks was read after the thinking already."""
        said = fields.optional_text(item, self._name, place)
        if self._name == "critique":
            return said
        return after_thinking(self._grammar, said or "", thinking_open=judgment.thinking_open)

    def _pair(self, row_id: str, place: str) -> Comparison:
        """Return a row that was judged, in its own order; without texts where those are not given."""
        if self._known is None:
            return Comparison(id=row_id, prompt=(), response_a="", response_b="")
        pair = self._known.get(row_id, (None, b""))[0]
        if pair is None:
            raise RowError(
                f"no row of --pairs has the id {row_id!r}",
                code="no_pair",
                place=place,
                remedy="give all rows that were judged",
            )
        if isinstance(pair, RowError):
            raise pair
        return pair


def _of_row(item: InputRow) -> Written:
    if item.row is None:
        return Written(item.id, item.place, item.digest, error=item.error)
    pair, critique = _pair_of(item), item.row.critique
    has = critique is not None and (critique.arguments or (critique.text or "").strip())
    if isinstance(pair, RowError):
        return Written(item.id, item.place, item.digest, error=pair if critique is not None else None)
    return Written(item.id, item.place, item.digest, pair, critique if has else None)


def _pair_of(item: InputRow) -> Comparison | RowError:
    found = None if item.row is None else as_comparison(item.row)
    return found or no_pair(f"a {type(item.row).__name__}", item.place)


def no_pair(what: str, place: str) -> RowError:
    """Return the error of what has no two responses."""
    said = f"{what} that is not of a pair has no sides for a critique to speak of"
    return RowError(said, code="unsupported", place=place, remedy="give pairs or comparisons")


def refuse_columns(columns: Columns | None, path: Path, what: str) -> None:
    """Raise `ConfigError` if columns are named for a file of our own."""
    if columns:
        raise ConfigError(
            f"holds {what}, which have columns of their own", place=str(path), remedy="leave --columns out"
        )


def first_row(path: Path) -> Mapping[str, Any]:
    """Return a file's first readable row; empty if it has none."""
    return next((raw.data for raw in read_rows(path) if raw.data is not None), {})
