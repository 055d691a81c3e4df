"""Going on with what an earlier run recorded, if it still is about the rows of today's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasrm.durable.manifest import IdentityMismatch
from reasrm.durable.map import DurableMap, ResumeState
from reasrm.errors import ConfigError, InputError

__all__ = ["check_all_done", "rows_of", "start_journal"]


def check_all_done(paths: Sequence[Path], counted: int, done: int) -> None:
    """Raise `InputError` if a run is at its end and not everything that validation counted has come to something.

    Args:
        paths: The input.
        counted: Rows and invalid lines that validation counted.
        done: Those found again, or those with a record or an error.
    """
    if counted != done:
        raise InputError(
            f"{counted} rows were counted, {done} came to something: the input changed meanwhile",
            place=", ".join(map(str, paths)),
            remedy="leave it as it is and run the same command again",
        )


def rows_of(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield id and digest (hex) of each row once, from those of its judgments, which stand side by side."""
    last: tuple[str, bytes] | None = None
    for item in items:
        if item != last:
            yield item[0], item[1].hex()
        last = item


def start_journal(
    journal: DurableMap,
    identity: Mapping[str, Any],
    current: Callable[[], Iterable[tuple[str, str]]],
    *,
    restart: bool,
    retry_errors: bool,
    strict: bool = False,
) -> ResumeState:
    """Start a journal. A changed input is taken over if every row with a record is still there, unchanged.

    So a broken line can be mended and rows can be added without doing the others again: errors of rows that changed or
    went are taken out of the error file, and the rows are tried again.

    Args:
        journal: The output.
        identity: What must be equal for a run to be continued; its `input_sha256` may change.
        current: Returns id and digest (hex) of every row of the input as it is now.
        restart: Move an earlier run's files aside and begin anew.
        retry_errors: Try all rows of the error file again.
        strict: Refuse a damaged output or a changed input.

    Raises:
        ConfigError: The output belongs to another run, or rows changed; the message names them.
    """
    try:
        return journal.start(
            identity, restart=restart, retry_errors=retry_errors, strict=strict, current=current
        )
    except IdentityMismatch as mismatch:
        if mismatch.keys != {"input_sha256"}:
            raise
        changes = journal.changed_rows(current())
        if strict or changes.num_changed or changes.num_missing:
            raise ConfigError(
                f"the input changed since this output was begun: {changes}",
                place=str(journal.output),
                remedy="restore the input, choose another output, or begin anew with --restart",
            ) from mismatch
    resume = journal.start(identity, retry_errors=retry_errors, strict=strict, adopt=True, current=current)
    notice = f"the input changed, but no row that has a record: {changes}"
    return replace(resume, warnings=(notice, *resume.warnings))
