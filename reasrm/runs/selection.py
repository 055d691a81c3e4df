"""Which checkpoint of a run is its result: the one that was chosen, or else the newest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasrm.files import write_json_atomic
from reasrm.runs.identity import read_json
from reasrm.runs.seals import CheckpointInfo, checkpoint_folder, latest_checkpoint, verify_checkpoint

__all__ = ["result_checkpoint", "write_best"]

BEST = "best.json"


def write_best(run: str | os.PathLike[str], best: Mapping[str, Any]) -> None:
    """Name the checkpoint that is best so far.

    Args:
        run: The run folder.
        best: Its `step`, and why it was chosen.
    """
    write_json_atomic(Path(run) / BEST, dict(best))


def result_checkpoint(run: str | os.PathLike[str]) -> CheckpointInfo | None:
    """Return the checkpoint that a run was for: the best if one was chosen, else the newest that is whole.

    Raises:
        EnvironmentProblem: The chosen checkpoint is damaged or missing, or all are damaged.
    """
    path = Path(run) / BEST
    if not path.is_file():
        return latest_checkpoint(run)
    return verify_checkpoint(checkpoint_folder(run, int(read_json(path)["step"])))
