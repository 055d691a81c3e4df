"""What judges once said, by row id, for `replay:FILE`.

Four kinds of file are read: judge result files of PandaLM (`idx` and a verdict), rows of JudgeBench, LLMBar
or RM-R1 that carry judgments, and our own judge output. A recorded text or decision speaks of the order that
was shown; our own output states verdicts in the row's frame, so they are mapped back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasrm.errors import InputError, RowError
from reasrm.judged import is_judged, read_judgments
from reasrm.records import Judgment, Order, ParseStatus, Recorded, Verdict
from reasrm.requests import how_it_ended
from reasrm.sources import detect, fields
from reasrm.sources.base import RowIds, SourceRow
from reasrm.sources.fields import RowData
from reasrm.tables import RawRow, read_rows

__all__ = ["Recordings", "read_recordings"]

Recordings = Mapping[Order, Sequence[Recorded]]
"""What judges said of one row, by the order shown, votes in order."""

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
    return _own if is_judged(row) else None


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
    for judgment in read_judgments(row, place):
        votes.setdefault(judgment.order, []).append((judgment.vote, _vote(judgment, place)))
    return {
        order: tuple(recorded for _, recorded in sorted(found, key=lambda pair: pair[0]))
        for order, found in votes.items()
    }


def _vote(judgment: Judgment, place: str) -> Recorded:
    """Return one judgment as its text, else its score, else its verdict in the order shown."""
    if judgment.response:
        raise RowError(
            "pointwise judgments of several responses cannot be replayed", code="unsupported", place=place
        )
    if judgment.ranking is not None and not judgment.text:
        raise RowError(
            "a ranking without its text cannot be replayed: the order shown is not recorded",
            code="unsupported",
            place=place,
        )
    how: dict[str, Any] = {
        "finish_reason": _finish_reason(judgment, place),
        "thinking_open": judgment.thinking_open,
        "credited": judgment.credited,
    }
    if judgment.text:
        return Recorded("text", text=judgment.text, shown=judgment.shown, **how)
    said = judgment.order.seen(judgment)
    scores = said.scores if said.score is None or said.scores is not None else (said.score,)
    if scores is not None and said.status is ParseStatus.OK:
        return Recorded("score", scores=tuple(map(float, scores)), **how)
    return Recorded("decision", decision=said.verdict, **how)


def _finish_reason(judgment: Judgment, place: str) -> str:
    """Return how the answer ended, in our words: other programs' files have their servers' words."""
    word = judgment.finish_reason
    end = word if word == "too_long" else how_it_ended(word)
    if end is None:
        raise fields.wrong_type(
            "judgments[].finish_reason", "'stop', 'length' or another word for an end", word, place
        )
    return "error" if end == "broken" else end
