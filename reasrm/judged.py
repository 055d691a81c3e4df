"""The judged row: what `reasrm judge` writes for one row. One record, one writer, one reader.

Verdicts, scores and rankings speak of the row's own responses, whatever order was shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args

from reasrm.errors import RowError
from reasrm.fields import RowData, describe, integer, number, optional_text, required, text, wrong_type
from reasrm.records import Credited, Judgment, Order, ParseStatus, RowStatus, Verdict, Winner

__all__ = ["JudgedRow", "Label", "is_judged", "judgment_id", "read_judged", "read_judgments"]

Label = Winner | int | float | tuple[int, ...]
"""The gold label in the row's own terms: a side, a score, the index of the best response, or a ranking."""

_StatusT = TypeVar("_StatusT", bound=StrEnum)
_REMEDY: Final = "give rows as `reasrm judge` writes them"
_ALWAYS: Final = ("verdict", "status", "confidence", "consistent", "correct", "label")
_WHERE_GIVEN: Final = ("score", "scores", "ranking", "subset", "group", "language")
_OF_JUDGMENT: Final = (
    *("response", "shown", "score", "scores", "ranking", "reasoning", "detail"),
    *("thinking_open", "credited", "prompt_hash"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """One line of a file of judged rows.

    Args:
        id: The row's id.
        status: How judging it ended; `verdict`, `score` and `ranking` are None unless it is `OK`.
        verdict: The side with most readable votes.
        confidence: Share of readable votes for the verdict.
        consistent: Whether both orders came to the same verdict; None unless both are readable.
        correct: Whether the verdict (or top rank, or score) is the label; None without a label or verdict.
        label: What a right judge says; None where unknown.
        score: Mean readable score of a single response.
        scores: One number per response; None where none was readable.
        ranking: Responses best first.
        subset: Benchmark subset or category.
        group: Rows that belong together.
        language: Language tag.
        flagged: Fields whose text imitates control tokens or the protocol's own markers.
        meta: Whatever the row carried.
        judgments: Every judgment; none of a row that was settled without asking.
        judge: Who judged: name, spec and what else tells judges apart.
        seed: Of orders and samples; None in rows of other programs.
    """

    id: str
    status: RowStatus
    verdict: Winner | None = None
    confidence: float | None = None
    consistent: bool | None = None
    correct: bool | None = None
    label: Label | None = None
    score: float | None = None
    scores: tuple[float | None, ...] | None = None
    ranking: tuple[int, ...] | None = None
    subset: str | None = None
    group: str | None = None
    language: str | None = None
    flagged: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    judgments: tuple[Judgment, ...] = ()
    judge: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def is_right(self, judgment: Judgment) -> bool | None:
        """Whether one of its judgments decided as the label does; None without a label."""
        return None if self.label is None else judgment.winner == self.label

    def to_json(self) -> dict[str, Any]:
        """Return the output line. The same judgments give the same bytes."""
        given = {key: _plain(getattr(self, key)) for key in (*_ALWAYS, *_WHERE_GIVEN, "flagged", "meta")}
        line = {"id": self.id} | {key: given[key] for key in _ALWAYS}
        line |= {key: given[key] for key in _WHERE_GIVEN if given[key] is not None}
        line |= {key: given[key] for key in ("flagged", "meta") if given[key]}
        line["judgments"] = [_judgment_json(judgment) for judgment in self.judgments]
        return line | {"judge": dict(self.judge), "seed": self.seed}


def judgment_id(row: str, order: Order, vote: int) -> str:
    """Return the name of one judgment of a pair, unique in its file."""
    return f"{row}/{order}/{vote}"


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _judgment_json(judgment: Judgment) -> dict[str, Any]:
    given = {key.name: _plain(getattr(judgment, key.name)) for key in fields(judgment)}
    line = {"order": given["order"], "vote": given["vote"], "verdict": judgment.winner}
    line["status"] = given["status"]
    if judgment.verdict is not None and judgment.verdict.strength is not None:
        line["strength"] = judgment.verdict.strength
    for key in ("response", "shown", "thinking_open"):  # unsaid where they say nothing
        given[key] = given[key] or None
    line |= {key: given[key] for key in _OF_JUDGMENT if given[key] is not None}
    return line | {key: given[key] for key in ("critique", "rubric", "text", "num_tokens", "finish_reason")}


def is_judged(row: RowData) -> bool:
    """Whether a row holds judgments as we write them; other programs' judgments name no order."""
    items = row.get("judgments")
    return isinstance(items, list) and all(isinstance(item, dict) and "order" in item for item in items)


def read_judged(row: RowData, place: str | None = None) -> JudgedRow:
    """Read a judged row. Fields that are absent or null have their defaults; unknown fields are left alone.

    Args:
        row: The JSON object.
        place: File and line, for errors; the row's id if not given.

    Raises:
        RowError: A field is missing, a value is none of the known ones, or a verdict contradicts its status.
    """
    place = place or f"row {row.get('id')!r}"
    status = _status(RowStatus, row, place)
    scores = _list(row, "scores", (int, float, type(None)), "numbers or null", place)
    return JudgedRow(
        id=text(row, "id", place),
        status=status,
        verdict=_winner(row, status is RowStatus.OK, place),
        confidence=number(row, "confidence", place),
        consistent=_flag(row, "consistent", place),
        correct=_flag(row, "correct", place),
        label=_label(row, place),
        score=number(row, "score", place),
        scores=scores,
        ranking=_list(row, "ranking", (int,), "integers", place),
        **{key: optional_text(row, key, place) for key in ("subset", "group", "language")},
        flagged=_list(row, "flagged", (str,), "strings", place) or (),
        meta=_object(row, "meta", place),
        judgments=read_judgments(row, place),
        judge=_object(row, "judge", place),
        seed=None if row.get("seed") is None else integer(row, "seed", place),
    )


def read_judgments(row: RowData, place: str) -> tuple[Judgment, ...]:
    """Read the judgments alone, of a row that may lack all else. One without a status is `ok` if it decides anything.

    Raises:
        RowError: As `read_judged`.
    """
    items = row.get("judgments") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise wrong_type("judgments", "a list of objects", items, place)
    return tuple(_judgment(item, f"{place}: judgments[{n}]") for n, item in enumerate(items))


def _judgment(item: RowData, place: str) -> Judgment:
    decides = any(item.get(key) is not None for key in ("verdict", "score", "scores", "ranking"))
    guess = ParseStatus.OK if decides else ParseStatus.NO_VERDICT
    status = _status(ParseStatus, item, place) if item.get("status") is not None else guess
    winner = _winner(item, status is ParseStatus.OK, place)
    strength = _count(item, "strength", place)
    order = required(item, "order", place)
    if order not in list(Order):
        raise _bad("order", order, [*Order], place)
    credited = item.get("credited")
    if credited not in (None, *get_args(Credited)):
        raise _bad("credited", credited, get_args(Credited), place)
    return Judgment(
        status=status,
        verdict=None if winner is None else Verdict(winner, strength),
        score=number(item, "score", place),
        scores=_list(item, "scores", (int, float), "numbers", place),
        ranking=_list(item, "ranking", (int,), "integers", place),
        **{
            key: optional_text(item, key, place)
            for key in ("critique", "rubric", "reasoning", "detail", "prompt_hash")
        },
        text=optional_text(item, "text", place) or "",
        order=Order(order),
        vote=_count(item, "vote", place) or 0,
        response=_count(item, "response", place) or 0,
        shown=_list(item, "shown", (int,), "integers", place) or (),
        num_tokens=_count(item, "num_tokens", place),
        finish_reason=optional_text(item, "finish_reason", place),
        thinking_open=_flag(item, "thinking_open", place) or False,
        credited=credited,
    )


def _status(kind: type[_StatusT], record: RowData, place: str) -> _StatusT:
    value = required(record, "status", place)
    if value not in list(kind):
        raise _bad("status", value, [*kind], place)
    return kind(value)


def _winner(record: RowData, ok: bool, place: str) -> Winner | None:
    value = record.get("verdict")
    if value is not None and not ok:
        raise RowError(
            f"verdict {value!r} beside status {record.get('status')!r}",
            code="contradiction",
            place=place,
            remedy="only a row or judgment with status 'ok' has a verdict; judge the row again",
        )
    if value not in (None, *get_args(Winner)):
        raise _bad("verdict", value, get_args(Winner), place)
    found: Winner | None = value
    return found


def _label(row: RowData, place: str) -> Label | None:
    value = row.get("label")
    if isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    if value is not None and value not in get_args(Winner) and type(value) not in (int, float):
        raise _bad("label", value, [*get_args(Winner), "a number", "a list of indices", "null"], place)
    found: Label | None = value
    return found


def _count(record: RowData, key: str, place: str) -> int | None:
    return None if record.get(key) is None else integer(record, key, place)


def _flag(record: RowData, key: str, place: str) -> bool | None:
    value = record.get(key)
    if value not in (None, True, False) or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise wrong_type(key, "true or false", value, place)
    found: bool | None = value
    return found


def _list(
    record: RowData, key: str, kinds: tuple[type, ...], words: str, place: str
) -> tuple[Any, ...] | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(item) in kinds for item in value):
        raise wrong_type(key, f"a list of {words}", value, place)
    return tuple(value)


def _object(record: RowData, key: str, place: str) -> Mapping[str, Any]:
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(key, "an object", value, place)
    return value


def _bad(key: str, value: object, known: tuple[str, ...] | list[str], place: str) -> RowError:
    return RowError(
        f"field {key!r} is {describe(value)}; known are {', '.join(map(str, known))}",
        code="bad_value",
        place=place,
        remedy=_REMEDY,
    )
