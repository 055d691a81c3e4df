"""The folder of one training run: what it was told, what it read, what it measured, and who writes it.

A run in which nothing was measured or saved yet is begun anew without asking: there is nothing to lose.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, get_args

from reasrm.durable import OutputLock, open_folder, refuse_others
from reasrm.errors import ConfigError, EnvironmentProblem, InternalError, ReasrmError, RowError
from reasrm.files import remove_empty, replacing, write_json_atomic
from reasrm.runs.identity import describe_run, expect_same, hash_config, merge, read_json, read_manifest
from reasrm.runs.origin import with_origins
from reasrm.strictjson import dumps, parse_object

__all__ = ["RunFolder"]

Log = Literal["metrics", "samples", "canary"]
"""The logs of a run, each `NAME.jsonl`: numbers, some rollouts with their rewards, fixed pairs judged along the way."""

_BEFORE_IT_BEGINS = {"run.lock", "manifest.json", "config.json", "log.txt", "checkpoints"}
_CONTINUE = "pass --resume to continue it, or choose another --run-dir"


class RunFolder:
    """A run folder. Make one with `open` (the writer, locked) or `join` (any other process of the run).

    Attributes:
        path: The folder, absolute.
        writable: Whether this process is the writer.
        resumed: Whether the folder already held the run.
    """

    def __init__(
        self, path: Path, lock: OutputLock | None, *, resumed: bool, made: Sequence[Path] = ()
    ) -> None:
        self.path = path
        self._made = made
        self.resumed = resumed
        self._lock = lock
        self._streams: dict[str, BinaryIO] = {}

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        stage: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Path],
        seed: int,
        resume: bool,
        volatile: frozenset[str] = frozenset(),
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> RunFolder:
        """Begin a run, or go on with one, as its only writer. Call it before any model is loaded.

        Args:
            path: The folder; made if absent.
            stage: The command: `sft`.
            config: The resolved config, as JSON values.
            inputs: Name → file or folder that is read; hashed.
            seed: Of the run.
            resume: Go on with the run that the folder holds; one that holds none is begun.
            volatile: Dotted keys of the config, with all below them, that cannot change the result.
            earlier: The same config in the shapes in which earlier versions wrote it; their runs go on.

        Raises:
            LockedError: Another process writes the folder.
            ConfigError: The folder holds a run and `resume` is false, or another run than this one, or other files.
            InputError: An input cannot be read, or is not what the run read.
            EnvironmentProblem: The folder cannot be written.
        """
        folder, made = open_folder(path, "--run-dir")
        if (folder / "checkpoints").exists():
            open_folder(folder / "checkpoints", "--run-dir")
        lock = OutputLock(folder / "run.lock")
        try:
            recorded = read_manifest(folder)
            if recorded is None:
                refuse_others(folder, "run", ("run.lock",), "manifest.json", "--run-dir")
            elif not _is_begun(folder):
                recorded = None
            elif recorded["stage"] != stage:
                said = f"the folder holds a run of the stage {recorded['stage']!r}, not {stage!r}"
                raise ConfigError(said, place=str(folder), remedy="choose another --run-dir")
            elif not resume:
                raise ConfigError("the folder holds a run already", place=str(folder), remedy=_CONTINUE)
            manifest = with_origins(describe_run(stage, config, inputs, seed, volatile), config)
            if recorded is not None:
                if recorded["config_hash"] in (hash_config(shape, volatile) for shape in earlier):
                    manifest["config_hash"] = recorded["config_hash"]
                expect_same(folder, recorded, manifest, config, volatile)
                manifest = merge(folder, recorded, manifest)
            if manifest != recorded:
                write_json_atomic(folder / "manifest.json", manifest)
            write_json_atomic(folder / "config.json", config)
            (folder / "checkpoints").mkdir(exist_ok=True)
        except BaseException:
            lock.release(unused=True)
            remove_empty(made)
            raise
        return cls(folder, lock, resumed=recorded is not None, made=made)

    @classmethod
    def join(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the folder as the processes see it that do not write it."""
        return cls(Path(path).absolute(), None, resumed=False)

    @property
    def writable(self) -> bool:
        """Whether this process is the writer."""
        return self._lock is not None

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file of logged numbers."""
        return self.path / "metrics.jsonl"

    def __fspath__(self) -> str:
        return str(self.path)

    def read_config(self) -> dict[str, Any]:
        """Return the resolved config."""
        return read_json(self.path / "config.json")

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            ConfigError: The folder holds no run, or one of a newer version.
        """
        manifest = read_manifest(self.path)
        if manifest is None:
            raise ConfigError("the folder holds no run", place=str(self.path), remedy="name a run folder")
        return manifest

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`, see `append`."""
        self.append("metrics", record)

    def append(self, name: Log, record: Mapping[str, Any]) -> None:
        """Append one line to a log of the run; a killed process loses none that was written.

        Args:
            name: Which log; the file is `NAME.jsonl`.
            record: What is written; its `step` says when.

        Raises:
            InternalError: A number is not finite, or this process is not the writer.
            EnvironmentProblem: The disk is full.
        """
        self._expect_writer()
        line = dumps(dict(record)) + b"\n"
        path = self.path / f"{name}.jsonl"
        try:
            if name not in self._streams:
                self._streams[name] = open(path, "ab", buffering=0)  # noqa: SIM115
            self._streams[name].write(line)
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot be written: {error.strerror}", place=str(path), remedy="free space"
            ) from error

    def sync(self) -> None:
        """Put the logs on disk, before a checkpoint that counts on them is sealed."""
        for stream in self._streams.values():
            os.fsync(stream.fileno())

    def truncate_metrics(self, step: int) -> None:
        """Drop what was logged after a step, the summary of a finished training, and a torn last line.

        So the logs of a resumed run read like those of one that was never stopped.
        """
        self._expect_writer()
        self._close_streams()
        for name in get_args(Log):
            path = self.path / f"{name}.jsonl"
            if not path.exists():
                continue
            with open(path, "rb") as source, replacing(path) as target:
                for line in source:
                    if _is_kept(line, step, str(path)):
                        target.write(line)

    @contextmanager
    def logging_to_file(self, level: int = logging.INFO) -> Iterator[None]:
        """Append what the logger `reasrm` says to `log.txt`."""
        self._expect_writer()
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(level)
        logger = logging.getLogger("reasrm")
        before = logger.level
        logger.setLevel(min(logger.getEffectiveLevel(), level))
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
            handler.close()

    def close(self) -> None:
        """Give the lock up. Calling it twice is harmless."""
        self._close_streams()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a run that was refused before it measured, saved or noted anything leaves nothing."""
        self._close_streams()
        if kind is not None and issubclass(kind, ReasrmError) and self.writable:
            self._forget()
        self.close()

    def _forget(self) -> None:
        if {path.name for path in self.path.iterdir()} - _BEFORE_IT_BEGINS or any(self.checkpoints.iterdir()):
            return
        remove_empty([self.checkpoints])
        for name in _BEFORE_IT_BEGINS - {"checkpoints"}:
            (self.path / name).unlink(missing_ok=True)
        remove_empty(self._made)

    def _expect_writer(self) -> None:
        if self._lock is None:
            raise InternalError("this process is not the writer of the run folder", place=str(self.path))

    def _close_streams(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


def _is_begun(folder: Path) -> bool:
    metrics = folder / "metrics.jsonl"
    return any(folder.glob("checkpoints/checkpoint-*")) or (metrics.exists() and metrics.stat().st_size > 0)


def _is_kept(line: bytes, step: int, place: str) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        record = parse_object(line.strip(), place)
    except RowError:
        return False
    logged_at = record.get("step")
    return not record.get("final") and not (isinstance(logged_at, int | float) and logged_at > step)
