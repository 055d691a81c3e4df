"""The folder of one curation: `curation.json` says what it holds, and says so last.

Everything is made in a work folder inside it and moved into place at the end; until then an earlier result stays as it
is. Between the first move and the last, `curation.json` says `"complete": false`. One process writes it, under a lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasrm.durable import (
    OutputLock,
    differences_of,
    open_folder,
    read_object,
    refuse_others,
    say_differences,
)
from reasrm.errors import ConfigError
from reasrm.files import fsync, remove_empty, write_json_atomic

__all__ = ["CurationFolder"]

_OURS = ("curation.json", "curate.lock", "work", "overlap.jsonl", "judged.jsonl")


class CurationFolder:
    """An output folder, locked from construction until `close`.

    Args:
        path: The folder; made if absent.
        inputs: Files that are read; none may lie in it.

    Raises:
        ConfigError: The folder holds other files, or an input.
        EnvironmentProblem: It cannot be written.
        LockedError: Another process writes it.
    """

    def __init__(self, path: Path, inputs: Sequence[Path]) -> None:
        self.path = path
        for source in inputs:
            if os.path.realpath(source.parent) == os.path.realpath(path):
                raise ConfigError(
                    f"the input {str(source)!r} lies in the output folder",
                    place=str(path),
                    remedy="choose another output",
                )
        _, self._made = open_folder(path)
        self._read()  # once before anything is written: another command's folder stays as it is
        self._lock = OutputLock(path / "curate.lock")
        try:
            self._recorded = self._read()
            self.work = path / "work"
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
        except BaseException:
            self._lock.release(unused=True)
            remove_empty(self._made)
            raise

    def finished(self, identity: str, config: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the report of a curation that is done already, None if there is none.

        Args:
            identity: What must be equal for it to be this one.
            config: This one's config, to say what differs.

        Raises:
            ConfigError: The folder holds another curation than this one.
        """
        if self._recorded is None or not self._recorded.get("complete"):
            return None
        if self._recorded.get("identity") != identity:
            before, now = ({**(c or {}), "output": None} for c in (self._recorded.get("config"), config))
            changes = "; ".join(say_differences(differences_of(before, now)))
            raise ConfigError(
                f"the folder holds a curation with another config: {changes}"
                if changes
                else "the folder holds a curation of other inputs or by another version",
                place=str(self.path),
                remedy="choose another output, or pass --restart to replace it",
            )
        return self._recorded

    def publish(self, names: Sequence[str], report: Mapping[str, Any]) -> None:
        """Move files from the work folder into place and write the report; files of an earlier result go.

        Args:
            names: Files in the work folder; each takes its name here.
            report: What `curation.json` says.
        """
        before = [] if self._recorded is None else self._recorded.get("files", [])
        write_json_atomic(
            self.path / "curation.json", {"complete": False, "files": sorted({*before, *names})}
        )
        for name in names:
            fsync(self.work / name)
            os.replace(self.work / name, self.path / name)
        for name in {*before, "overlap.jsonl"} - set(names):
            (self.path / Path(name).name).unlink(missing_ok=True)
        fsync(self.path)
        write_json_atomic(self.path / "curation.json", {"complete": True, **report, "files": list(names)})

    def close(self) -> None:
        """Remove the work folder, give the lock up, and leave no empty folder. Calling it twice is harmless."""
        shutil.rmtree(self.work, ignore_errors=True)
        if self.path.is_dir():
            self._lock.release(unused=all(item == self._lock.path for item in self.path.iterdir()))
            remove_empty(self._made)

    def __enter__(self) -> CurationFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any] | None:
        path = self.path / "curation.json"
        recorded = read_object(path, "choose another output")
        if recorded is not None:
            if "complete" in recorded:
                return recorded
            raise ConfigError(
                "is not the report of a curation", place=str(path), remedy="choose another output"
            )
        judged = {item.name for item in self.path.glob("judged.jsonl.*")}
        refuse_others(self.path, "curation", {*_OURS, *judged}, "curation.json")
        return None
