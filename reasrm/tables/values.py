"""What a typed column's value is in JSON: timestamps as ISO text, decimals as numbers, bytes refused by name.

A null is an absent key everywhere: libraries that write typed tables pad rows with nulls for keys that only other rows
have. Nulls in lists stay.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from reasrm.errors import RowError

__all__ = ["to_json", "without_nulls"]


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the keys whose values are null, at any depth."""
    if type(value) is dict:
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    if type(value) is list:
        return [without_nulls(child) for child in value]
    return value


def to_json(value: Any, where: str, place: str) -> Any:
    """Return a table's value as JSON has it, without null keys.

    Args:
        value: As Arrow gives it to Python.
        where: The column, or the path below it.
        place: For the error.

    Raises:
        RowError: It holds bytes, NaN or infinity, or something that JSON cannot say.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise _refused(where, f"holds {value}, which is not JSON", "not_finite", place)
    if isinstance(value, Mapping):
        return {
            str(key): to_json(child, f"{where}.{key}", place)
            for key, child in value.items()
            if child is not None
        }
    if isinstance(value, list | tuple):
        return [to_json(child, f"{where}[{n}]", place) for n, child in enumerate(value)]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise _refused(where, f"holds {len(value)} bytes, which are no text", "binary", place)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy
        return to_json(value.tolist(), where, place)
    raise _refused(where, f"holds a {kind.__name__}, which JSON cannot say", "wrong_type", place)


def _refused(where: str, message: str, code: str, place: str) -> RowError:
    column = where.partition(".")[0].partition("[")[0]
    return RowError(
        f"the column {where!r} {message}",
        code=code,
        place=place,
        remedy=f"convert it, or leave it out: --columns {column}=",
    )
