"""Reading one field of a foreign row: its value as it is, or an error naming key, expectation and finding.

A wrong type or label fails in the same words everywhere and nothing is coerced on the way. Optional fields that are
null count as absent; required ones do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from reasrm.errors import RowError
from reasrm.records import Verdict

__all__ = [
    "WINNERS",
    "RowData",
    "bad_label",
    "choice",
    "describe",
    "flag",
    "integer",
    "missing",
    "number",
    "one_of",
    "optional_text",
    "required",
    "row_id",
    "text",
    "words",
    "wrong_type",
]

RowData = Mapping[str, Any]
WINNERS: Mapping[int | str, Verdict] = {"A": Verdict("A"), "B": Verdict("B"), "tie": Verdict("tie")}
_ABSENT = object()


def describe(value: Any) -> str:
    """Return a JSON value's type and, where short, the value itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {value!r}" if len(value) <= 40 else f"a string of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"an object with the keys {', '.join(map(repr, list(value)[:6]))}" if value else "an empty object"


def missing(row: RowData, key: str, place: str) -> RowError:
    """Return the error for an absent required field."""
    return RowError(
        f"field {key!r} is missing; the row has {', '.join(map(repr, list(row)[:12])) or 'no keys'}",
        code="missing_field",
        place=place,
    )


def wrong_type(key: str, expected: str, value: Any, place: str) -> RowError:
    """Return the error for a value of the wrong type. Scalars where text belongs can be read on request."""
    scalar = expected == "a string" and isinstance(value, bool | int | float)
    return RowError(
        f"field {key!r} must be {expected}, found {describe(value)}",
        code="wrong_type",
        place=place,
        remedy="fix the row, or pass --coerce-scalars to read such values as text" if scalar else None,
    )


def bad_label(key: str, value: Any, accepted: str, place: str) -> RowError:
    """Return the error for a label that the source does not define."""
    return RowError(
        f"field {key!r} is {describe(value)}, which is no label of this source ({accepted})",
        code="bad_label",
        place=place,
    )


def required(row: RowData, key: str, place: str) -> Any:
    """Return a required field's value, whatever its type."""
    value = row.get(key, _ABSENT)
    if value is _ABSENT:
        raise missing(row, key, place)
    return value


def text(row: RowData, key: str, place: str) -> str:
    """Return a required string."""
    value = row.get(key)
    if type(value) is str:
        return value
    raise wrong_type(key, "a string", required(row, key, place), place)


def optional_text(row: RowData, key: str, place: str) -> str | None:
    """Return a string, or None where the field is absent or null."""
    return None if row.get(key) is None else text(row, key, place)


def integer(row: RowData, key: str, place: str) -> int:
    """Return a required integer; booleans are not integers."""
    value = required(row, key, place)
    if type(value) is int:
        return value
    raise wrong_type(key, "an integer", value, place)


def choice(row: RowData, key: str, place: str, labels: Mapping[int | str, Verdict]) -> Verdict:
    """Return the verdict that a required label stands for.

    A label must be equal in value and in type: `true` is not 1, `"1"` is not 1.
    """
    value = required(row, key, place)
    verdict = labels.get(value) if type(value) in (str, int) else None
    if verdict is not None:
        return verdict
    table = ", ".join(f"{orjson.dumps(label).decode()} → {v.winner}" for label, v in labels.items())
    raise bad_label(key, value, f"label map: {table}", place)


def row_id(row: RowData, keys: Sequence[str], place: str) -> str | None:
    """Return the first of `keys` that the row has, as a string; None where it has none of them, or nulls."""
    for key in keys:
        value = row.get(key)
        if value is None:
            continue
        if type(value) is str and value:
            return value
        if type(value) is int:
            return str(value)
        raise RowError(
            f"field {key!r} must be a non-empty string or an integer, found {describe(value)}",
            code="bad_id",
            place=place,
            remedy="give the row an id, or drop the field to have one derived from the content",
        )
    return None


def _named(key: str, within: str) -> str:
    return f"{within}.{key}" if within else key


def words(row: RowData, key: str, place: str, within: str = "") -> str:
    """Return a string that says something; `within` is where the row, if it is an object of one, stands in it."""
    value = row.get(key)
    if isinstance(value, str) and value.strip():
        return value
    raise wrong_type(_named(key, within), "a string that is not blank", value, place)


def number(row: RowData, key: str, place: str, within: str = "") -> float | None:
    """Return a number, None where it is absent; neither text nor boolean is one."""
    value = row.get(key)
    if value is None or type(value) in (int, float):
        return value
    raise wrong_type(_named(key, within), "a number", value, place)


def flag(row: RowData, key: str, place: str, within: str = "") -> bool:
    """Return a boolean, False where it is absent."""
    value = row.get(key, False)
    if type(value) is bool:
        return value
    raise wrong_type(_named(key, within), "a boolean", value, place)


def one_of(
    row: RowData, key: str, allowed: Sequence[str], place: str, within: str = "", *, optional: bool = False
) -> Any:
    """Return one of several strings; None where it is absent and may be."""
    value = row.get(key)
    if (isinstance(value, str) and value in allowed) or (value is None and optional):
        return value
    raise wrong_type(_named(key, within), " or ".join(map(repr, allowed)), value, place)
