"""Reading what rows of many schemas share: conversations, responses, and the optional fields of any row.

Every dataset reader uses these functions, and those of `reasrm.fields` through this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasrm.errors import RowError
from reasrm.fields import (
    WINNERS,
    RowData,
    bad_label,
    choice,
    describe,
    flag,
    integer,
    missing,
    number,
    one_of,
    optional_text,
    required,
    row_id,
    text,
    words,
    wrong_type,
)
from reasrm.records import Conversation, CoreArgument, Criterion, Critique, Message, Rubric
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

SYSTEM = ("system", "system_prompt")
"""Columns that hold a system turn apart from the prompt."""
_SPECIAL = frozenset({"tool_calls", "function_call", "from"})
_TOOL_ROLES = tools.RESULT_ROLES | tools.CALL_ROLES
_SPEAKERS = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}
OPTIONAL = frozenset({"principle", "reference", "subset", "group", "language", "rubric", "critique", "meta"})


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
    """Read a rubric: text, a list of lines (numbered, of no stated kind), or `{"criteria": [...]}`.

    An object may hold a `text` instead, and says with `saw_label` whether its author knew the row's label.
    """
    value = row[key]
    if isinstance(value, str):
        return Rubric(text=value)
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return Rubric(text="\n".join(f"{n}. {line}" for n, line in enumerate(value, 1)))
    if isinstance(value, dict):
        saw = flag(value, "saw_label", place, key)
        if isinstance(value.get("criteria"), list) and value["criteria"]:
            return Rubric(criteria(value["criteria"], f"{key}.criteria", place), saw_label=saw)
        if isinstance(value.get("text"), str):
            return Rubric(text=value["text"], saw_label=saw)
    expected = "a string, a list of strings or an object {criteria: [...]} or {text}"
    raise wrong_type(key, expected, value, place)


def criteria(values: Sequence[Any], where: str, place: str) -> tuple[Criterion, ...]:
    """Return criteria as `Criterion.to_json` writes them; only the text is required."""
    return tuple(_criterion(value, f"{where}[{n}]", place) for n, value in enumerate(values))


_CRITERION_TEXTS = ("name", "category", "test", "rationale", "source")


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
        **{key: optional_text(item, key, f"{place}: {where}") for key in _CRITERION_TEXTS},
    )


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
