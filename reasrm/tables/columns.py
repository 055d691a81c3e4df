"""Which column of a foreign row holds which field: `prompt=question,chosen=meta.answers[-1]`.

The right side is the name of a column, or a path into it: names after dots, positions in brackets, negative ones from
the end. `prompt=instruction+input` joins texts, empty ones left out, by a blank line. A column whose whole name is the
right side wins over a path. A path goes into a text that is itself JSON.
An empty right side leaves the column of that name out. Columns that were named are gone from the row afterwards,
`meta` excepted; those that nobody named stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator

from reasrm.config import nearest, read_yaml
from reasrm.errors import ConfigError, InputError, RowError

__all__ = [
    "ColumnMap",
    "Columns",
    "check_fields",
    "given_columns",
    "lacking_columns",
    "parse_columns",
    "parse_path",
]

Columns = Mapping[str, str]
"""Field → column or path; empty: the column of that name is left out."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?[0-9]{1,9})\]")
_FIRST = re.compile(r"[^.\[\]]+")
_ABSENT = object()


def parse_columns(value: Any) -> dict[str, str]:
    """Return the columns that `field=column,…` or a mapping names.

    Raises:
        ConfigError: It is neither, or a path cannot be read.
    """
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(equals and field.strip() for field, equals, _ in parts):
            raise ConfigError(f"columns {value!r}", remedy="write field=column,field=column")
        named = [(field.strip(), column.strip()) for field, _, column in parts]
        if len(dict(named)) < len(named):
            raise ConfigError(f"columns {value!r} name a field twice", remedy="name each field once")
        value = dict(named)
    if not isinstance(value, Mapping) or not all(isinstance(x, str) for pair in value.items() for x in pair):
        raise ConfigError("is no list of columns", remedy="write lines 'field: column'")
    for column in value.values():
        for path in column.split("+"):
            parse_path(path)
    return dict(value)


def given_columns(value: str | None) -> dict[str, str]:
    """Return what `--columns` says: `field=column,…`, or a YAML file with lines `field: column`."""
    if value is None:
        return {}
    if "=" in value or not (Path(value).suffix or Path(value).exists()):
        return parse_columns(value)
    found = read_yaml(Path(value))
    try:
        columns = parse_columns(found if isinstance(found, dict) else None)
    except ConfigError as error:
        raise ConfigError(error.message, place=value, remedy=error.remedy) from error
    if not columns:
        raise ConfigError("is no list of columns", place=value, remedy="write lines 'field: column'")
    return columns


def _of_config(value: Any) -> Any:
    try:
        return parse_columns({} if value is None else value)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.remedy}") from error


ColumnMap = Annotated[dict[str, str], BeforeValidator(_of_config)]
"""The key `columns:` of a config, a mapping or the text of the flag."""


def check_fields(columns: Columns, fields: Iterable[str], reader: str) -> None:
    """Raise `ConfigError` where a column is named for a field that nobody reads; what is left out may be any."""
    known = set(fields)
    for field, column in columns.items():
        if column and field not in known:
            guess = nearest(field, known)
            raise ConfigError(
                f"{reader} reads no field {field!r}",
                remedy=f"did you mean {guess!r}?" if guess else f"it reads {', '.join(sorted(known))}",
            )


def parse_path(text: str) -> tuple[str | int, ...]:
    """Return the steps of a path, names and positions; none for an empty text.

    Raises:
        ConfigError: It is no path; the message names the character.
    """
    if not text:
        return ()
    first = _FIRST.match(text)
    steps: list[str | int] = [first.group()] if first else []
    position = first.end() if first else 0
    while first and position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            break
        steps.append(step[1] if step[1] is not None else int(step[2]))
        position = step.end()
    if position < len(text):
        raise ConfigError(
            f"the path {text!r} cannot be read at character {position + 1}",
            remedy="write it as messages[0].content or meta.answers[-1]",
        )
    return tuple(steps)


def lacking_columns(names: Iterable[str], rows: Sequence[Mapping[str, Any]], place: str) -> InputError:
    """Return the error for columns that none of a file's first rows has."""
    return InputError(
        f"the first rows have no {', '.join(map(repr, names))}; "
        f"they have {', '.join(map(repr, list(rows[0])[:20])) or 'no keys'}",
        place=place,
        remedy="name this file's columns: --columns field=column,…",
    )


class Renamer:
    """Gives rows their fields by the columns that hold them.

    Args:
        columns: Field → column or path.
    """

    def __init__(self, columns: Columns) -> None:
        self._paths = {
            field: [(path, parse_path(path)) for path in column.split("+")]
            for field, column in columns.items()
            if column
        }
        self.left_out = frozenset(field for field, column in columns.items() if not column)

    def __bool__(self) -> bool:
        return bool(self._paths or self.left_out)

    def lacking(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the columns that none of some rows has."""
        seen = {key for row in rows for key in row}
        wanted = [
            path
            for paths in self._paths.values()
            for path, steps in paths
            if not {path, steps[0], "+".join(name for name, _ in paths)} & seen
        ]
        return list(dict.fromkeys(wanted))

    def check(self, rows: list[Mapping[str, Any]], place: str) -> None:
        """Raise `InputError` if a column that was named is in none of a file's first rows."""
        lacking = self.lacking(rows)
        if lacking and rows:
            raise lacking_columns(lacking, rows, place)

    def __call__(self, row: dict[str, Any], place: str) -> dict[str, Any]:
        """Return the row with its fields.

        Raises:
            RowError: A path leads into something that has no such parts.
        """
        found: dict[str, Any] = {}
        gone = set(self.left_out)
        for field, paths in self._paths.items():
            whole = "+".join(path for path, _ in paths)
            values = []
            for path, steps in [(whole, (whole,))] if whole in row else paths:
                steps = (path,) if path in row else steps
                gone.add(str(steps[0]))
                value = _walk(row, steps, path, place)
                if value is not _ABSENT:
                    values.append(value)
            if values:
                found[field] = values[0] if len(values) == 1 else _joined(values, whole, place)
        return {key: value for key, value in row.items() if key not in gone or key == "meta"} | found


def _walk(row: Any, steps: tuple[str | int, ...], path: str, place: str) -> Any:
    """Return what a path leads to; an absent key, a position beyond the end and null are absent."""
    value = row
    for step in steps:
        if value is None:
            return _ABSENT
        if isinstance(value, str):
            value = _inside(value)
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list):
            value = value[step] if -len(value) <= step < len(value) else None
        else:
            wanted = "an object" if isinstance(step, str) else "a list"
            raise RowError(
                f"the path {path!r} needs {wanted} at {step!r}, and the row has a {type(value).__name__}",
                code="bad_path",
                place=place,
                remedy="correct the path in --columns",
            )
    return _ABSENT if value is None else value


def _joined(values: list[Any], whole: str, place: str) -> str:
    for value in values:
        if not isinstance(value, str):
            raise RowError(
                f"{whole!r} joins texts, and the row has a {type(value).__name__}",
                code="wrong_type",
                place=place,
                remedy="name one column in --columns, or a path to a text",
            )
    return "\n\n".join(value for value in values if value.strip())


def _inside(text: str) -> Any:
    """Return what a text says that is itself JSON; any other as it is."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
