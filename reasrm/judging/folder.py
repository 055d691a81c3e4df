"""Is a judge folder still what was exported? Its `judge.json` has the hashes of the spec and of every model file.

A hash shows damage and edits that somebody forgot, not malice: who can write the files can write the hashes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from reasrm.config import read_yaml
from reasrm.errors import InputError
from reasrm.files import changes_of_files

__all__ = ["check_files", "learned_from", "refuse_changed", "trained_on"]

_LOG = logging.getLogger("reasrm")


def check_files(folder: Path) -> tuple[str, ...]:
    """Return what changed among the model's files since the folder was exported, as `model/config.json was edited`.

    Large files are hashed once for each path, size and time; see `remembered_sha256`.

    Raises:
        ConfigError: `judge.json` cannot be read.
        InputError: It names a file outside the folder.
    """
    identity = read_yaml(folder / "judge.json")
    weights, files = (
        identity.get(key) if isinstance(identity, dict) else None for key in ("weights", "files")
    )
    if not isinstance(files, dict):
        _LOG.warning(
            "warning: %s says no hashes of its tokenizer and config, as older exports do: changes of these files "
            "cannot be noticed until it is exported again",
            folder / "judge.json",
        )
    expected = {
        **(weights if isinstance(weights, dict) else {}),
        **(files if isinstance(files, dict) else {}),
    }
    for name in sorted(expected):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"names a file outside the folder: {name!r}", place=str(folder / "judge.json"))
    changes = changes_of_files(folder / "model", expected, all_named=isinstance(files, dict))
    return tuple(f"model/{change}" for change in changes)


def learned_from(folder: Path) -> dict[str, str]:
    """Return the files that a judge learned from or was chosen by: SHA-256 → its stage and what that calls them."""
    identity = read_yaml(folder / "judge.json")
    if not isinstance(identity, dict):
        return {}
    found: dict[str, str] = {}
    for stage in (*(identity.get("earlier") or ()), identity.get("trained")):
        if not isinstance(stage, dict) or not isinstance(stage.get("inputs"), dict):
            continue
        for name, file in stage["inputs"].items():
            sha256 = (
                file.get("sha256") if isinstance(file, dict) else file
            )  # older exports name the hash alone
            found[str(sha256)] = f"{stage.get('stage')} {name}"
    return found


def trained_on(folder: Path) -> tuple[dict[str, Any], ...]:
    """Return where the pairs lay that a judge learned from last: `path`, `sha256` and the `columns` of their rows."""
    identity = read_yaml(folder / "judge.json")
    files = identity.get("pairs") if isinstance(identity, dict) else None
    known = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    return tuple(file for file in known if isinstance(file.get("path"), str) and "sha256" in file)


def refuse_changed(folder: Path, changes: Collection[str]) -> None:
    """Refuse a folder that changed.

    Raises:
        InputError: There are changes; names them.
    """
    if changes:
        raise InputError(
            f"is not as it was exported: {', '.join(changes)}",
            place=str(folder),
            remedy="give back what was there or export again; --allow-changed takes it as it is and says so",
        )
