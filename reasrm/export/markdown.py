"""Pieces of Markdown that hold other people's text, which cannot leave its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["as_code", "json_block", "short_hash", "table"]

_LONGEST = 200
_INERT = frozenset("`|\\<>")


def as_code(value: Any) -> str:
    """Return somebody's text as inline code that it cannot leave."""
    text = str(value if value is not None else "-")
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    shown = "".join(c if c.isprintable() and c not in _INERT else f"\\u{ord(c):04x}" for c in text)
    return f"`{shown.strip() or '-'}`"


def short_hash(sha256: Any) -> str:
    """Return the beginning of a hash, enough to tell files apart, as code."""
    return as_code(str(sha256)[:12])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; cells are Markdown already."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def json_block(value: Mapping[str, Any]) -> list[str]:
    """Return a value as a block of JSON. Strings keep to their line, so none can close the block."""
    return ["```json", *json.dumps(value, indent=2, sort_keys=True, default=str).split("\n"), "```"]
