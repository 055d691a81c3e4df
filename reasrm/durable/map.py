"""The durable map: row id → record, appended as rows finish, continued after any interruption."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reasrm import __version__
from reasrm.durable.changes import RowChanges, find_changes
from reasrm.durable.folders import set_aside
from reasrm.durable.index import IdIndex
from reasrm.durable.lock import OutputLock
from reasrm.durable.log import AppendLog, read_records, seal
from reasrm.durable.manifest import check_identity, read_manifest, write_manifest
from reasrm.durable.paths import OutputPaths, check_output
from reasrm.durable.recovery import recover, retire
from reasrm.errors import ConfigError, InternalError
from reasrm.files import fsync, remove_empty, write_json_atomic
from reasrm.pipes import pipe_name

__all__ = ["DurableMap", "ResumeState", "notes_of"]

_NOT_OPEN = "a durable map was written to before it was started, or after it was closed"
_OUTLIVES = ("cost",)  # what was spent was spent, although nothing was recorded


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What `start` found.

    Args:
        num_done: Rows with a record.
        num_errors: Rows recorded as failed; 0 after `retry_errors`.
        warnings: What was repaired or moved aside, one sentence each.
        num_torn_bytes: Bytes that recovery moved to `OUT.torn`.
        resumed: Whether an earlier run is continued.
    """

    num_done: int = 0
    num_errors: int = 0
    warnings: tuple[str, ...] = ()
    num_torn_bytes: int = 0
    resumed: bool = False


class DurableMap:
    """An output that one process at a time appends to. Construct it, `start` it, then `put` and `fail`.

    Construction checks the paths and takes the lock, and touches nothing else. `put` and `fail` may be
    called from several threads. Use it as a context manager, or call `close`.

    Args:
        output: Where records go. Symbolic links are followed; the other files stand beside the real one.
        inputs: Files that are read, which must not be written to.
        kind: What makes the records: `judge`, `distill`, ….

    Raises:
        ConfigError: The output path is not usable, or is one of the inputs.
        EnvironmentProblem: The output is read-only.
        LockedError: Another process writes it.
    """

    def __init__(self, output: Path, *, inputs: Sequence[Path] = (), kind: str = "judge") -> None:
        self.kind = kind
        self._paths = check_output(output, inputs)
        self._piped = [name for path in inputs if (name := pipe_name(path)) is not None]
        self._started = False
        self._lock = OutputLock(self._paths.lock)
        self._guard = threading.Lock()
        self._log: AppendLog | None = None
        self._error_log: AppendLog | None = None
        self._done = IdIndex()
        self._failed = IdIndex()

    @property
    def output(self) -> Path:
        """The file of finished records."""
        return self._paths.output

    @property
    def errors_path(self) -> Path:
        """The file of failed rows; absent while there are none."""
        return self._paths.errors

    @property
    def identity(self) -> dict[str, Any]:
        """The identity of the run that the output holds, empty where it holds none."""
        manifest = read_manifest(self._paths.manifest)
        return {} if manifest is None else dict(manifest["identity"])

    @property
    def num_done(self) -> int:
        """Rows with a record."""
        return len(self._done)

    @property
    def num_errors(self) -> int:
        """Rows recorded as failed."""
        return len(self._failed)

    @property
    def notes(self) -> dict[str, Any]:
        """What `annotate` kept, by name; of earlier runs, too."""
        return _notes(self._paths)

    def annotate(self, name: str, note: Mapping[str, Any]) -> None:
        """Keep in the manifest what was found while the run went on, in place of an earlier note of that name."""
        with self._guard:
            manifest = read_manifest(self._paths.manifest)
            if self._log is None or manifest is None:
                raise InternalError(_NOT_OPEN)
            notes = {**(manifest.get("notes") or {}), name: dict(note)}
            write_json_atomic(self._paths.manifest, {**manifest, "notes": notes})

    def start(
        self,
        identity: Mapping[str, Any],
        *,
        restart: bool = False,
        retry_errors: bool = False,
        strict: bool = False,
        adopt: bool = False,
        current: Callable[[], Iterable[tuple[str, str]]] | None = None,
    ) -> ResumeState:
        """Continue the run that the output holds, or begin one.

        Args:
            identity: What must be equal for a run to be continued; JSON values.
            restart: Move an earlier run's files aside (`OUT.old-1`, …) and begin anew.
            retry_errors: Move the error file aside, so that its rows are tried again.
            strict: Refuse a damaged output instead of repairing it.
            adopt: Take over a run of another identity, whose records the caller has found to hold still.
            current: Returns id and digest (hex) of every row of the input as it is now; called only if there are
                errors: those of rows that changed or went are taken out, so that the rows are tried again.

        Raises:
            IdentityMismatch: The output belongs to a run with another identity.
            ConfigError: The output has no manifest, or one from a newer version.
            InputError: With `strict`, the output is damaged.
            EnvironmentProblem: The disk fails.
        """
        if self._log is not None:
            raise InternalError("a durable map was started twice")
        paths, warnings = self._paths, []
        if restart:
            warnings += _moved(set_aside([p for p in paths if p != paths.lock]))
        resumed = self._check_manifest(identity, adopt)
        if retry_errors:
            warnings += _moved(set_aside([paths.errors]))
        done = recover(paths.output, paths.torn, strict=strict)
        failed = recover(paths.errors, paths.torn, strict=strict)
        if current is not None and failed.hashes:
            failed, num_retired = retire(paths.errors, failed, current())
            if num_retired:
                warnings.append(f"{num_retired} errors of rows that changed or went were taken out")
        if not failed.hashes:  # a process that was killed before its first line may have left an empty file
            paths.errors.unlink(missing_ok=True)
        self._done, self._failed = IdIndex(done.hashes), IdIndex(failed.hashes)
        if not resumed or adopt:
            notes = {name: note for name, note in self.notes.items() if resumed or name in _OUTLIVES}
            write_manifest(paths.manifest, self.kind, identity, __version__, notes=notes, piped=self._piped)
        self._started = True
        self._log = AppendLog(paths.output)
        fsync(paths.output.parent)
        return ResumeState(
            num_done=self.num_done,
            num_errors=self.num_errors,
            warnings=(*warnings, *done.warnings, *failed.warnings),
            num_torn_bytes=done.num_torn_bytes + failed.num_torn_bytes,
            resumed=resumed,
        )

    def done(self, row_id: str) -> bool:
        """Whether a row needs no more work: it has a record, or it failed and is not to be tried again."""
        return row_id in self._done or row_id in self._failed

    def put(self, row_id: str, record: Mapping[str, Any], digest: bytes = b"") -> None:
        """Record a finished row. Once this returns, a killed process does not lose it.

        Args:
            row_id: The row's id; it becomes the record's first key.
            record: JSON values; not `row_digest` or `crc32`, which are added here.
            digest: The digest of the input row, to tell later whether it changed.

        Raises:
            InternalError: The id has a record already, or the record is not JSON.
            EnvironmentProblem: The disk is full or fails; the file holds whole records only.
        """
        line = _seal_row(row_id, record, digest)
        with self._guard:
            if self._log is None:
                raise InternalError(_NOT_OPEN)
            if row_id in self._done:
                raise InternalError(f"the row {row_id!r} was recorded twice")
            self._log.append(line)
            self._done.add(row_id)

    def fail(self, row_id: str, record: Mapping[str, Any], digest: bytes = b"") -> None:
        """Record a row that failed: `code`, `message`, `attempts`, `place`. Arguments and errors as in `put`.

        What failed may have a name of its own; then the record's key `row` or `pair` holds the row's id.
        """
        line = _seal_row(row_id, record, digest)
        with self._guard:
            if self._log is None:
                raise InternalError(_NOT_OPEN)
            if self._error_log is None:
                self._error_log = AppendLog(self._paths.errors)
                fsync(self._paths.output.parent)
            if row_id in self._failed:
                raise InternalError(f"the row {row_id!r} was recorded as failed twice")
            self._error_log.append(line)
            self._failed.add(row_id)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the finished records, `crc32` removed."""
        return read_records(self._paths.output)

    def errors(self) -> Iterator[dict[str, Any]]:
        """Yield the failed rows, `crc32` removed."""
        return read_records(self._paths.errors) if self._paths.errors.exists() else iter(())

    def changed_rows(self, current: Iterable[tuple[str, str]]) -> RowChanges:
        """Compare an input with what is recorded; works before `start`, after it refused.

        Args:
            current: Id and digest (hex) of every row of the input as it is now.
        """
        return find_changes(self._paths.output, current)

    def close(self) -> None:
        """Sync, close and unlock; a map that was never started leaves nothing. Calling it twice is harmless."""
        self._close(refused=False)

    def _close(self, *, refused: bool) -> None:
        try:
            for log in (self._log, self._error_log):
                if log is not None:
                    log.close()
            self._log = self._error_log = None
            if refused and self._started and not self.num_done and not self.num_errors and not self._spent():
                self._paths.output.unlink(missing_ok=True)
                self._paths.manifest.unlink(missing_ok=True)
                self._started = False
        finally:
            self._lock.release(unused=not self._started)
            if not self._started:
                remove_empty(self._paths.made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a run that an error ended before anything was recorded or spent leaves nothing."""
        self._close(refused=kind is not None)

    def _spent(self) -> int:
        """Tokens that the manifest's note of cost names."""
        by = (self.notes.get("cost") or {}).get("by") or {}
        return sum(
            count for spent in by.values() for name, count in spent.items() if name.endswith("_tokens")
        )

    def _check_manifest(self, identity: Mapping[str, Any], adopt: bool) -> bool:
        """Return whether there is a run to continue. One that recorded nothing binds nobody."""
        paths = self._paths
        manifest = read_manifest(paths.manifest)
        written = [path for path in (paths.output, paths.errors) if path.exists() and path.stat().st_size]
        if manifest is not None and written:
            if not adopt:
                check_identity(paths.manifest, manifest, self.kind, identity)
            return True
        if manifest is None:
            for path in written:
                raise ConfigError(
                    f"{path.name!r} exists and has no manifest, so it is not known what it holds",
                    place=str(paths.output),
                    remedy="choose another output, or pass --restart to move the file aside and begin anew",
                )
        return False


def notes_of(output: Path) -> dict[str, Any]:
    """Return what `DurableMap.annotate` kept beside an output, by name; nothing where there is none."""
    return _notes(OutputPaths(Path(os.path.realpath(output))))


def _notes(paths: OutputPaths) -> dict[str, Any]:
    return dict((read_manifest(paths.manifest) or {}).get("notes") or {})


def _seal_row(row_id: str, record: Mapping[str, Any], digest: bytes) -> bytes:
    if "row_digest" in record:
        raise InternalError(f"the record of {row_id!r} has a key 'row_digest'")
    if record.get("id", row_id) != row_id:
        raise InternalError(f"the record of {row_id!r} has the id {record['id']!r}")
    return seal({"id": row_id, **record, "row_digest": digest.hex()})


def _moved(aside: Sequence[Path]) -> list[str]:
    names = ", ".join(path.name for path in aside)
    return [f"earlier files were moved aside to {names}"] if aside else []
