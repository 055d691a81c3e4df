"""A model's reply as strict JSON: one array, or one value per line, with nothing around it but one code fence.

A reply may say something in words before and after a fence; without one, words make it unreadable. No key twice, no
NaN, no character that UTF-8 cannot hold. Control characters inside strings, such as line breaks, are taken as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

__all__ = ["read_list"]

_MARK = re.compile(r"^[ \t]*```[a-zA-Z]*[ \t]*$", re.MULTILINE)
_LINE_END = re.compile(r"[ \t\r]*(?:\n+|\Z)")
_FENCE = re.compile(r"^[ \t]*```[a-zA-Z]*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)


def read_list(reply: str) -> list[Any] | None:
    """Return the list that a reply is: an array, or its lines, each an object; None if it is neither."""
    if len(_MARK.findall(reply)) > 2:  # counted first: many that open and none that closes would take long
        return None
    fenced = _FENCE.search(reply)
    body = (fenced[1] if fenced else reply).strip()
    if not body:
        return None
    try:
        found = _DECODER.decode(body) if body.startswith("[") else _read_lines(body)
        json.dumps(found, ensure_ascii=False).encode()  # an escape may stand for half a character
    except (ValueError, RecursionError):
        return None
    return list(found)


def _read_lines(body: str) -> list[Any]:
    """Return the values that follow each other, each ending its line."""
    found: list[Any] = []
    at = 0
    while at < len(body):
        value, end = _DECODER.raw_decode(body, at)
        ended = _LINE_END.match(body, end)
        if ended is None:
            raise ValueError("something follows a value on its line")
        found.append(value)
        at = ended.end()
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, strict=False)
