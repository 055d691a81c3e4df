"""Where a run writes, checked before anything is opened for writing: never an input, never a surprise."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.files import make_folders, remove_empty
from reasrm.pipes import refuse_stream

__all__ = ["OutputPaths", "check_output", "refuse_inputs"]

_LONGEST_SUFFIX = ".manifest.json.tmp-4194304"
_MACHINE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The files of one run. `output` has its symbolic links resolved; the others stand beside it.

    Args:
        output: The records.
        made: Folders that were made for it, innermost first.
    """

    output: Path
    made: tuple[Path, ...] = ()

    @property
    def errors(self) -> Path:
        """Rows that could not be judged."""
        return self._beside(".errors.jsonl")

    @property
    def manifest(self) -> Path:
        """The run's identity."""
        return self._beside(".manifest.json")

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self._beside(".lock")

    @property
    def torn(self) -> Path:
        """Bytes that recovery took out of the output."""
        return self._beside(".torn")

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.name + suffix)

    def __iter__(self) -> Iterator[Path]:
        return iter((self.output, self.errors, self.manifest, self.lock, self.torn))


def check_output(output: Path, inputs: Sequence[Path]) -> OutputPaths:
    """Check that a run may write to `output`, make its folder, and return all paths it writes to.

    Raises:
        ConfigError: The path is not usable: too long, a symlink loop, a folder, a stream, or the same file as an
            input.
        EnvironmentProblem: The folder cannot be made or the file or folder is read-only.
    """
    place = os.fsencode(output).decode("utf-8", "backslashreplace")
    refuse_stream(output)
    made: tuple[Path, ...] = ()
    try:
        with suppress(FileNotFoundError):
            output.stat()  # a symlink loop shows here; realpath would return some path of it
        paths = OutputPaths(Path(os.path.realpath(output)))
        refuse_inputs(paths, inputs, place)
        folder = paths.output.parent
        made = make_folders(folder)
        longest = os.pathconf(folder, "PC_NAME_MAX")
        if len(os.fsencode(paths.output.name + _LONGEST_SUFFIX)) > longest:
            limit = longest - len(_LONGEST_SUFFIX)
            raise ConfigError(
                f"the file name is longer than {limit} bytes", place=place, remedy="choose a shorter one"
            )
        _refuse_unwritable(paths, place)
    except (OSError, ValueError) as error:
        remove_empty(made)
        if isinstance(error, ConfigError | EnvironmentProblem):
            raise
        if isinstance(error, PermissionError) or getattr(error, "errno", None) in _MACHINE:
            remedy = "choose a folder that you may write to"
            raise EnvironmentProblem(f"cannot be written: {error}", place=place, remedy=remedy) from error
        raise ConfigError(
            f"cannot be an output: {error}", place=place, remedy="choose another path"
        ) from error
    return replace(paths, made=made)


def refuse_inputs(paths: Iterable[Path], inputs: Sequence[Path], place: str) -> None:
    """Raise `ConfigError` if a file that is to be written is an input."""
    for path in paths:
        for source in inputs:
            same = os.path.realpath(source) == os.path.realpath(path)
            with suppress(FileNotFoundError):
                same = same or os.path.samefile(source, path)
            if same:
                raise ConfigError(
                    f"{path.name!r} is the same file as the input {os.fspath(source)!r}",
                    place=place,
                    remedy="choose another --output",
                )


def _refuse_unwritable(paths: OutputPaths, place: str) -> None:
    """Fail before the model is loaded. A file's mode counts even where root could override it."""
    remedy = "choose an output that you may write to"
    for path in (paths.output, paths.errors, paths.manifest):
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(
                    f"{path.name!r} is not a regular file", place=place, remedy="choose another path"
                )
            if not mode & _WRITABLE or not os.access(path, os.W_OK):
                raise EnvironmentProblem(f"{path.name!r} is read-only", place=place, remedy=remedy)
    if not os.access(paths.output.parent, os.W_OK | os.X_OK):
        raise EnvironmentProblem("its folder is read-only", place=place, remedy=remedy)
