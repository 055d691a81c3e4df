"""Reading one field of a foreign row: its value as it is, or an error naming key, expectation and finding.

Every dataset reader uses these functions, so a wrong type or label fails in the same words everywhere and
nothing is coerced on the way. Optional fields that are null count as absent; required ones do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from reasrm.errors import RowError
from reasrm.records import Conversation, CoreArgument, Criterion, Critique, Message, Rubric, Verdict

__all__ = [
    "OPTIONAL",
    "WINNERS",
    "RowData",
    "bad_label",
    "choice",
    "conversation",
    "describe",
    "integer",
    "last_response",
    "messages",
    "missing",
    "optional_text",
    "required",
    "response",
    "row_id",
    "shared",
    "text",
    "wrong_type",
]

RowData = Mapping[str, Any]
WINNERS: Mapping[int | str, Verdict] = {"A": Verdict("A"), "B": Verdict("B"), "tie": Verdict("tie")}

_ABSENT = object()
OPTIONAL = frozenset({"principle", "reference", "subset", "group", "language", "rubric", "critique", "meta"})


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


def conversation(row: RowData, key: str, place: str) -> Conversation:
    """Return a prompt: a string is one user turn, a list is read as messages."""
    value = row.get(key)
    if type(value) is str:
        return (Message("user", value),)
    if type(value) is list and value:
        return messages(value, key, place)
    expected = "a string or a non-empty list of {role, content} messages"
    raise wrong_type(key, expected, required(row, key, place), place)


def messages(value: Sequence[Any], key: str, place: str) -> Conversation:
    """Return a list of `{role, content}` objects as messages. Names and other annotations are not kept."""
    turns = []
    for n, item in enumerate(value):
        if type(item) is dict and "tool_calls" not in item:
            role, content = item.get("role"), item.get("content")
            if type(content) is str and type(role) is str and role:
                turns.append(Message(role, content))
                continue
        turns.append(_odd_message(item, f"{key}[{n}]", place))
    return tuple(turns)


def _odd_message(item: Any, where: str, place: str) -> Message:
    """Read a message that is not plain `{role, content}`, or say what is wrong with it."""
    if not isinstance(item, dict):
        raise wrong_type(where, "an object {role, content}", item, place)
    for key in ("role", "content"):
        if key not in item:
            raise missing(item, f"{where}.{key}", place)
    if not isinstance(item["role"], str) or not item["role"]:
        raise wrong_type(f"{where}.role", "a non-empty string", item["role"], place)
    if item.get("tool_calls"):
        raise RowError(
            f"field {where + '.tool_calls'!r} is not empty; judges read text only",
            code="unsupported",
            place=place,
        )
    content = item["content"]
    if isinstance(content, str):
        return Message(item["role"], content)
    if isinstance(content, list) and content:
        return Message(item["role"], "".join(_part(part, where, n, place) for n, part in enumerate(content)))
    raise wrong_type(f"{where}.content", "a string or a list of text parts", content, place)


def _part(part: Any, where: str, n: int, place: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise wrong_type(f"{where}.content[{n}]", "a text part {type: text, text}", part, place)


def response(row: RowData, key: str, place: str) -> str:
    """Return a response: a string, or a list with one assistant message."""
    value = row.get(key)
    if type(value) is str:
        return value
    if type(value) is list and value:
        only = value[0]
        if len(value) == 1 and type(only) is dict and len(only) == 2 and only.get("role") == "assistant":
            content = only.get("content")
            if type(content) is str:
                return content
        turns = messages(value, key, place)
        if len(turns) == 1:
            return last_response(turns, key, place)
        raise RowError(
            f"field {key!r} has {len(turns)} messages, expected one assistant message",
            code="unsupported",
            place=place,
        )
    raise wrong_type(key, "a string or a list with one assistant message", required(row, key, place), place)


def last_response(turns: Conversation, key: str, place: str) -> str:
    """Return the content of a conversation's last message, which must be the assistant's."""
    last = turns[-1]
    if last.role == "assistant":
        return last.content
    raise RowError(
        f"field {key!r} ends with a message of role {last.role!r}, expected 'assistant'",
        code="unsupported",
        place=place,
    )


def shared(row: RowData, place: str) -> dict[str, Any]:
    """Return the optional fields that any row may carry, as keyword arguments of `Row`."""
    if OPTIONAL.isdisjoint(row):
        return {}
    found: dict[str, Any] = {}
    for key in sorted(OPTIONAL.intersection(row)):
        if row[key] is not None:
            found[key] = _READERS[key](row, key, place) if key in _READERS else text(row, key, place)
    return found


def _rubric(row: RowData, key: str, place: str) -> Rubric:
    """Read a rubric: text, a list of lines (numbered, of no stated kind), or `{"criteria": [...]}`."""
    value = row[key]
    if isinstance(value, str):
        return Rubric(text=value)
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return Rubric(text="\n".join(f"{n}. {line}" for n, line in enumerate(value, 1)))
    if isinstance(value, dict) and isinstance(value.get("criteria"), list) and value["criteria"]:
        return Rubric(
            criteria=tuple(
                _criterion(item, f"{key}.criteria[{n}]", place) for n, item in enumerate(value["criteria"])
            )
        )
    raise wrong_type(key, "a string, a list of strings or an object {criteria: [...]}", value, place)


def _criterion(value: Any, where: str, place: str) -> Criterion:
    item = _object(value, where, place)
    kind = _one_of(item, "kind", ("hard_rule", "principle"), where, place)
    weight = item.get("weight")
    if weight is not None and type(weight) not in (int, float):
        raise wrong_type(f"{where}.weight", "a number", weight, place)
    return Criterion(kind=kind, text=_inner_text(item, where, place), weight=weight)


def _critique(row: RowData, key: str, place: str) -> Critique:
    """Read a critique: text, or `{"arguments": [...], "text"?}`."""
    value = row[key]
    if isinstance(value, str):
        return Critique(text=value)
    if not isinstance(value, dict):
        raise wrong_type(key, "a string, or an object with 'arguments'", value, place)
    arguments = required(value, "arguments", place)
    if not isinstance(arguments, list):
        raise wrong_type(f"{key}.arguments", "a list", arguments, place)
    return Critique(
        arguments=tuple(_argument(a, f"{key}.arguments[{n}]", place) for n, a in enumerate(arguments)),
        text=optional_text(value, "text", place),
    )


def _argument(value: Any, where: str, place: str) -> CoreArgument:
    item = _object(value, where, place)
    fatal = item.get("fatal", False)
    if type(fatal) is not bool:
        raise wrong_type(f"{where}.fatal", "a boolean", fatal, place)
    return CoreArgument(
        about=_one_of(item, "about", ("A", "B"), where, place),
        stance=_one_of(item, "stance", ("for", "against"), where, place),
        text=_inner_text(item, where, place),
        fatal=fatal,
    )


def _meta(row: RowData, key: str, place: str) -> Mapping[str, Any]:
    return _object(row[key], key, place)


def _object(value: Any, where: str, place: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise wrong_type(where, "an object", value, place)


def _inner_text(item: RowData, where: str, place: str) -> str:
    value = item.get("text")
    if isinstance(value, str) and value:
        return value
    raise wrong_type(f"{where}.text", "a non-empty string", value, place)


def _one_of(item: RowData, key: str, allowed: Sequence[str], where: str, place: str) -> Any:
    value = item.get(key)
    if isinstance(value, str) and value in allowed:
        return value
    raise wrong_type(f"{where}.{key}", " or ".join(map(repr, allowed)), value, place)


_READERS = {"rubric": _rubric, "critique": _critique, "meta": _meta}
