"""The verbs of `reasrm`. Each collects its flags and hands them to the module that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm import __version__
from reasrm.cli import flags
from reasrm.cli.console import guarded, print_summary, set_quiet
from reasrm.cli.flags import JudgingFlags, takes_judging_flags

app = typer.Typer(
    help="Judges that reason in writing and end with a verdict: judge files with them, measure them. "
    "Example: reasrm demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
data_app = typer.Typer(
    help="Public datasets into preference pairs. Example: reasrm data sources",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line. Usage errors, too, end with a JSON object on stdout."""
    try:
        app()
    except SystemExit as end:
        if end.code == 2:
            print_summary({"error": "UsageError", "message": "see stderr, or --help", "exit_code": 2})
        raise


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"reasrm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_quiet(False)


@app.command("judge")
@takes_judging_flags
def judge_command(
    *,
    output: Annotated[Path, typer.Option("--output", help="Where judged rows go; never an input.")],
    flags: JudgingFlags,
) -> None:
    """Judge the rows of a file. The same command again continues where a stop left it.

    Example: reasrm judge --judge openai:my-model@http://localhost:8000/v1 --spec rm-r1
    --input rows.jsonl --output judged.jsonl
    """
    from reasrm.cli.judging import run_judge

    run_judge(flags, output)


@app.command("eval")
@takes_judging_flags
def eval_command(
    *,
    suite: Annotated[
        str, typer.Argument(help="judgebench, llmbar, rm-bench, pandalm, rewardbench or pairs.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for result.json and judgments.jsonl.")],
    flags: JudgingFlags,
) -> None:
    """Judge a benchmark's rows and score them with its official metric, with intervals.

    Example: reasrm eval llmbar --input judge_natural_chatgpt_vanilla.result.json --judge replay
    --output runs/llmbar
    """
    from reasrm.cli.judging import run_eval

    run_eval(suite, flags, output)


@app.command("sft")
def sft_command(
    config: Annotated[Path, typer.Option("--config", help="The stage's YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: trainer.max_steps=10. Repeatable.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="The run's folder. Default: runs/sft-CONFIG.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show rows, lengths, steps and memory; train nothing.")
    ] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a judge on written judgments (SFT rows). Also: accelerate launch train/sft.py --config FILE.

    Example: reasrm sft --config configs/sandbox/sft.yaml --run-dir runs/sft
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.training import run_sft

        run_sft(config, overrides or [], run_dir, resume=resume, dry_run=dry_run, quiet=quiet)


@data_app.command("import")
def data_import(
    input: flags.Inputs,
    output: Annotated[Path, typer.Option("--output", help="The pairs to write; dropped rows go beside it.")],
    source: flags.SourceName = "auto",
    coerce_scalars: flags.CoerceScalars = False,
    quiet: flags.Quiet = False,
) -> None:
    """Turn a public dataset's rows into preference pairs; say what was kept, what was dropped, and why.

    Example: reasrm data import --source auto --input testset-v1.json --output pairs.jsonl
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.data import run_import

        run_import(input, output, source=source, coerce_scalars=coerce_scalars)


@data_app.command("sources")
def data_sources(quiet: flags.Quiet = False) -> None:
    """List the schemas that are read, with licence and label rule. Example: reasrm data sources."""
    set_quiet(quiet)
    from reasrm.cli.data import list_sources

    list_sources()


@app.command("specs")
def specs_command(
    name: Annotated[str | None, typer.Argument(help="A spec to show as JSON; none lists them.")] = None,
    quiet: flags.Quiet = False,
) -> None:
    """List the judge specs that ship with the package, or show one. Example: reasrm specs rm-r1."""
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.data import show_specs

        show_specs(name)


@app.command("demo")
def demo_command(
    output: Annotated[Path, typer.Option("--output", help="Folder for everything the demo writes.")] = Path(
        "runs/demo"
    ),
    seed: flags.Seed = 0,
    quiet: flags.Quiet = False,
) -> None:
    """Judge a bundled benchmark file with a real judge's recorded answers and print the scored table.

    Example: reasrm demo --output runs/demo
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.demo import run_demo

        print_summary(run_demo(output, seed=seed))


@app.command("env")
def env_command(quiet: flags.Quiet = False) -> None:
    """Print versions, devices and paths: what a bug report needs. Example: reasrm env."""
    set_quiet(quiet)
    from reasrm.cli.environment import describe_environment

    print_summary(describe_environment())
