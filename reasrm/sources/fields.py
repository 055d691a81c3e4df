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
from reasrm.sources import tools

__all__ = [
    "OPTIONAL",
    "SYSTEM",
    "WINNERS",
    "RowData",
    "bad_label",
    "choice",
    "conversation",
    "criteria",
    "describe",
    "flag",
    "integer",
    "is_tool_use",
    "last_response",
    "messages",
    "missing",
    "number",
    "one_of",
    "optional_text",
    "required",
    "response",
    "row_id",
    "shared",
    "text",
    "words",
    "wrong_type",
]

RowData = Mapping[str, Any]
WINNERS: Mapping[int | str, Verdict] = {"A": Verdict("A"), "B": Verdict("B"), "tie": Verdict("tie")}

SYSTEM = ("system", "system_prompt")
"""Columns that hold a system turn apart from the prompt."""
_ABSENT = object()
_SPECIAL = frozenset({"tool_calls", "function_call", "from"})
_TOOL_ROLES = tools.RESULT_ROLES | tools.CALL_ROLES
_SPEAKERS = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}
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
    """Return a list of `{role, content}` objects as messages. Names and other annotations are not kept.

    Calls and results of tools become text; see `sources.tools`.
    """
    turns = []
    for n, item in enumerate(value):
        if type(item) is dict and _SPECIAL.isdisjoint(item):
            role, content = item.get("role"), item.get("content")
            if type(content) is str and type(role) is str and role and role not in _TOOL_ROLES:
                turns.append(Message(role, content))
                continue
        turns.append(_odd_message(item, f"{key}[{n}]", place))
    return tuple(turns)


def _odd_message(item: Any, where: str, place: str) -> Message:
    """Read a message that is not plain `{role, content}`, or say what is wrong with it."""
    if not isinstance(item, dict):
        raise wrong_type(where, "an object {role, content}", item, place)
    if "from" in item and "value" in item and "role" not in item:
        item = {**item, "role": _SPEAKERS.get(item["from"], item["from"]), "content": item["value"]}
    calls = item.get("tool_calls") or item.get("function_call")
    for key in ("role",) if calls else ("role", "content"):
        if key not in item:
            raise missing(item, f"{where}.{key}", place)
    role = item["role"]
    if not isinstance(role, str) or not role:
        raise wrong_type(f"{where}.role", "a non-empty string", role, place)
    content = _content("" if calls and item.get("content") is None else item["content"], where, place)
    if role in tools.RESULT_ROLES:
        return tools.as_result(content, item.get("name"))
    if role in tools.CALL_ROLES:
        return Message("assistant", tools.as_call(content, where, place))
    if calls:
        said = tools.calls_text(calls, f"{where}.tool_calls", place)
        return Message(role, f"{content}\n\n{said}" if content else said)
    return Message(role, content)


def _content(content: Any, where: str, place: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        return "".join(_part(part, where, n, place) for n, part in enumerate(content))
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
        if len(turns) == 1 or is_tool_use(turns):
            return last_response(turns, key, place) if len(turns) == 1 else tools.transcript(turns)
        raise RowError(
            f"field {key!r} has {len(turns)} messages, expected one assistant message",
            code="unsupported",
            place=place,
        )
    raise wrong_type(key, "a string or a list with one assistant message", required(row, key, place), place)


def is_tool_use(turns: Conversation) -> bool:
    """Whether some turns are one reply: the assistant's, with results of the tools that it called between them."""
    roles = {turn.role for turn in turns}
    return roles == {"assistant", "tool"} and turns[-1].role == "assistant"


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
        return Rubric(criteria(value["criteria"], f"{key}.criteria", place))
    raise wrong_type(key, "a string, a list of strings or an object {criteria: [...]}", value, place)


def criteria(values: Sequence[Any], where: str, place: str) -> tuple[Criterion, ...]:
    """Return criteria as `Criterion.to_json` writes them; only the text is required."""
    return tuple(_criterion(value, f"{where}[{n}]", place) for n, value in enumerate(values))


def _criterion(value: Any, where: str, place: str) -> Criterion:
    item = _object(value, where, place)
    choices = item.get("choices")
    if choices is not None and not (isinstance(choices, list) and all(isinstance(c, str) for c in choices)):
        raise wrong_type(f"{where}.choices", "a list of strings, worst to best", choices, place)
    return Criterion(
        kind=one_of(item, "kind", ("hard_rule", "principle"), place, where, optional=True),
        text=words(item, "text", place, where),
        weight=number(item, "weight", place, where),
        choices=tuple(choices or ()),
        veto=flag(item, "veto", place, where),
        **{key: optional_text(item, key, f"{place}: {where}") for key in ("name", "category", "source")},
    )


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
    return CoreArgument(
        about=one_of(item, "about", ("A", "B"), place, where),
        stance=one_of(item, "stance", ("for", "against"), place, where),
        text=_inner_text(item, where, place),
        fatal=flag(item, "fatal", place, where),
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


_READERS = {"rubric": _rubric, "critique": _critique, "meta": _meta}
