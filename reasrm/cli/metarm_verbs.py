"""`reasrm metarm …`: the flags of the stage and of `score`; what they do is imported when one runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import chatter_to_stderr, guarded, set_quiet

__all__ = ["metarm_app"]

metarm_app = typer.Typer(rich_markup_mode=None)


class ScaleChoice(StrEnum):
    """What a score is worth."""

    published = "published"
    calibrated = "calibrated"


@metarm_app.callback(invoke_without_command=True)
@flags.reads_rows
def metarm_train(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="The stage's YAML file, or one that ships.")
    ] = None,
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    run_dir: flags.RunDir = None,
    resume: flags.Resume = False,
    dry_run: flags.PlanOnly = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a MetaRM on judgments of rows with human critiques: it predicts what a critique is worth.

    Also: accelerate launch -m reasrm metarm --config FILE. Give any critique a number by reasrm metarm score.

    Example: reasrm metarm --config sandbox/metarm --run-dir runs/metarm
    """
    if context.invoked_subcommand is not None:
        if config or columns or overrides or run_dir or resume or dry_run:
            raise typer.BadParameter(
                "the flags of the stage mean nothing here; give the command's own", context
            )
        return
    if config is None:
        raise typer.BadParameter("missing; name the stage's YAML file", context, param_hint="'--config'")
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.training import run_training

        named = [*(overrides or ()), *flags.as_override(columns, "data.columns")]
        run_training("metarm", config, named, run_dir, resume=resume, dry_run=dry_run, quiet=quiet)


@metarm_app.command("score")
@flags.reads_rows
def metarm_score(
    metarm: Annotated[Path, typer.Option("--metarm", help="A MetaRM's folder, or the run that made one.")],
    input: flags.Inputs,
    output: Annotated[Path, typer.Option("--output", help="Where the scores go; never an input.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="The rows that were judged, where --input is what reasrm judge wrote."),
    ] = None,
    columns: flags.ColumnNames = None,
    bonus_scale: Annotated[
        ScaleChoice | None, typer.Option(help="Also write what a right verdict would earn, on this scale.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score at most this many rows.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per forward pass.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 and so on.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Try the rows of the error file again.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Move an earlier output aside and begin anew.")
    ] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Give critiques a number: of rows that carry one, or of judgments. The same command again continues.

    Example: reasrm metarm score --metarm runs/metarm --input judged.jsonl --pairs pairs.jsonl --output scores.jsonl
    """
    set_quiet(quiet)
    with guarded(), chatter_to_stderr():
        from reasrm.cli.metarm import run_score

        run_score(
            metarm,
            input,
            output,
            pairs=pairs or [],
            columns=columns,
            bonus_scale=None if bonus_scale is None else bonus_scale.value,
            limit=limit,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            retry_errors=retry_errors,
            restart=restart,
        )
