"""Whole files: named for messages, hashed, and replaced so that a crash leaves the old content or the new."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from reasrm.errors import EnvironmentProblem, ReasrmError
from reasrm.pipes import pipe_name
from reasrm.strictjson import dumps

__all__ = [
    "cache_folder",
    "changes_of_files",
    "display_name",
    "file_names",
    "file_sha256",
    "flush_folder",
    "fsync",
    "hash_files",
    "in_folder",
    "make_folders",
    "remembered_sha256",
    "remove_empty",
    "replacing",
    "write_json_atomic",
]

_LARGE = 1 << 24  # below, reading is quicker than remembering
_SHA256 = re.compile("[0-9a-f]{64}")


def display_name(path: str | os.PathLike[str]) -> str:
    """Return a file's name for messages, printable whatever bytes it is made of; of a pipe's copy, the pipe's."""
    return os.fsencode(pipe_name(path) or Path(path).name).decode("utf-8", "backslashreplace")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open(path, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes; a large file is read once for each path, size, time and inode.

    What was found is kept in `sha256` in `cache_folder()`; where nothing can be kept, the file is read every time.
    """
    before = _state(path)
    if before[1] < _LARGE:
        return file_sha256(path)
    with suppress(OSError, RuntimeError, UnicodeDecodeError):  # RuntimeError: nobody's home
        known = _remembered(before).read_text("ascii")
        if _SHA256.fullmatch(known):
            return known
    found = file_sha256(path)
    if _state(path) == before:
        with suppress(OSError, RuntimeError):
            place = _remembered(before)
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place) as stream:
                stream.write(found.encode())
    return found


def _state(path: str | os.PathLike[str]) -> tuple[str, int, int, int, int]:
    real = os.path.realpath(path)
    found = os.stat(real)
    return real, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _remembered(state: tuple[str, int, int, int, int]) -> Path:
    """Return where the hash of a file in this state is kept."""
    name = hashlib.sha256(repr(state).encode("utf-8", "backslashreplace")).hexdigest()
    return cache_folder() / "sha256" / name


def cache_folder() -> Path:
    """Return `reasrm` in the user's cache folder: `XDG_CACHE_HOME` where that is absolute, else `~/.cache`.

    Raises:
        RuntimeError: The user has no home.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "reasrm"


def hash_files(folder: Path, but: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by name; hidden ones, which nobody loads, are passed over.

    Args:
        folder: The folder.
        but: Names that are left out.
    """
    return {name: file_sha256(folder / name) for name in file_names(folder) if name not in but}


def changes_of_files(folder: Path, expected: Mapping[str, str], *, all_named: bool = True) -> list[str]:
    """Return how a folder differs from what `hash_files` said of it: `config.json was edited`, `is gone`, `was added`.

    Args:
        folder: The folder.
        expected: Name → SHA-256.
        all_named: Whether a file that `expected` does not name counts as added.
    """
    changes = []
    for name, sha256 in sorted(expected.items()):
        if not (folder / name).is_file():
            changes.append(f"{name} is gone")
        elif remembered_sha256(folder / name) != sha256:
            changes.append(f"{name} was edited")
    if all_named:
        changes += [f"{name} was added" for name in file_names(folder) if name not in expected]
    return changes


def file_names(folder: Path) -> list[str]:
    """Return every file below a folder by name; hidden ones, which nobody loads, are passed over."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def make_folders(folder: Path) -> tuple[Path, ...]:
    """Make a folder and its parents; return those that were not there, innermost first, for `remove_empty`."""
    absent = tuple(part for part in (folder, *folder.parents) if not part.exists())
    folder.mkdir(parents=True, exist_ok=True)
    return absent


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that hold nothing; any other stays."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Make a folder for what a block writes; a block that fails leaves no empty one.

    Raises:
        EnvironmentProblem: It cannot be made.
    """
    try:
        made = make_folders(folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder cannot be made: {error.strerror}",
            place=str(folder),
            remedy="choose another --output",
        ) from error
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise


def fsync(path: Path) -> None:
    """Make the bytes of a file, or the names in a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Make every file and name in a folder survive a power cut."""
    for place, _, names in os.walk(folder):
        for name in names:
            fsync(Path(place, name))
        fsync(Path(place))


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name that takes its place when the block ends, and vanishes if it fails.

    A symbolic link is followed and kept; the mode of an existing file is kept.

    Raises:
        EnvironmentProblem: The disk is full, or the folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    size = 0
    try:
        with open(temporary, "wb") as stream:
            with suppress(FileNotFoundError):
                os.fchmod(stream.fileno(), target.stat().st_mode & 0o7777)
            try:
                yield stream
            finally:
                size = stream.tell()
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        fsync(target.parent)
    except ReasrmError:
        raise
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot be written (at least {size} bytes needed): {error.strerror or error}",
            place=os.fspath(path),
            remedy="free the space or fix the folder and its permissions, and run again",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Write a JSON file, indented for people, so that any crash leaves the old content or the new."""
    content = json.dumps(orjson.loads(dumps(value)), indent=2, ensure_ascii=False).encode() + b"\n"
    with replacing(path) as stream:
        stream.write(content)
