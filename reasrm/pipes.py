"""Inputs that can be read once only: pipes, FIFOs, `<(…)`, standard input. Spooled, they are files like others.

Commands read their input more than once (to validate, to ask, to hash it), and go on with it another day. What comes
through a pipe is therefore written to a temporary file first; it is known by its content, so that piping the same rows
again continues a run.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from reasrm.errors import ConfigError, EnvironmentProblem, InputError

__all__ = ["as_typed", "forget_spooled", "pipe_name", "refuse_pipe", "refuse_stream", "settled"]

_PREFIX = "reasrm-pipe-"
_FRESH_S = 60.0
_copies: dict[str, str] = {}
"""Copy → the pipe, as the user wrote it."""


def settled(path: Path) -> Path:
    """Return a file that can be read again and again: the path itself, or a copy of what comes through the pipe.

    `-` is standard input. The copy goes when the process ends, or, where that was killed, when the next one is made.
    Messages name the pipe: `pipe_name`, `as_typed`.

    Raises:
        InputError: Standard input is a terminal, or closed.
        EnvironmentProblem: The content cannot be written to the temporary folder, or not be read.
    """
    named = Path("/dev/stdin") if str(path) == "-" else path
    try:
        if not _is_stream(os.stat(named)):
            return named
    except OSError:
        return named  # who reads it says what is wrong
    if os.path.realpath(named).startswith("/dev/pts/") or named == Path("/dev/tty"):
        raise InputError("is a terminal", place=str(path), remedy="give a file, or pipe the rows in")
    import shutil  # here: `import reasrm` is to cost nothing
    import tempfile

    if not _copies:
        atexit.register(forget_spooled)
        _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    fcntl.flock(
        os.open(folder, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB
    )  # open as long as the process lives
    copy = Path(folder, named.name)
    _copies[str(copy)] = str(path)
    try:
        with open(named, "rb") as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise EnvironmentProblem(
            f"the pipe cannot be kept in {folder}: {error.strerror or error}",
            place=str(path),
            remedy="set TMPDIR to a folder with room, or save the rows to a file",
        ) from error
    return copy


def pipe_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name of a copy's pipe for messages, such as `stdin` or `rows.fifo`; None where it is no copy.

    A file descriptor, which is what `<(…)` stands for, is named by its whole path: its name is a bare number.
    """
    typed = _copies.get(os.fspath(path))
    name = os.path.basename(path)
    return None if typed is None else typed if name.isdigit() else name


def as_typed(text: str, form: Callable[[str], str] = str) -> str:
    """Return a text with the pipe as the user wrote it wherever it names a copy.

    Args:
        text: What is to be said.
        form: How a path is written in it.
    """
    for copy, typed in _copies.items():
        text = text.replace(form(copy), form(typed))
    return text


def refuse_pipe(paths: Iterable[str | Path]) -> None:
    """Raise `InputError` if one of the inputs can be read once only, where that will not do."""
    for path in paths:
        try:
            once = str(path) == "-" or _is_stream(os.stat(path))
        except OSError:
            continue  # who reads it says what is wrong
        if once:
            raise InputError(
                "is a pipe, and this file is read more than once, and again when the run is continued",
                place=str(path),
                remedy="save the rows to a file and name that",
            )


def refuse_stream(output: Path) -> None:
    """Raise `ConfigError` if an output is a stream, `-` or `/dev/stdout`: a run finds again what it wrote."""
    absolute = os.path.abspath(output)
    is_device = absolute.startswith(("/dev/", "/proc/")) and not absolute.startswith("/dev/shm/")  # noqa: S108
    if str(output) == "-" or is_device:
        raise ConfigError(
            "is no file that a later run could continue",
            place=str(output),
            remedy="name a file; stdout carries the summary, one JSON object",
        )


def forget_spooled() -> None:
    """Remove all copies. Called when the process ends."""
    import shutil

    while _copies:
        shutil.rmtree(os.path.dirname(_copies.popitem()[0]), ignore_errors=True)


def _sweep(temporary: Path) -> None:
    """Remove copies that killed processes left behind: nobody holds their lock, and they are a minute old."""
    import shutil

    for folder in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > _FRESH_S:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _is_stream(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode) or stat.S_ISSOCK(status.st_mode)
