"""Checkpoints that are complete or absent: a seal is written last, atomically, and names every file with its hash.

`RUN/checkpoints/checkpoint-<step>/checkpoint.json` is the seal. A folder without one is the rest of a save or of a
removal that was killed, and is never read. A removal breaks the seal first. A hash shows damage, not malice: who can
write the files can write the seal.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import orjson

from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.files import file_sha256, flush_folder, fsync, write_json_atomic
from reasrm.hashing import digest

__all__ = [
    "MANIFEST",
    "CheckpointInfo",
    "DamagedCheckpoint",
    "checkpoint_folder",
    "hash_files",
    "latest_checkpoint",
    "remove_checkpoint",
    "remove_unsealed",
    "rotate",
    "seal_checkpoint",
    "set_aside_after",
    "verify_checkpoint",
]

MANIFEST = "checkpoint.json"
VERSION = 1
_NAME = re.compile(r"checkpoint-(\d+)")
_PICKLES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".distcp", ".npy", ".npz", ".joblib"}
)
_PICKLING_FORMATS = frozenset({"deepspeed", "fsdp"})
_THREADS = 4

_log = logging.getLogger(__name__)


class DamagedCheckpoint(EnvironmentProblem):
    """A sealed checkpoint whose files are not what the seal says.

    Args:
        message: What is wrong, naming the file.
        place: The checkpoint's folder.
    """

    def __init__(self, message: str, *, place: str) -> None:
        super().__init__(message, place=place, remedy="restore the file, or use another checkpoint")


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A sealed checkpoint.

    Args:
        path: Its folder.
        step: Optimizer steps done.
        world_size: Processes that wrote it.
        format: `safe` (safetensors and JSON only), `deepspeed` or `fsdp`.
        files: Path inside the folder → (SHA-256, size in bytes).
    """

    path: Path
    step: int
    world_size: int
    format: str
    files: dict[str, tuple[str, int]]


def checkpoint_folder(run: str | os.PathLike[str], step: int) -> Path:
    """Return where the checkpoint of a step lies in a run folder."""
    return Path(run) / "checkpoints" / f"checkpoint-{step}"


def seal_checkpoint(folder: Path, step: int, world_size: int, format: str) -> CheckpointInfo:
    """Make a written checkpoint complete: every file on disk, then the seal.

    Args:
        folder: The checkpoint; nobody writes to it any more.
        step: Optimizer steps done.
        world_size: Processes that wrote it.
        format: `safe`, `deepspeed` or `fsdp`; only the last two may hold pickles.

    Raises:
        InternalError: A `safe` checkpoint holds a pickle.
        EnvironmentProblem: The disk is full or broken.
    """
    names = _file_names(folder)
    _refuse_pickles(folder, names, format, InternalError)
    try:
        flush_folder(folder)
        fsync(folder.parent)
        files = hash_files(folder, names)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot be written: {error.strerror or error}",
            place=str(folder),
            remedy="free space; the checkpoint before it is whole: run again with --resume",
        ) from error
    info = CheckpointInfo(folder, step, world_size, format, files)
    seal = {
        "checkpoint_version": VERSION,
        "step": step,
        "world_size": world_size,
        "format": format,
        "files": {name: {"sha256": sha256, "size": size} for name, (sha256, size) in files.items()},
    }
    write_json_atomic(folder / MANIFEST, {**seal, "sha256": digest(seal, 64)})
    return info


def verify_checkpoint(folder: Path) -> CheckpointInfo:
    """Return a checkpoint after reading every byte of it.

    Raises:
        DamagedCheckpoint: There is no seal, a file is missing or changed, or a pickle was added; it is named.
        ConfigError: A newer version wrote it.
    """
    info = _read_seal(folder)
    _check_sizes(info)
    extra = [name for name in _file_names(folder) if name not in info.files]
    _refuse_pickles(folder, extra, "", DamagedCheckpoint)
    _refuse_pickles(folder, info.files, info.format, DamagedCheckpoint)
    try:
        found = hash_files(folder, info.files)
    except OSError as error:
        raise DamagedCheckpoint(f"a file cannot be read: {error}", place=str(folder)) from error
    for name, recorded in info.files.items():
        if found[name] != recorded:
            raise DamagedCheckpoint(f"{name!r} is not what was written", place=str(folder))
    return info


def latest_checkpoint(run: str | os.PathLike[str], *, strict: bool = False) -> CheckpointInfo | None:
    """Return the newest checkpoint that is whole to the last byte, or None if none was ever sealed.

    Args:
        run: The run folder.
        strict: Refuse a damaged checkpoint instead of warning and taking the one before it.

    Raises:
        EnvironmentProblem: A checkpoint is damaged and `strict`, or all of them are.
    """
    folders = _sealed(run)
    problem = None
    for folder in reversed(folders):
        try:
            return verify_checkpoint(folder)
        except DamagedCheckpoint as error:
            if strict:
                raise
            problem = error
            _log.warning("checkpoint passed over: %s: %s", error.place, error.message)
    if problem is None:
        return None
    raise EnvironmentProblem(
        f"none of {len(folders)} checkpoints is whole; the oldest: {problem.message}",
        place=str(Path(run) / "checkpoints"),
        remedy="restore one, or begin anew in another --run-dir",
    )


def rotate(run: str | os.PathLike[str], keep: int, also: Collection[int] = ()) -> None:
    """Remove all but the newest sealed checkpoints.

    Args:
        run: The run folder.
        keep: How many stay, at least 2: should the newest be damaged, there is one before it.
        also: Steps whose checkpoints stay, too.
    """
    if keep < 2:
        raise InternalError(f"keep must be at least 2, not {keep}")
    for folder in _sealed(run)[:-keep]:
        if _step(folder) not in also:
            remove_checkpoint(folder)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, seal first, so that half of one never looks complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if folder.is_dir():
        fsync(folder)
        shutil.rmtree(folder)


def remove_unsealed(run: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed saves and removals left behind, and return it. Only for the run's writer."""
    rests = [folder for folder in _folders(run) if not (folder / MANIFEST).exists()]
    for folder in rests:
        _log.warning("removing %s: it has no %s, so its save was interrupted", folder, MANIFEST)
        shutil.rmtree(folder)
    return rests


def set_aside_after(run: str | os.PathLike[str], step: int) -> list[Path]:
    """Rename the checkpoints beyond a step to `….damaged`, since the steps are about to be done again.

    Args:
        run: The run folder.
        step: Of the checkpoint that training goes on from.
    """
    aside = []
    for folder in _folders(run):
        if _step(folder) > step:
            target = folder.with_name(folder.name + ".damaged")
            if target.exists():
                shutil.rmtree(target)
            folder.rename(target)
            _log.warning("%s was set aside as %s; delete it when you have looked at it", folder, target.name)
            aside.append(target)
    return aside


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return the SHA-256 and size of files by name, several read at a time."""

    def one(name: str) -> tuple[str, tuple[str, int]]:
        path = folder / name
        return name, (file_sha256(path), path.stat().st_size)

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(pool.map(one, sorted(names)))


def _folders(run: str | os.PathLike[str]) -> list[Path]:
    """Everything named like a checkpoint, in the order of steps."""
    root = Path(run) / "checkpoints"
    found = [path for path in root.iterdir() if _NAME.fullmatch(path.name)] if root.is_dir() else []
    return sorted((path for path in found if path.is_dir()), key=_step)


def _sealed(run: str | os.PathLike[str]) -> list[Path]:
    return [folder for folder in _folders(run) if (folder / MANIFEST).exists()]


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _file_names(folder: Path) -> list[str]:
    """Every file below a folder but its seal, and what a killed sealing may have left of one."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != MANIFEST and not name.startswith(f"{MANIFEST}.tmp-"))


def _refuse_pickles(
    folder: Path, names: Iterable[str], format: str, kind: type[InternalError] | type[DamagedCheckpoint]
) -> None:
    pickles = [name for name in names if Path(name).suffix in _PICKLES]
    if pickles and format not in _PICKLING_FORMATS:
        raise kind(f"holds a pickle that has no place in it: {pickles[0]!r}", place=str(folder))


def _read_seal(folder: Path) -> CheckpointInfo:
    place = str(folder)
    try:
        seal = orjson.loads((folder / MANIFEST).read_bytes())
        # First of all, so that a flipped bit is not taken for a version of the future.
        if seal.pop("sha256") != digest(seal, 64):
            raise DamagedCheckpoint(f"{MANIFEST!r} is not what was written", place=place)
        version = seal["checkpoint_version"]
        if version > VERSION:
            raise ConfigError(
                f"has checkpoint version {version}; this reasrm reads up to {VERSION}",
                place=place,
                remedy="install the version of reasrm that wrote it",
            )
        files = {name: (entry["sha256"], entry["size"]) for name, entry in seal["files"].items()}
        info = CheckpointInfo(folder, seal["step"], seal["world_size"], seal["format"], files)
    except FileNotFoundError:
        raise DamagedCheckpoint(f"{MANIFEST!r} is missing", place=place) from None
    except DamagedCheckpoint:
        raise
    except OSError as error:
        raise DamagedCheckpoint(f"{MANIFEST!r} cannot be read: {error.strerror}", place=place) from error
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(f"{MANIFEST!r} is damaged: {error!r}", place=place) from error
    if info.step != _step(folder):
        raise DamagedCheckpoint(f"{MANIFEST!r} is of step {info.step}: another folder", place=place)
    return info


def _check_sizes(info: CheckpointInfo) -> None:
    for name, (_, size) in info.files.items():
        try:
            found = (info.path / name).stat().st_size
        except OSError:
            raise DamagedCheckpoint(f"{name!r} is missing", place=str(info.path)) from None
        if found != size:
            raise DamagedCheckpoint(f"{name!r} has {found} bytes, not {size}", place=str(info.path))
