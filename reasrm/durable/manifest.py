"""The manifest: what must be equal for a run to be continued, written before the first record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.files import write_json_atomic
from reasrm.hashing import canonical_json

__all__ = ["VERSION", "IdentityMismatch", "check_identity", "read_manifest", "write_manifest"]

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
        shown = ", ".join(
            f"{key} was {_show(key, old)}, is {_show(key, new)}" for key, (old, new) in differences.items()
        )
        super().__init__(f"the output was begun with other settings: {shown}", place=place, remedy=_RESTART)

    @property
    def keys(self) -> frozenset[str]:
        """The top-level keys that differ."""
        return frozenset(key.partition(".")[0] for key in self.differences)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a manifest, or None if there is none.

    Raises:
        ConfigError: It cannot be read, or a newer version wrote it.
    """
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"is not a manifest: {error}", place=str(path), remedy=_RESTART) from error
    except OSError as error:
        raise EnvironmentProblem(f"cannot be read: {error.strerror}", place=str(path)) from error
    version = manifest.get("manifest_version") if isinstance(manifest, dict) else None
    if type(version) is int and version > VERSION:
        writer = manifest.get("created_with")
        raise ConfigError(
            f"has manifest version {version}, written by reasrm {writer}; this one reads up to {VERSION}",
            place=str(path),
            remedy="install that version of reasrm, or begin anew with --restart",
        )
    if version != VERSION or not isinstance(manifest.get("identity"), dict):
        raise ConfigError("is not a manifest of this program", place=str(path), remedy=_RESTART)
    return dict(manifest)


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
    old = _flat({"kind": manifest.get("kind"), **manifest["identity"]})
    new = _flat(orjson.loads(canonical_json({"kind": kind, **identity})))
    differences = {
        key: (old.get(key, _ABSENT), new.get(key, _ABSENT))
        for key in sorted({*old, *new})
        if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    }
    if differences:
        raise IdentityMismatch(differences, place=str(path))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, child in value.items():
        if isinstance(child, dict) and child:
            flat |= _flat(child, f"{prefix}{key}.")
        else:
            flat[prefix + key] = child
    return flat


def _show(key: str, value: Any) -> str:
    if value == _ABSENT:
        return _ABSENT
    if key.endswith("secret"):
        return "(not shown)"
    text = canonical_json(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}…"
