"""Reading a log back after whatever happened to it: torn tails, damaged lines and repeated ids are taken out.

No byte is thrown away: what is taken out goes to the torn file first. A rewrite goes through a temporary
file and a rename, so a crash in the middle leaves the old file.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reasrm.durable.index import hash_id, repeated
from reasrm.durable.log import row_of, unseal
from reasrm.errors import EnvironmentProblem, InputError
from reasrm.files import replacing

__all__ = ["Recovered", "recover", "retire"]

_BLOCK = 1 << 20
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a log holds after recovery.

    Args:
        hashes: One id hash per record.
        warnings: What was repaired, one sentence each.
        num_torn_bytes: Bytes moved to the torn file.
    """

    hashes: array[int]
    warnings: tuple[str, ...] = ()
    num_torn_bytes: int = 0


def recover(path: Path, torn: Path, *, strict: bool = False) -> Recovered:
    """Scan a log, repair it, and return the ids in it. A missing file is an empty one.

    Args:
        path: The log.
        torn: Where damaged bytes are appended.
        strict: Refuse damage in the middle instead of repairing it; a torn last line is no damage.

    Raises:
        InputError: With `strict`, a line is damaged or an id repeats.
        EnvironmentProblem: The file cannot be repaired.
    """
    if not path.exists():
        return Recovered(array("Q"))
    try:
        cut = _cut_tail(path, torn)
        warnings = [f"{path.name}: a torn last line of {cut} bytes was moved to {torn.name}"] if cut else []
        hashes, damaged, again = _scan(path)
        if not damaged and not again:
            return Recovered(hashes, tuple(warnings), cut)
        if damaged:
            warnings.append(
                f"{path.name}: damaged {_lines(damaged)} moved to {torn.name}; will be done again"
            )
        if again:
            warnings.append(f"{path.name}: {_lines(again)} repeat an earlier id; the first was kept")
        if strict:
            remedy = "run without --strict to repair it, or with --restart to begin anew"
            raise InputError("; ".join(warnings), place=str(path), remedy=remedy)
        moved = _rewrite(path, torn, {*damaged, *again})
    except OSError as error:
        if isinstance(error, EnvironmentProblem):
            raise
        raise EnvironmentProblem(f"cannot be repaired: {error.strerror}", place=str(path)) from error
    return Recovered(hashes, tuple(warnings), cut + moved)


def retire(path: Path, found: Recovered, current: Iterable[tuple[str, str]]) -> tuple[Recovered, int]:
    """Take the errors of rows that changed, or are gone, out of an error log. A crash leaves the old log or the new.

    Args:
        path: The log, recovered.
        found: What recovery found in it.
        current: Id and digest (hex) of every row of the input as it is now.

    Returns:
        What the log holds now, and how many errors were taken out.

    Raises:
        EnvironmentProblem: The file cannot be rewritten.
    """
    with open(path, "rb") as log:
        now: dict[int, str | None] = {hash_id(row_of(unseal(line) or {})): None for line in log}
    for row_id, digest in current:
        if (key := hash_id(row_id)) in now:
            now[key] = digest

    def holds(line: bytes) -> bool:
        record = unseal(line) or {}
        digest = now[hash_id(row_of(record))]
        return digest is not None and record.get("row_digest") == digest

    with open(path, "rb") as log:
        kept = [holds(line) for line in log]
    num_retired = kept.count(False)
    if not any(kept):
        path.unlink()
        return replace(found, hashes=array("Q")), num_retired
    if num_retired:
        with open(path, "rb") as log, replacing(path) as rest:
            rest.writelines(line for line in log if holds(line))
        found = replace(found, hashes=_scan(path)[0])
    return found, num_retired


def _cut_tail(path: Path, torn: Path) -> int:
    """Move what follows the last newline to the torn file; return its length."""
    with open(path, "r+b") as stream:
        size = end = stream.seek(0, os.SEEK_END)
        while end:
            start = max(end - _BLOCK, 0)
            stream.seek(start)
            end = start + stream.read(end - start).rfind(b"\n") + 1
            if end > start:
                break
        if end == size:
            return 0
        stream.seek(end)
        with open(torn, "ab") as rest:
            rest.write(stream.read())
            rest.flush()
            os.fsync(rest.fileno())
        stream.truncate(end)
        os.fsync(stream.fileno())
    return size - end


def _scan(path: Path) -> tuple[array[int], list[int], list[int]]:
    """Return the id hashes of good lines, the numbers of bad lines, and of lines that repeat an id."""
    hashes, damaged = array("Q"), []
    for number, _, row_id in _numbered(path):
        if row_id is None:
            damaged.append(number)
        else:
            hashes.append(hash_id(row_id))
    keys = {int(key) for key in repeated(hashes)}
    if not keys:
        return hashes, damaged, []
    seen: set[str] = set()
    kept, again = array("Q"), []
    for number, _, row_id in _numbered(path):
        if row_id is None:
            continue
        key = hash_id(row_id)
        if key in keys:
            if row_id in seen:
                again.append(number)
                continue
            seen.add(row_id)
        kept.append(key)
    return kept, damaged, again


def _numbered(path: Path) -> Iterator[tuple[int, bytes, str | None]]:
    with open(path, "rb", buffering=_BLOCK) as stream:
        for number, line in enumerate(stream, 1):
            record = unseal(line)
            row_id = None if record is None else record.get("id")
            yield number, line, row_id if isinstance(row_id, str) else None


def _rewrite(path: Path, torn: Path, drop: set[int]) -> int:
    """Move some lines to the torn file, which is safe before the output is replaced; return their bytes."""
    num_bytes = 0
    with open(path, "rb") as old, replacing(path) as new, open(torn, "ab") as dropped:
        for number, line in enumerate(old, 1):
            (dropped if number in drop else new).write(line)
            num_bytes += len(line) if number in drop else 0
        dropped.flush()
        os.fsync(dropped.fileno())
    return num_bytes


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"{'line' if len(numbers) == 1 else 'lines'} {shown}{more}"
