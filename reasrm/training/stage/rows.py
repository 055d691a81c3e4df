"""What every stage says of its rows: which are not learned from and why, and what two sets of rows have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasrm.errors import InputError, ReasrmError, RowError
from reasrm.records import Comparison

__all__ = [
    "Dropped",
    "SharedRows",
    "count_reasons",
    "dropped_remark",
    "dropped_row",
    "nothing_left",
    "overlap",
]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that is not learned from."""

    id: str | None
    place: str
    code: str
    message: str
    num_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row of `dropped.jsonl`."""
        file, _, row = self.place.rpartition(":")
        line = row.removeprefix("row ")
        return {
            "id": self.id,
            "file": file,
            "line": int(line) if line.isdigit() else None,
            "code": self.code,
            "message": self.message,
            "num_tokens": self.num_tokens,
        }


def count_reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Return reason → number of rows dropped for it, commonest first."""
    return dict(Counter(row.code for row in dropped).most_common())


def dropped_remark(name: str, dropped: Sequence[Dropped], kept: int) -> Iterator[str]:
    """Say how many rows of a part are not learned from, if any."""
    if dropped:
        reasons = ", ".join(f"{count} {code}" for code, count in count_reasons(dropped).items())
        yield f"warning: {len(dropped)} {name} rows dropped ({reasons}), {kept} kept"


def dropped_row(row_id: str | None, place: str, error: ReasrmError | None) -> Dropped:
    """Return a row that could not be read, with the reason."""
    code = error.code if isinstance(error, RowError) else "bad_json"
    return Dropped(row_id, place, code, str(error))


def nothing_left(
    files: Iterable[str | Path], dropped: Sequence[Dropped], wanted: str, remedies: Mapping[str, str]
) -> InputError:
    """Return the error for files of which no row is left, naming the commonest reason.

    Args:
        files: Their names.
        dropped: All rows, none of them kept.
        wanted: What the files should hold.
        remedies: What to do, by reason.
    """
    names = ", ".join(str(file) for file in files)
    if not dropped:
        return InputError("holds no rows", place=names, remedy=f"name a file of {wanted}")
    code, count = next(iter(count_reasons(dropped).items()))
    first = next(row for row in dropped if row.code == code)
    return InputError(
        f"none of {len(dropped)} rows can be learned from; {count} are {code}, the first: {first.message}",
        place=names,
        remedy=remedies.get(code, "correct the rows"),
    )


@dataclass(frozen=True, slots=True)
class SharedRows:
    """What rows that are measured on have in common with rows that are learned from.

    Args:
        rows: Pairs that are in both: the same prompt and responses, in either order.
        prompts: Pairs whose prompt is in both, those included.
    """

    rows: int
    prompts: int


def overlap(measured: Iterable[Comparison], learned: Iterable[Comparison]) -> SharedRows:
    """Return how many pairs of one are in the other, too; a pair shown in both orders counts once."""
    learned = list(learned)
    prompts, rows = {pair.prompt for pair in learned}, {_content(pair) for pair in learned}
    pairs = {pair.id: pair for pair in measured}.values()
    return SharedRows(
        sum(_content(pair) in rows for pair in pairs), sum(pair.prompt in prompts for pair in pairs)
    )


def _content(pair: Comparison) -> tuple[object, frozenset[str]]:
    return pair.prompt, frozenset((pair.response_a, pair.response_b))
