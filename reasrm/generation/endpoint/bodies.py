"""Reading leniently what a server sent: half an emoji, a byte-order mark, NaN, bytes that are no UTF-8."""

from __future__ import annotations

import html
import json
import re
from typing import Any

__all__ = ["excerpt", "one_line", "read_json", "whole"]

_LONGEST = 500
_ONCE = ("choices", "message", "content", "finish_reason")


def read_json(body: bytes) -> Any:
    """Return the JSON value of a body.

    Raises:
        ValueError: It is none, or says twice what only one answer can be read from.
    """
    text = body.decode("utf-8-sig", "replace")
    try:
        return json.loads(text, parse_int=_whole_number, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) and any(sum(key == name for key, _ in pairs) > 1 for name in _ONCE):
        raise ValueError("a key occurs twice")
    return found


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def whole(text: str) -> str:
    """Return the text with unpaired surrogates, which no file can hold, as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return a text for a message: mark-up taken away, white space folded, cut."""
    if re.match(r"\s*<(?:!doctype|html|\?xml|head|body)\b", text, re.IGNORECASE):
        text = html.unescape(re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text))
    text = " ".join(whole(text).split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= longest else f"{text[:longest]}…"


def excerpt(body: bytes) -> str:
    """Return the beginning of a body that could not be read, for a message."""
    return repr(one_line(body[:4000].decode("utf-8", "replace"), 200))
