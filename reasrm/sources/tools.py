"""Tool calls, tool results and tool definitions as text that a judge can read; the one place that says how.

```text
I'll look it up.

[tool call] get_weather {"city":"Oslo"}

[tool result: get_weather]
{"celsius": 4}
```

A call belongs to the assistant's turn, a result is a turn of the role `tool`, definitions are a system turn: the line
`[tools]` and one JSON object per line. All of it counts as somebody's text, like everything that a row says: a response
that writes such a line itself is read as what it is, a claim.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from reasrm.errors import RowError
from reasrm.records import Message

__all__ = ["CALL_ROLES", "RESULT_ROLES", "as_call", "as_result", "calls_text", "definitions", "transcript"]

RESULT_ROLES = frozenset({"tool", "tool_response", "function", "function_response", "ipython", "observation"})
CALL_ROLES = frozenset({"tool_call", "function_call"})


def calls_text(calls: Any, where: str, place: str) -> str:
    """Return the calls of one message, OpenAI's form or a bare `{name, arguments}`, a line each.

    Raises:
        RowError: One of them names no tool.
    """
    return "\n".join(_call(call, f"{where}[{n}]", place) for n, call in enumerate(_listed(calls)))


def as_call(content: str, where: str, place: str) -> str:
    """Return a call that a message's text holds as JSON (or as Python writes a dictionary); other text as it is."""
    for read in (orjson.loads, ast.literal_eval):
        try:
            value = read(content)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict | list):
            return calls_text(value, where, place)
    return f"[tool call] {content}"


def as_result(content: str, name: Any) -> Message:
    """Return what a tool answered as a turn of its own."""
    return Message("tool", f"[tool result: {name}]\n{content}" if name else f"[tool result]\n{content}")


def definitions(tools: Any) -> str | None:
    """Return the tools that were on offer, one line each; None where there were none, as in a text `[]`."""
    listed = _listed(_inside(tools) if isinstance(tools, str) else tools)
    said = [_json(tool) for tool in listed if tool]
    return "\n".join(["[tools]", *said]) if said else None


def transcript(turns: Iterable[Message]) -> str:
    """Return what followed a prompt as one text: the assistant's turns as they are, others under their role."""
    parts = [
        turn.content
        if turn.role == "assistant" or turn.content.startswith("[tool result")
        else f"[{turn.role}]\n{turn.content}"
        for turn in turns
    ]
    return "\n\n".join(part for part in parts if part)


def _call(call: Any, where: str, place: str) -> str:
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(name, str) or not name:
        raise RowError(
            f"{where!r} is a tool call that names no tool",
            code="wrong_type",
            place=place,
            remedy="write it as {function: {name, arguments}}",
        )
    arguments = inner.get("arguments", inner.get("parameters", ""))
    said = arguments if isinstance(arguments, str) else _json(arguments)
    return f"[tool call] {name} {said}".rstrip()


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _inside(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
