"""`reasrm metarm score`: from flags to scores, a summary and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from reasrm.cli.console import finish, progress_bar
from reasrm.cli.running import add_end, control_of
from reasrm.cli.summary import progress
from reasrm.tables import given_columns

__all__ = ["run_score"]


def run_score(
    folder: Path,
    inputs: Sequence[Path],
    output: Path,
    *,
    pairs: Sequence[Path],
    columns: str | None,
    bonus_scale: Literal["published", "calibrated"] | None,
    limit: int | None,
    batch_size: int,
    device: str,
    dtype: str,
    retry_errors: bool,
    restart: bool,
) -> None:
    """Score critiques and end with the exit code of `docs/judging.md`."""
    from reasrm.generation.run import RunControl
    from reasrm.judging.critiques import Critiques
    from reasrm.training.metarm.score import open_metarm, score_file

    rows = Critiques(inputs, pairs=pairs, limit=limit, columns=given_columns(columns))
    metarm = open_metarm(folder, device=device, dtype=dtype)
    with progress_bar("scoring", unit=" critiques,") as update:
        result = score_file(
            metarm,
            rows,
            output,
            batch_size=batch_size,
            bonus_scale=bonus_scale,
            control=control_of(
                RunControl,
                "critiques",
                lambda now: update(now.done, now.total, ""),
                restart=restart,
                retry_errors=retry_errors,
            ),
        )
    summary = {"command": "metarm score", "output": str(output), "metarm": str(folder), **result.summary()}
    done = result.statuses.total() + result.num_errors
    summary["progress"] = progress("critiques", result.total, done, result.num_errors)
    finish(summary, add_end(summary, result, f"{done} of {result.total} critiques"))
