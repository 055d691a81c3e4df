"""The manifest: what must be equal for a run to be continued, written before the first record."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.files import write_json_atomic
from reasrm.hashing import canonical_json

__all__ = [
    "VERSION",
    "IdentityMismatch",
    "check_identity",
    "differences_of",
    "read_manifest",
    "read_object",
    "say_differences",
    "write_manifest",
]

VERSION = 1
_ABSENT = "(absent)"
_RESTART = "give the old settings, choose another output, or begin anew with --restart"


class IdentityMismatch(ConfigError):
    """The output belongs to another run.

    Args:
        differences: Key → (recorded value, value now), nested keys joined by dots.
        place: The manifest.
    """

    def __init__(self, differences: Mapping[str, tuple[Any, Any]], *, place: str) -> None:
        self.differences = dict(differences)
        said = ", ".join(say_differences(differences))
        super().__init__(f"the output was begun with other settings: {said}", place=place, remedy=_RESTART)

    @property
    def keys(self) -> frozenset[str]:
        """The top-level keys that differ."""
        return frozenset(key.partition(".")[0] for key in self.differences)


def differences_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return how two objects of JSON values differ: key → old and new value, `(absent)` where there is none.

    Keys of objects that stand in both, or in one alone, are joined by dots.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*old, *new}):
        pair = old.get(key, _ABSENT), new.get(key, _ABSENT)
        both = [{} if value == _ABSENT else value for value in pair]
        if all(isinstance(value, dict) for value in both) and any(both):
            found |= {f"{key}.{name}": inner for name, inner in differences_of(*both).items()}
        elif pair[0] != pair[1]:
            found[key] = pair
    return found


def say_differences(differences: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Return differences in words: `seed was 1, is 2`."""
    return [f"{key} was {_show(key, old)}, is {_show(key, new)}" for key, (old, new) in differences.items()]


def read_object(path: Path, remedy: str = _RESTART) -> dict[str, Any] | None:
    """Return the JSON object in a file of ours, or None if there is none.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Raises:
        ConfigError: It holds no object.
        EnvironmentProblem: It cannot be read.
    """
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"is damaged: {error}", place=str(path), remedy=remedy) from error
    except OSError as error:
        raise EnvironmentProblem(f"cannot be read: {error.strerror}", place=str(path)) from error
    if not isinstance(value, dict):
        raise ConfigError("is damaged: not an object", place=str(path), remedy=remedy)
    return value


def read_manifest(
    path: Path, keys: Collection[str] = ("identity",), remedy: str = _RESTART
) -> dict[str, Any] | None:
    """Return a manifest, or None if there is none.

    Args:
        path: The file.
        keys: What a manifest of its kind holds.
        remedy: What to do where it is none.

    Raises:
        ConfigError: It cannot be read, or a newer version wrote it.
    """
    manifest = read_object(path, remedy)
    if manifest is None:
        return None
    version = manifest.get("manifest_version")
    if type(version) is int and version > VERSION:
        writer = manifest.get("created_with") or (manifest.get("versions") or {}).get("reasrm")
        raise ConfigError(
            f"has manifest version {version}, written by reasrm {writer}; this one reads up to {VERSION}",
            place=str(path),
            remedy=f"install that version of reasrm; or {remedy}",
        )
    if version != VERSION or not (
        set(keys) <= manifest.keys() and isinstance(manifest.get("identity", {}), dict)
    ):
        raise ConfigError("is not a manifest of this program", place=str(path), remedy=remedy)
    return manifest


def write_manifest(
    path: Path,
    kind: str,
    identity: Mapping[str, Any],
    created_with: str,
    *,
    notes: Mapping[str, Any] | None = None,
    piped: Sequence[str] = (),
) -> None:
    """Write the manifest of a run.

    Args:
        path: Where to.
        kind: What makes the records.
        identity: What must be equal for the run to be continued.
        created_with: The version that began it.
        notes: What was found while it ran; not compared.
        piped: Inputs that came through a pipe, known by their content alone.
    """
    manifest = {
        "manifest_version": VERSION,
        "kind": kind,
        "identity": dict(identity),
        "created_with": created_with,
        **({"piped": list(piped)} if piped else {}),
        **({"notes": dict(notes)} if notes else {}),
    }
    write_json_atomic(path, manifest)


def check_identity(path: Path, manifest: Mapping[str, Any], kind: str, identity: Mapping[str, Any]) -> None:
    """Compare a run with the one that a manifest was written for.

    Raises:
        IdentityMismatch: They differ; every difference is named.
    """
    now = orjson.loads(canonical_json({"kind": kind, **identity}))
    differences = differences_of({"kind": manifest.get("kind"), **manifest["identity"]}, now)
    if differences:
        raise IdentityMismatch(differences, place=str(path))


def _show(key: str, value: Any) -> str:
    if value == _ABSENT:
        return _ABSENT
    if key.endswith("secret"):
        return "(not shown)"
    text = canonical_json(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}…"
