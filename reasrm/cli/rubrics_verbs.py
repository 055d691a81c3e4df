"""`reasrm rubrics …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import guarded, set_quiet

__all__ = ["rubrics_app"]

rubrics_app = typer.Typer(
    help="Rubrics: criteria to judge by, made, verified, measured. "
    "Example: reasrm rubrics report --rubrics rubrics.jsonl --pairs pairs.jsonl --output runs/report",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@rubrics_app.command("report")
@flags.reads_rows
def rubrics_report(
    rubrics: Annotated[
        Path, typer.Option("--rubrics", help="The rubrics; any file that judge --rubrics takes.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for report.json and report.md.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="The rows they are for: leaks, labels seen. Repeatable."),
    ] = None,
    marks: Annotated[
        str | None,
        typer.Option(
            "--marks",
            help="What responses got on each criterion, with --pairs: JSONL of {id, chosen: [1, 0], rejected: [0, 0]}; "
            "or sandbox, for rows of the embedded world.",
        ),
    ] = None,
    gold_rubrics: Annotated[
        Path | None, typer.Option("--gold-rubrics", help="Rubrics to compare with: precision and recall.")
    ] = None,
    swapped: Annotated[
        Path | None,
        typer.Option("--swapped", help="What the same writer wrote with the responses in the other order."),
    ] = None,
    none: Annotated[
        Path | None, typer.Option("--none", help="Judged without rubrics: a file of judge, a folder of eval.")
    ] = None,
    arm: Annotated[
        Path | None, typer.Option("--arm", help="The same rows judged under these rubrics.")
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="The same judged under gold rubrics: how much of the gap is closed."),
    ] = None,
    arm_swapped: Annotated[
        Path | None, typer.Option("--arm-swapped", help="The same judged under the rubrics of --swapped.")
    ] = None,
    seed: flags.Seed = 0,
    quiet: flags.Quiet = False,
) -> None:
    """Say how good rubrics are: what they tell apart, repeat, leak and leave out, and how much of a gap they close.

    Example: reasrm rubrics report --rubrics rubrics.jsonl --pairs pairs.jsonl --none runs/none --arm runs/arm
    --gold runs/gold --output runs/report
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.rubrics_report import run_report

        run_report(
            rubrics,
            output,
            pairs=pairs or (),
            marks=marks,
            gold_rubrics=gold_rubrics,
            swapped=swapped,
            judged={"none": none, "arm": arm, "gold": gold, "swapped": arm_swapped},
            seed=seed,
        )
