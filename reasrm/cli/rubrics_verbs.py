"""`reasrm rubrics …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import guarded, set_quiet
from reasrm.cli.flag_sets import VerifyingFlags, WritingFlags, takes

__all__ = ["rubrics_app"]

rubrics_app = typer.Typer(
    help="Rubrics: criteria to judge by, made, verified, written, measured. "
    "Example: reasrm rubrics report --rubrics rubrics.jsonl --pairs pairs.jsonl --output runs/report",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Restart = Annotated[bool, typer.Option("--restart", help="Move earlier answers aside and begin anew.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Ask again what failed after its retries.")]


@rubrics_app.command("synthesize")
@flags.reads_rows
def rubrics_synthesize(
    config: Annotated[Path, typer.Option("--config", help="The synthesis's YAML file.")],
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count rows and calls, show a prompt, ask nobody.")
    ] = False,
    retry_errors: RetryErrors = False,
    restart: Restart = False,
    allow_other_server: flags.AllowOtherServer = False,
    price: flags.PricePerMillion = None,
    budget: flags.BudgetMoney = None,
    budget_tokens: flags.BudgetTokens = None,
    quiet: flags.Quiet = False,
) -> None:
    """Let an author write rubrics, check them by code, let another judge verify them. Run again to continue.

    Example: reasrm rubrics synthesize --config configs/rubrics/sandbox.yaml
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.rubrics import run_synthesize

        run_synthesize(
            config,
            [
                *(overrides or ()),
                *flags.as_override(columns, "columns"),
                *flags.budget_overrides(price, budget, budget_tokens),
            ],
            dry_run=dry_run,
            restart=restart,
            retry_errors=retry_errors,
            allow_other_server=allow_other_server,
        )


@rubrics_app.command("filter")
@takes(VerifyingFlags)
def rubrics_filter(
    *,
    output: Annotated[Path, typer.Option("--output", help="Folder for rubrics.jsonl and the rest.")],
    flags: VerifyingFlags,
) -> None:
    """Verify the rubrics of any file by a judge, in both orders, beside the same judge without them.

    Example: reasrm rubrics filter --input rubrics.jsonl --pairs pairs.jsonl --judge sandbox --output runs/filtered
    """
    from reasrm.cli.rubrics import run_filter

    run_filter(flags, output)


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
    relate: Annotated[
        str | None,
        typer.Option(
            "--relate",
            help="A model that says whether two criteria repeat or contradict each other where words do not: a model "
            "folder, hub id or openai:MODEL@BASE_URL.",
        ),
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
            relate=relate,
            seed=seed,
        )


@rubrics_app.command("write")
@takes(WritingFlags)
def rubrics_write(
    *,
    output: Annotated[Path, typer.Option("--output", help="Where rubrics go; never an input.")],
    flags: WritingFlags,
) -> None:
    """Have a writer, which never knows a label, write a rubric for every request, or for every pair.

    The same command again continues where a stop left it.

    Example: reasrm rubrics write --writer openai:my-model@http://localhost:8000/v1 --input rows.jsonl
    --output rubrics.jsonl
    """
    from reasrm.cli.rubrics_write import run_write

    run_write(flags, output)
