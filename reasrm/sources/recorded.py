"""What judges once said, by row id, for `replay:FILE`.

Four kinds of file are read: judge result files of PandaLM (`idx` and a verdict), rows of JudgeBench, LLMBar
or RM-R1 that carry judgments, and our own judge output. A recorded text or decision speaks of the order that
was shown; our own output states verdicts in the row's frame, so they are mapped back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from reasrm.errors import InputError, RowError
from reasrm.records import Credited, Order, Recorded, Verdict
from reasrm.requests import how_it_ended
from reasrm.sources import detect, fields
from reasrm.sources.base import RowIds, SourceRow
from reasrm.sources.fields import WINNERS, RowData
from reasrm.tables import RawRow, read_rows

__all__ = ["Recordings", "read_recordings"]

Recordings = Mapping[Order, tuple[Recorded, ...]]

_RESULT_KEYS = ("gpt_result", "pandalm_result")
_RESULTS: Mapping[int | str, Verdict] = {
    "1": Verdict("A"),
    "2": Verdict("B"),
    "Tie": Verdict("tie"),
    1: Verdict("A"),
    2: Verdict("B"),
    0: Verdict("tie"),
}


def read_recordings(path: Path | str) -> dict[str, Recordings]:
    """Return what a file recorded, by row id and by the order shown, votes in order.

    Rows without an id are found under the id of their content, equal rows numbered as in a judge run.

    Raises:
        InputError: The file's rows hold no recordings, or an id occurs twice.
        RowError: A row cannot be read. Recordings are evidence: none is skipped.
    """
    found: dict[str, Recordings] = {}
    ids = RowIds()
    for raw in read_rows(path):
        for row_id, recordings in _read(raw, ids):
            if row_id in found:
                raise InputError(
                    f"the id {row_id!r} has recordings already",
                    place=raw.place,
                    remedy="keep one row per id; votes belong in one row's 'judgments'",
                )
            found[row_id] = recordings
    if not any(found.values()):
        raise InputError(
            "no row holds recorded judgments",
            place=str(path),
            remedy="pass a judge's output, or rows with completions, decisions or scores",
        )
    return found


def _read(raw: RawRow, ids: RowIds) -> Iterator[tuple[str, Recordings]]:
    if raw.data is None:
        raise raw.error or InputError("the row cannot be read", place=raw.place)
    row, place = raw.data, raw.place
    reader = _own_or_pandalm(row)
    if reader is not None:
        yield _id(row, place), reader(row, place)
        return
    source = detect(row, place)
    rows = source.read(row, place)
    item = SourceRow(raw.line, place, raw.digest, rows, None, source.derives_id(row), source.name)
    for record in ids.admit(item):
        yield record.id, {order: tuple(votes) for order, votes in record.recorded.items()}


def _own_or_pandalm(row: RowData) -> Callable[[RowData, str], Recordings] | None:
    if any(key in row for key in _RESULT_KEYS):
        return _pandalm
    judgments = row.get("judgments")
    if isinstance(judgments, list) and all(isinstance(item, dict) and "order" in item for item in judgments):
        return _own
    return None


def _id(row: RowData, place: str) -> str:
    found = fields.row_id(row, ("id", "idx"), place)
    if found is None:
        raise fields.missing(row, "id", place)
    return found


def _pandalm(row: RowData, place: str) -> Recordings:
    """Read the verdict of a judge that saw the pair in its own order; `garbage` is unreadable, not a tie."""
    key = next(key for key in _RESULT_KEYS if key in row)
    unreadable = row[key] == "garbage"
    decision = None if unreadable else fields.choice(row, key, place, _RESULTS)
    return {Order.AB: (Recorded("decision", decision=decision),)}


def _own(row: RowData, place: str) -> Recordings:
    votes: dict[Order, list[tuple[int, Recorded]]] = {}
    for n, item in enumerate(row["judgments"]):
        if not isinstance(item["order"], str) or item["order"] not in Order.__members__:
            raise fields.wrong_type(f"judgments[{n}].order", "'AB' or 'BA'", item["order"], place)
        if item.get("response"):
            raise RowError(
                "pointwise judgments of several responses cannot be replayed", code="unsupported", place=place
            )
        order = Order(item["order"])
        votes.setdefault(order, []).append((fields.integer(item, "vote", place), _vote(item, order, place)))
    return {
        order: tuple(recorded for _, recorded in sorted(found, key=lambda pair: pair[0]))
        for order, found in votes.items()
    }


def _vote(item: RowData, order: Order, place: str) -> Recorded:
    """Read one judgment as its text, else its score, else its verdict in the order shown."""
    how = _how(item, place)
    if item.get("text"):
        return Recorded("text", text=fields.text(item, "text", place), shown=_shown(item, place), **how)
    if item.get("ranking") is not None:
        raise RowError(
            "a ranking without its text cannot be replayed: the order shown is not recorded",
            code="unsupported",
            place=place,
        )
    scores = _scores(item, place) if _was_read(item) else None
    if scores is not None:
        shown = scores if order is Order.AB else scores[::-1]
        return Recorded("score", scores=shown, **how)
    verdict = None
    if item.get("verdict") is not None and _was_read(item):
        verdict = replace(fields.choice(item, "verdict", place, WINNERS), strength=_strength(item, place))
        verdict = verdict.swap() if order is Order.BA else verdict
    return Recorded("decision", decision=verdict, **how)


def _was_read(item: RowData) -> bool:
    return item.get("status") in (None, "ok")


def _how(item: RowData, place: str) -> dict[str, Any]:
    """Return what reading needs to know of a judgment beside what it says."""
    opened, credited = item.get("thinking_open"), item.get("credited")
    if opened not in (None, True, False):
        raise fields.wrong_type("judgments[].thinking_open", "true or false", opened, place)
    if credited not in (None, *get_args(Credited)):
        raise fields.wrong_type("judgments[].credited", "'A', 'B', 'tie' or 'none'", credited, place)
    return {
        "finish_reason": _finish_reason(item, place),
        "thinking_open": opened is True,
        "credited": credited,
    }


def _finish_reason(item: RowData, place: str) -> str:
    """Return how the answer ended, in our words: other programs' files have their servers' words."""
    word = fields.optional_text(item, "finish_reason", place)
    end = word if word == "too_long" else how_it_ended(word)
    if end is None:
        raise fields.wrong_type(
            "judgments[].finish_reason", "'stop', 'length' or another word for an end", word, place
        )
    return "error" if end == "broken" else end


def _shown(item: RowData, place: str) -> tuple[int, ...]:
    """Return the order in which a list was shown; empty for other judgments."""
    value: Any = item.get("shown") or []
    if not isinstance(value, list) or not all(type(n) is int for n in value):
        raise fields.wrong_type("judgments[].shown", "a list of integers", value, place)
    return tuple(value)


def _scores(item: RowData, place: str) -> tuple[float, ...] | None:
    """Return one score per response, in the row's own order, where the judgment has scores."""
    values: Any = item.get("scores")
    if values is None and item.get("score") is not None:
        values = [item["score"]]
    if values is None:
        return None
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise fields.wrong_type("judgments[].scores", "a list of numbers", values, place)
    return tuple(map(float, values))


def _strength(item: RowData, place: str) -> int | None:
    return None if item.get("strength") is None else fields.integer(item, "strength", place)
