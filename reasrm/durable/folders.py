"""A folder that is whole or not there: built under a temporary name beside its place, flushed, and renamed when whole.

A folder that was killed half-way stays under its temporary name, which no command opens, and is removed by the next
that builds at the same place. A lock keeps two of them apart, so what lies there under a temporary name while the lock
is ours belongs to nobody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reasrm.durable.lock import OutputLock
from reasrm.errors import ConfigError, EnvironmentProblem, ReasrmError
from reasrm.files import fsync_directory, make_folders, remove_empty

__all__ = ["building"]

_RESERVE = 64 << 20  # tokenizer, card, and what a file system takes for itself


@contextmanager
def building(
    target: Path, *, bytes_needed: int, unwritable: tuple[type[Exception], ...] = ()
) -> Iterator[Path]:
    """Lend an empty folder that takes the target's place when the block ends, and vanishes if it fails.

    Args:
        target: What comes to stand there; a folder of that name is replaced.
        bytes_needed: What the files will take.
        unwritable: What a library raises where a file cannot be written, beside `OSError`.

    Raises:
        EnvironmentProblem: Too little space, or the folder cannot be written; the bytes needed are named.
        LockedError: Another process builds there.
    """
    parent = target.parent
    needed = bytes_needed + _RESERVE
    with _explaining(target, needed, unwritable):
        made = _make(parent)
        lock = OutputLock(_beside(target, "lock"))
        partial = _beside(target, f"partial-{os.getpid()}")
        try:
            _clear_leftovers(target)
            free = shutil.disk_usage(parent).free
            if free < needed:
                raise EnvironmentProblem(
                    f"{needed} bytes are needed, {free} are free",
                    place=str(parent),
                    remedy="free the space, or choose another --output",
                )
            partial.mkdir()
            yield partial
            _flush(partial)
            _put_in_place(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            lock.path.unlink(missing_ok=True)
            lock.release()
            remove_empty(made)


@contextmanager
def _explaining(target: Path, needed: int, unwritable: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a file system refuses into an error that names the place and the bytes needed."""
    kinds: tuple[type[Exception], ...] = (OSError, *unwritable)
    try:
        yield
    except ReasrmError:
        raise
    except kinds as error:
        reason = getattr(error, "strerror", None) or error
        raise EnvironmentProblem(
            f"cannot be written ({needed} bytes needed): {reason}",
            place=str(target),
            remedy="free the space or fix the folder and its permissions, and run again",
        ) from error


def _make(folder: Path) -> tuple[Path, ...]:
    try:
        made = make_folders(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError("is not a folder", place=str(folder), remedy="choose another --output") from error
    # The mode counts even where root could override it.
    if not (folder.stat().st_mode & 0o222 and os.access(folder, os.W_OK | os.X_OK)):
        raise EnvironmentProblem(
            "the folder is read-only", place=str(folder), remedy="choose an --output that you may write to"
        )
    return made


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")


def _clear_leftovers(target: Path) -> None:
    """Remove what killed processes left, and give back a folder that one of them was about to replace."""
    found = sorted(target.parent.iterdir())
    for path in (path for path in found if path.name.startswith(f".{target.name}.replaced-")):
        if os.path.lexists(target):
            shutil.rmtree(path)
        else:
            path.rename(target)
    for path in (path for path in found if path.name.startswith(f".{target.name}.partial-")):
        shutil.rmtree(path)


def _flush(folder: Path) -> None:
    """Make every file and name in a folder survive a power cut."""
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_directory(Path(place))


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename; an existing folder is moved aside first, and comes back if the rename fails."""
    if not os.path.lexists(target):
        partial.rename(target)
        fsync_directory(target.parent)
        return
    aside = _beside(target, f"replaced-{os.getpid()}")
    target.rename(aside)
    try:
        partial.rename(target)
    except OSError:
        aside.rename(target)
        raise
    fsync_directory(target.parent)
    shutil.rmtree(aside)
