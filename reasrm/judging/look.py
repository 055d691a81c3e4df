"""Judged rows to look at: which ones, and the texts they were about.

A judged row names its input row by id and digest; the manifest beside the output names the input files. A row whose
digest no longer fits is shown without its texts: other texts would explain nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.durable import read_records
from reasrm.errors import ConfigError, InputError
from reasrm.judging.inputs import JudgeInput
from reasrm.records import Row

__all__ = ["KINDS", "JudgedRow", "find_judged", "join_inputs", "judged_file"]

_READABLE = frozenset({"ok", "split"})

KINDS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "wrong": lambda line: line.get("correct") is False,
    "split": lambda line: line.get("status") == "split",
    "unreadable": lambda line: (
        any(j["status"] != "ok" for j in line["judgments"]) or line.get("status") not in _READABLE
    ),
}
"""What one may ask for: the verdict is not the label, the orders are level, or a judgment was unreadable."""


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One judged row and what it was about.

    Args:
        line: The row as `reasrm judge` wrote it.
        row: The input row, or None where it is not at hand.
        problem: Why it is not at hand.
    """

    line: Mapping[str, Any]
    row: Row | None = None
    problem: str | None = None


def judged_file(path: Path) -> Path:
    """Return the file of judged rows that a path names: itself, or what `reasrm eval` wrote into a folder.

    Raises:
        ConfigError: There is no such file.
    """
    found = path / "judgments.jsonl" if path.is_dir() else path
    if not found.is_file():
        raise ConfigError(
            "there are no judged rows",
            place=str(found),
            remedy="give what judge --output or eval --output wrote",
        )
    return found


def find_judged(
    path: Path, kinds: Sequence[str] = (), ids: Sequence[str] = (), limit: int | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield judged rows in the order of the file.

    Args:
        path: A file of judged rows.
        kinds: Names of `KINDS`; a row of any of them is taken. None of them takes every row.
        ids: Take only rows with these ids.
        limit: Stop after so many.

    Raises:
        InputError: The file is damaged, or holds other records than judged rows.
    """
    wanted = frozenset(ids)
    found = (
        line
        for line in _lines(path)
        if (not wanted or line["id"] in wanted) and (not kinds or any(KINDS[kind](line) for kind in kinds))
    )
    return islice(found, limit)


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(read_records(path), 1):
        if not isinstance(line.get("judgments"), list) or not isinstance(line.get("id"), str):
            raise InputError(
                "is no judged row", place=f"{path.name}:{number}", remedy="give what `reasrm judge` wrote"
            )
        yield line


def join_inputs(lines: Sequence[Mapping[str, Any]], rows: JudgeInput) -> list[JudgedRow]:
    """Give judged rows their texts. Reads the input once or twice; memory grows with `lines` only.

    Args:
        lines: Judged rows.
        rows: The input that they were judged from.
    """
    rows.scan()
    wanted = {line["id"] for line in lines}
    found = {item.id: item for item in rows if item.id in wanted}
    joined = []
    for line in lines:
        item = found.get(line["id"])
        if item is None or item.row is None:
            joined.append(JudgedRow(line, problem="the input has no row of this id"))
        elif line.get("row_digest") not in (None, "", item.digest.hex()):
            joined.append(JudgedRow(line, problem="the input row is another than the one that was judged"))
        else:
            joined.append(JudgedRow(line, item.row))
    return joined
