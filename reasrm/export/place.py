"""Where a judge folder may stand, and what it may replace; `durable.folders` puts it there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reasrm.errors import ConfigError

__all__ = ["check_apart", "check_place"]


def check_place(output: Path, *, force: bool) -> Path:
    """Return the path to build at, with symbolic links resolved, or say why it cannot be used.

    Args:
        output: As the user names it.
        force: Whether an existing judge folder may be replaced.

    Raises:
        ConfigError: There is something already, and it is no judge folder or may not be replaced.
    """
    target = Path(os.path.realpath(output))
    if not target.name:
        raise ConfigError("cannot be replaced by a judge folder", place=str(output))
    if not os.path.lexists(target):
        return target
    if not force:
        raise ConfigError(
            "exists already",
            place=str(output),
            remedy="choose another --output, or pass --force to replace it",
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / "judge.json").is_file()):
        raise ConfigError(
            "is no judge folder and is not replaced, not even with --force",
            place=str(output),
            remedy="choose another --output, or remove it yourself",
        )
    return target


def check_apart(target: Path, sources: Sequence[Path]) -> None:
    """Refuse to replace a folder that holds what is to be read.

    Raises:
        ConfigError: A source is the target or lies inside it.
    """
    for source in sources:
        if target == source.resolve() or target in source.resolve().parents:
            raise ConfigError(
                "holds what is to be exported", place=str(target), remedy="choose another --output"
            )
