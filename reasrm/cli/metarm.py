"""`reasrm metarm` and `reasrm metarm score`: from flags to a stage or to scores, a summary and an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reasrm.cli.console import finish, note, progress_bar
from reasrm.cli.running import add_end, control_of
from reasrm.cli.summary import progress
from reasrm.cli.training import describe_size, run_training
from reasrm.tables import given_columns

__all__ = ["run_metarm", "run_score"]


def run_metarm(
    config: Path,
    overrides: list[str],
    run_dir: Path | None,
    *,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    allow_other_server: bool,
) -> None:
    """Train a MetaRM, or say what that would do and need."""

    def opened() -> tuple[Any, Any]:
        from reasrm.training.metarm_config import load_metarm_stage

        stage = load_metarm_stage(config, overrides)  # before what takes seconds to import
        from reasrm.training import metarm_stage

        return stage, metarm_stage

    run_training(
        "metarm",
        opened,
        _describe,
        config,
        run_dir,
        resume,
        dry_run,
        quiet,
        allow_other_server=allow_other_server,
    )


def _describe(plan: Mapping[str, Any]) -> None:
    """Say what a run would do, in lines for people."""
    batch, lengths = plan["batches"], plan["lengths"]["input"]
    dropped = ", ".join(f"{count} {code}" for code, count in plan["dropped"].items()) or "none"
    note(
        f"rows: {plan['rows']:,} with critiques, {plan['held_out_rows']:,} of them held out; dropped: {dropped}"
    )
    drawn = plan["judgments"]
    note("  judgments: " + ("read from files" if drawn is None else f"{drawn:,} to be drawn"))
    shown = "  ".join(f"{name} {value:,}" for name, value in lengths.items())
    note(
        f"  input tokens, reference critiques in place of the judge's: {shown}; limit {plan['max_tokens']:,}"
    )
    if plan["too_long"]:
        note(f"  {plan['too_long']:,} rows are too long")
    note(
        f"steps: {batch['per_device']} per process × {batch['accumulation']} passes × {batch['processes']} processes = "
        f"{batch['per_step']:,} judgments per step; at most {batch['steps_per_epoch']:,} steps per epoch, "
        f"{batch['total_steps']:,} in all"
    )
    describe_size(plan)


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
    from reasrm.training.metarm_score import open_metarm, score_file

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
