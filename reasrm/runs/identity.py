"""What a run is: its stage, seed, config, inputs and the versions that wrote it, in `manifest.json`.

The manifest is written first and makes the folder a run; it pins the config and the inputs by hash, and a run is
continued only if both are what they were. Recorded versions may change: that is warned of and kept on record.
"""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from reasrm.durable import manifest as durable
from reasrm.errors import ConfigError, InputError
from reasrm.files import file_names
from reasrm.hashing import canonical_json, digest
from reasrm.pipes import refuse_pipe
from reasrm.runs.seals import hash_files
from reasrm.tables import content_sha256

__all__ = ["describe_run", "expect_same", "hash_config", "merge", "read_json", "read_manifest"]

_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors")
_ANEW = "give back what was there, or begin anew in another --run-dir"
_LENGTHS = ("trainer.max_steps", "trainer.num_train_epochs")
_LONGER = (
    "a run keeps its length, on which the learning rate's schedule depends; to train on from its result, begin another "
    "with model.path: {0} (of adapters: the judge folder that reasrm export makes of it) and its own --run-dir"
)
_KEYS = ("stage", "seed", "config_hash", "inputs", "versions")

_log = logging.getLogger(__name__)


def describe_run(
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path],
    seed: int,
    volatile: frozenset[str],
) -> dict[str, Any]:
    """Return the manifest of a run that begins now. Inputs are read and hashed.

    Raises:
        InputError: An input cannot be read.
    """
    return {
        "manifest_version": durable.VERSION,
        "stage": stage,
        "seed": seed,
        "config_hash": hash_config(config, volatile),
        "inputs": {name: _identify(name, source) for name, source in sorted(inputs.items())},
        "versions": _versions(),
        "git_commit": _git_commit(),
    }


def hash_config(config: Mapping[str, Any], volatile: frozenset[str]) -> str:
    """Return the hash of a config, less its volatile keys."""
    return digest(_without(config, volatile), 64)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of a run.

    Raises:
        ConfigError: It is missing or damaged.
    """
    value = durable.read_object(path, _ANEW)
    if value is None:
        raise ConfigError("is missing", place=str(path), remedy=_ANEW)
    return value


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run folder, or None if it holds no run.

    Raises:
        ConfigError: It is damaged, or a newer version wrote it.
    """
    return durable.read_manifest(folder / "manifest.json", _KEYS, _ANEW)


def expect_same(
    folder: Path,
    recorded: Mapping[str, Any],
    manifest: Mapping[str, Any],
    config: Mapping[str, Any],
    volatile: frozenset[str],
) -> None:
    """Refuse to go on with another run.

    Raises:
        ConfigError: Seed or config differs; every difference is named.
        InputError: Only inputs do.
    """
    lengths: list[str] = []
    changes = [
        f"{key} was {recorded[key]!r}, is {manifest[key]!r}"
        for key in ("seed",)
        if recorded[key] != manifest[key]
    ]
    if recorded["config_hash"] != manifest["config_hash"]:
        # Only the hash is pinned: the readable file next to it is for naming what differs.
        old, new = (_without(c, volatile) for c in (read_json(folder / "config.json"), config))
        differences = durable.differences_of(old, new)
        changes += durable.say_differences(differences)
        lengths = [key for key in differences if key in _LENGTHS]
        changes = changes or ["config.json was edited"]
    otherwise = bool(changes)
    old_inputs, new_inputs = recorded["inputs"], manifest["inputs"]
    for name in sorted({*old_inputs, *new_inputs}):
        old_hash, new_hash = (i.get(name, {}).get("sha256") for i in (old_inputs, new_inputs))
        if old_hash != new_hash:
            what = "is new" if old_hash is None else "is gone" if new_hash is None else "has changed"
            source = (new_inputs.get(name) or old_inputs[name])["path"]
            changes.append(f"the input {name!r} ({source}) {what}")
    if changes:
        only_longer = len(changes) == len(lengths) > 0
        raise (ConfigError if otherwise else InputError)(
            f"the run was begun otherwise: {'; '.join(changes)}",
            place=str(folder),
            remedy=_LONGER.format(folder) if only_longer else _ANEW,
        )


def merge(folder: Path, recorded: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded manifest, with the versions that go on with the run and those that wrote it so far."""
    now = {key: manifest[key] for key in ("versions", "git_commit")}
    before = {key: recorded.get(key) for key in now}
    if now == before:
        return dict(recorded)
    old, new = before["versions"] or {}, now["versions"]
    changed = [f"{k} {old.get(k)} → {new.get(k)}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    if changed:
        _log.warning("%s: the run goes on with other versions: %s", folder, ", ".join(changed))
    return {**recorded, **now, "earlier": [*recorded.get("earlier", []), before]}


def _without(config: Mapping[str, Any], volatile: frozenset[str], prefix: str = "") -> dict[str, Any]:
    """A config as JSON values, less its volatile keys."""
    plain: dict[str, Any] = orjson.loads(canonical_json(config))
    return {
        key: _without(child, volatile, f"{prefix}{key}.") if isinstance(child, dict) else child
        for key, child in plain.items()
        if prefix + key not in volatile
    }


def _identify(name: str, source: Path) -> dict[str, Any]:
    """Path and SHA-256 of an input; of a folder, of its files' names and hashes, hidden ones left out."""
    refuse_pipe([source])
    try:
        is_folder = source.is_dir()
        sha256 = digest(hash_files(source, file_names(source)), 64) if is_folder else content_sha256(source)
    except OSError as error:
        remedy = "pass the path of an existing file"
        raise InputError(
            f"the input {name!r} cannot be read: {error.strerror}", place=str(source), remedy=remedy
        ) from error
    return {"path": str(source), "sha256": sha256}


def _versions() -> dict[str, str]:
    from reasrm import __version__

    versions = {"reasrm": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit that `reasrm` runs from, `-dirty` with local changes; None outside its own checkout."""
    here = Path(__file__).parent
    try:
        subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=here, capture_output=True, check=True, timeout=10,
        )  # fmt: skip
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        result = subprocess.run(command, cwd=here, capture_output=True, check=True, timeout=30, text=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
