"""Files of rubrics: one line each, written by us, by a person or in a public shape; found by id, else by the request.

`{"id", "prompt_hash", "criteria": [{"kind", "text", …}], "condition", "order", "saw_label", "provenance"}`. A person
needs `{"id", "criteria": [{"text"}]}` or `{"prompt", "rubric": "free text"}` and nothing else.

Two roles must not mix: an *author* may know which response won and makes training data, a *writer* never knows it and
is what judging uses. A rubric whose author knew the label of the row that is judged carries that label to the judge:
`Rubrics.join` marks it, and whoever judges or trains with it refuses it (`check_sightings` of judging).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from reasrm.errors import InputError, RowError
from reasrm.hashing import digest, request_hash
from reasrm.records import Order, Row
from reasrm.rubric import Rubric
from reasrm.sources import fields
from reasrm.sources.fields import RowData
from reasrm.sources.prompts import with_front
from reasrm.sources.rubric_shapes import Condition, rubric_shape
from reasrm.tables import read_rows

__all__ = ["RubricLine", "Rubrics", "load_rubrics", "read_rubric_line"]

_NAMED = 10
RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricLine:
    """One rubric and what it was written for.

    Args:
        id: Of the row it is for; of a line without one, made of its request and its text.
        rubric: Criteria, or free text.
        prompt_hash: Of the request it is for (`hashing.request_hash`), where known.
        condition: Whether it is for any responses to its request, or for the pair that its writer saw and no other.
        order: The order in which a pair was shown to its writer; None where it had none.
        saw_label: Whether whoever wrote it knew which response is preferred.
        provenance: Author or writer, prompt, seed, step, `pairs` (ids of the rows that were seen), verification.
    """

    id: str
    rubric: Rubric
    prompt_hash: str | None = None
    condition: Condition = "prompt"
    order: Order | None = None
    saw_label: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Mark the rubric as the line is, so that it stays marked where somebody puts it into a row by hand."""
        if self.rubric.saw_label is not self.saw_label:
            object.__setattr__(self, "rubric", replace(self.rubric, saw_label=self.saw_label))

    def to_json(self) -> dict[str, Any]:
        """Return the line as files hold it; `read_rubric_line` is the inverse."""
        text, criteria = self.rubric.text, [c.to_json() for c in self.rubric.criteria]
        return {
            "id": self.id,
            "prompt_hash": self.prompt_hash,
            **({"criteria": criteria} if text is None else {"rubric": text}),
            "condition": self.condition,
            "order": self.order,
            "saw_label": self.saw_label,
            "provenance": dict(self.provenance),
        }

    def saw(self, row: Row) -> bool:
        """Whether this rubric's author knew the label of a row: by id, as one of several, or by its request."""
        if not self.saw_label:
            return False
        pairs = self.provenance.get("pairs")
        ids = {self.id, *(pairs if isinstance(pairs, list) else [])}
        return row.id in ids or (
            self.prompt_hash is not None and self.prompt_hash == request_hash(row.prompt)
        )


def read_rubric_line(row: RowData, place: str) -> RubricLine:
    """Return the line that a row holds, ours or of a public shape.

    Raises:
        RowError: It is of no shape, or of one and malformed; place, field and value are named.
    """
    shape = None if "criteria" in row else rubric_shape(row)
    if shape is None:
        return _own(row, place)
    rubric = shape.read(row, place)
    request = _request(row, shape.prompt, place)
    return RubricLine(
        id=fields.row_id(row, shape.ids, place) or _derived(request, rubric),
        rubric=rubric,
        prompt_hash=request,
        condition=shape.condition,
        saw_label=shape.saw_label,
        provenance={"source": shape.name, **({} if shape.verified else {"schema": "unverified"})},
    )


def _own(row: RowData, place: str) -> RubricLine:
    value = {"criteria": row["criteria"]} if "criteria" in row else row.get("rubric")
    found = fields.shared({"rubric": value}, place)
    if "rubric" not in found:
        raise RowError(
            f"the row has neither 'criteria' nor 'rubric', but {', '.join(map(repr, list(row)[:12])) or 'no keys'}",
            code="no_rubric",
            place=place,
            remedy="give it criteria: [{text}], or see docs/data.md for the public shapes that are read",
        )
    provenance = row.get("provenance") or {}
    if not isinstance(provenance, dict):
        raise fields.wrong_type("provenance", "an object", provenance, place)
    request = fields.optional_text(row, "prompt_hash", place) or _request(row, "prompt", place)
    own_id = fields.optional_text(row, "id", place)
    if not own_id and request is None:
        raise fields.missing(row, "id", place)
    order = fields.one_of(row, "order", ("AB", "BA"), place, optional=True)
    return RubricLine(
        id=own_id or _derived(request, found["rubric"]),
        rubric=found["rubric"],
        prompt_hash=request,
        condition=fields.one_of(row, "condition", ("prompt", "pair"), place, optional=True) or "prompt",
        order=None if order is None else Order(order),
        saw_label=fields.flag(row, "saw_label", place) or found["rubric"].saw_label,
        provenance=provenance,
    )


def _request(row: RowData, key: str, place: str) -> str | None:
    if row.get(key) is None:
        return None
    return request_hash(with_front(row, fields.conversation(row, key, place), place))


def _derived(request: str | None, rubric: Rubric) -> str:
    """Name a line by its content, so that shuffling a file changes nothing."""
    return digest([request, rubric.render()])


class Rubrics:
    """The rubrics of a file, to be found by a row's id, else by its request.

    Args:
        lines: Rubrics of unique ids. Those of a pair are found by id only.
    """

    def __init__(self, lines: Iterable[RubricLine] = ()) -> None:
        self.by_id = {line.id: line for line in lines}
        self._by_request: dict[str, list[RubricLine]] = {}
        for line in self.by_id.values():
            if line.prompt_hash is not None and line.condition == "prompt":
                self._by_request.setdefault(line.prompt_hash, []).append(line)

    def find(self, row: Row) -> RubricLine | None:
        """Return the rubric for a row.

        Raises:
            InputError: None has its id, and several that differ have its request.
        """
        line = self.by_id.get(row.id)
        if line is not None or not self._by_request:
            return line
        found = self._by_request.get(request_hash(row.prompt), [])
        if len({one.rubric for one in found}) > 1:
            raise InputError(
                f"the rubrics {', '.join(repr(one.id) for one in found[:_NAMED])} are all for the request of row "
                f"{row.id!r}, and none has its id",
                place="--rubrics",
                remedy="keep one rubric for each request, or give rubrics the ids of rows",
            )
        return found[0] if found else None

    def join(self, row: RowT) -> RowT:
        """Return a row with its rubric, its own where none is given, marked where the author saw this row's label.

        Raises:
            InputError: As `find`.
        """
        line = self.find(row)
        if line is None:
            return row
        return replace(row, rubric=replace(line.rubric, saw_label=line.saw(row)))

    @property
    def identity(self) -> list[Any]:
        """What decides which rubric a row is shown, in sorted order."""
        joined = {line.id for lines in self._by_request.values() for line in lines}
        return sorted(
            (line.id, line.rubric.render(), *([line.prompt_hash] if line.id in joined else []))
            for line in self.by_id.values()
        )


def load_rubrics(path: Path) -> Rubrics:
    """Read a file of rubrics.

    Raises:
        InputError: A row is no rubric, or two lines have one id; both places are named. Lines without an id of their
            own that say the same are one.
    """
    places: dict[str, str] = {}
    lines: dict[str, RubricLine] = {}
    for raw in read_rows(path):
        if raw.data is None:
            raise raw.error or InputError("is not a row", place=raw.place)
        line = read_rubric_line(raw.data, raw.place)
        first = places.setdefault(line.id, raw.place)
        if first != raw.place and line.id != _derived(line.prompt_hash, line.rubric):
            raise InputError(
                f"the id {line.id!r} is already that of {first}",
                place=raw.place,
                remedy="keep one rubric for each id",
            )
        lines[line.id] = line
    return Rubrics(lines.values())
