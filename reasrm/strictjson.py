"""What may stand in one row of JSON, and how one is written: strict both ways, with the reason for a refusal.

orjson does the work. What it lets pass in silence is checked here: integers beyond 64 bits (it turns them
into floats), keys named twice (it keeps the last), NaN (it writes null). Each has a fast test that lets nearly all rows
pass, and a slow one.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from reasrm.errors import InternalError, RowError

__all__ = ["MAX_DEPTH", "dumps", "parse_object", "parses"]

MAX_DEPTH = 128
"""Deepest nesting of a row; what is read can be written again (orjson writes 254 levels)."""

# One pass over a row: digits become "0" and opening brackets "[", so that two fast searches find the rows
# that may hold an integer beyond 64 bits or nest too deep.
_SHAPE = bytes(ord("0" if b in b"0123456789" else "[" if b in b"[{" else "x") for b in range(256))
_LONG_NUMBER = b"0" * 19
_BLOCK = 1 << 20
_NAMED = re.compile(rb'"[ \t\n\r]*:')
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_KINDS = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_REMEDY = "correct the row or leave it out"


def parse_object(body: bytes, place: str) -> dict[str, Any]:
    """Return the object that a row holds.

    Args:
        body: The row's bytes.
        place: File and line, for the error.

    Raises:
        RowError: There is no such object; the code says why.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _explain(body, error, place) from None
    long_number, num_opened = _survey(body)
    if num_opened > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise _too_deep(place)
    # Every key stands before a colon, and so may text that quotes JSON: more of these than keys is a reason to look.
    if long_number or len(_NAMED.findall(body)) != _num_keys(data):
        _check_slowly(body, place)
    if type(data) is not dict:
        raise RowError(
            f"the row is {_KINDS.get(type(data), 'a number')}, not an object",
            code="not_object",
            place=place,
            remedy="write one object per line",
        )
    return data


def _survey(body: bytes) -> tuple[bool, int]:
    """Whether 19 digits stand in a row, and at least how many brackets open. Long rows go in blocks."""
    if len(body) <= _BLOCK:
        shape = body.translate(_SHAPE)
        return _LONG_NUMBER in shape, shape.count(b"[")
    shapes = (body[i : i + _BLOCK + len(_LONG_NUMBER)].translate(_SHAPE) for i in range(0, len(body), _BLOCK))
    found = [(_LONG_NUMBER in shape, shape.count(b"[")) for shape in shapes]
    return any(long for long, _ in found), sum(opened for _, opened in found)


def parses(text: bytes) -> bool:
    """Whether some bytes are one JSON value."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def dumps(record: Any) -> bytes:
    """Return a value as one line of strict JSON, UTF-8, without the newline.

    Raises:
        InternalError: The value holds NaN or infinity, or something that JSON cannot say.
    """
    try:
        line = orjson.dumps(record)
    except TypeError as error:
        raise InternalError(f"a record cannot be written as JSON: {error}") from error
    # orjson writes NaN as null; only a line with a null can hide one.
    if b"null" in line and (where := _not_finite(record, "")) is not None:
        raise InternalError(f"a record cannot be written as JSON: NaN or infinity at {where or 'its top'}")
    return line


def _explain(body: bytes, error: orjson.JSONDecodeError, place: str) -> RowError:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as bad:
        found = body[bad.start : bad.start + 4].hex(" ")
        return RowError(
            f"malformed UTF-8 at byte {bad.start} of the row ({found})",
            code="bad_utf8",
            place=place,
            remedy="save the file as UTF-8",
        )
    offset = len(text[: error.pos].encode())
    if "surrogate" in error.msg:
        message, code = f"an escaped lone surrogate at byte {offset} of the row is no character", "bad_utf8"
    elif "depth limit" in error.msg:
        return _too_deep(place)
    elif "infinity" in error.msg or any(
        _NOT_FINITE.match(text, max(p, 0)) for p in (error.pos - 1, error.pos)
    ):
        message, code = f"NaN or infinity at byte {offset} of the row is not JSON", "not_finite"
    else:
        reason = error.msg.partition(": line ")[0]
        message, code = f"not valid JSON at byte {offset} of the row: {reason}", "bad_json"
    return RowError(message, code=code, place=place, remedy=_REMEDY)


def _too_deep(place: str) -> RowError:
    return RowError(f"nested deeper than {MAX_DEPTH} levels", code="too_deep", place=place, remedy=_REMEDY)


def _check_slowly(body: bytes, place: str) -> None:
    """Look at every integer and every key; orjson shows neither."""

    def integer(digits: str) -> None:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            shown = digits if len(digits) <= 40 else f"{digits[:40]}… ({len(digits)} digits)"
            raise RowError(
                f"the integer {shown} does not fit 64 bits",
                code="big_integer",
                place=place,
                remedy="write it as a string",
            )

    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RowError(
                    f"the key {key!r} appears twice in one object",
                    code="duplicate_key",
                    place=place,
                    remedy="keep one of the two",
                )
            seen.add(key)

    json.loads(body, parse_int=integer, object_pairs_hook=unique)


def _num_keys(value: Any) -> int:
    """The keys of all objects in a value."""
    if type(value) is dict:
        return len(value) + sum([_num_keys(v) for v in value.values() if type(v) in (dict, list)])
    return sum([_num_keys(v) for v in value if type(v) in (dict, list)]) if type(value) is list else 0


def _depth(value: Any) -> int:
    """Nesting depth without recursion; a scalar has depth 0."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return depth


def _not_finite(value: Any, where: str) -> str | None:
    """The path of the first NaN or infinity in a value, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else where
    if isinstance(value, dict):
        pairs: Any = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    else:
        return None
    paths = (_not_finite(child, f"{where}.{key}") for key, child in pairs)
    return next((path for path in paths if path is not None), None)
