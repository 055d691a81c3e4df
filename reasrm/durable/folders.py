"""A folder that is whole or not there: built under a temporary name beside its place, flushed, and renamed when whole.

A folder that was killed half-way stays under its temporary name, which no command opens, and is removed by the next
that builds at the same place. A lock keeps two of them apart, so what lies there under a temporary name while the lock
is ours belongs to nobody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reasrm.durable.lock import OutputLock
from reasrm.errors import ConfigError, EnvironmentProblem, ReasrmError
from reasrm.files import flush_folder, fsync, make_folders, remove_empty

__all__ = ["building", "open_folder", "refuse_others", "set_aside"]

_RESERVE = 64 << 20  # tokenizer, card, and what a file system takes for itself


@contextmanager
def building(
    target: Path, *, bytes_needed: int = 0, unwritable: tuple[type[Exception], ...] = ()
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
        _, made = open_folder(parent)
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
            flush_folder(partial)
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


def open_folder(path: str | os.PathLike[str], flag: str = "--output") -> tuple[Path, tuple[Path, ...]]:
    """Make a folder and try whether it can be written: at the end of long work is too late to learn that.

    Args:
        path: The folder; symbolic links are followed.
        flag: Which names it.

    Returns:
        The folder, and what was made of it and its parents, for `remove_empty`.

    Raises:
        ConfigError: It is a file.
        EnvironmentProblem: It cannot be made, or is read-only.
    """
    place = os.fsencode(path).decode("utf-8", "backslashreplace")
    remedy = f"name a folder with {flag} that you may write to"
    try:
        folder = Path(os.path.realpath(path))
        made = make_folders(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError("is not a folder", place=place, remedy=f"choose another {flag}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EnvironmentProblem(f"cannot be made: {reason}", place=place, remedy=remedy) from error
    # The mode counts even where root could override it.
    if not (folder.stat().st_mode & 0o222 and os.access(folder, os.W_OK | os.X_OK)):
        raise EnvironmentProblem("the folder is read-only", place=place, remedy=remedy)
    return folder, made


def refuse_others(folder: Path, what: str, ours: Container[str], record: str, flag: str = "--output") -> None:
    """Refuse a folder in which something stands beside what is ours.

    Args:
        folder: It.
        what: What it is to hold.
        ours: Names that may stand there.
        record: The file that makes it ours; what a killed process left of writing it may stand there, too.
        flag: Which names the folder.

    Raises:
        ConfigError: The first three names.
    """
    names = sorted(path.name for path in folder.iterdir())
    others = [name for name in names if name not in ours and not name.startswith(f"{record}.tmp-")]
    if others:
        raise ConfigError(
            f"the folder holds no {what}, but other files: {', '.join(map(repr, others[:3]))}",
            place=str(folder),
            remedy=f"choose a new or empty folder as {flag}",
        )


def set_aside(paths: Sequence[Path]) -> list[Path]:
    """Rename what there is to `NAME.old-N`, one N for all, manifests first, so that half-way is recognised."""
    present = sorted((p for p in paths if p.exists()), key=lambda p: not p.name.endswith(".manifest.json"))
    number = 1
    while any(path.with_name(f"{path.name}.old-{number}").exists() for path in paths):
        number += 1
    aside = [path.rename(path.with_name(f"{path.name}.old-{number}")) for path in present]
    if aside:
        fsync(aside[0].parent)
    return aside


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


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename; an existing folder is moved aside first, and comes back if the rename fails."""
    if not os.path.lexists(target):
        partial.rename(target)
        fsync(target.parent)
        return
    aside = _beside(target, f"replaced-{os.getpid()}")
    target.rename(aside)
    try:
        partial.rename(target)
    except OSError:
        aside.rename(target)
        raise
    fsync(target.parent)
    shutil.rmtree(aside)
