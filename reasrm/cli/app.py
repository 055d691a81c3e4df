"""The verbs of `reasrm`. Each collects its flags and hands them to the module that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm import __version__
from reasrm.cli import flags
from reasrm.cli.console import chatter_to_stderr, guarded, print_summary, set_quiet
from reasrm.cli.critiques_verbs import critiques_app
from reasrm.cli.data_verbs import data_app
from reasrm.cli.flag_sets import JudgingFlags, takes
from reasrm.cli.metarm_verbs import metarm_app
from reasrm.cli.models_verbs import models_app
from reasrm.cli.rubrics_verbs import rubrics_app
from reasrm.cli.sandbox_verbs import sandbox_app
from reasrm.cli.summary import start_clock
from reasrm.registry import names

app = typer.Typer(
    help="Judges that reason in writing and end with a verdict: judge files with them, measure them. "
    "Example: reasrm demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(critiques_app, name="critiques")
app.add_typer(metarm_app, name="metarm")
app.add_typer(models_app, name="models")
app.add_typer(rubrics_app, name="rubrics")
app.add_typer(sandbox_app, name="sandbox")


def main() -> None:
    """Run the command line. Usage errors, too, end with a JSON object on stdout."""
    start_clock()
    try:
        app(prog_name="reasrm")  # also of `python -m reasrm`: what the shell completes
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


_SUITES = ", ".join(names("reasrm.metrics.suites")).replace("_", "-")


@app.command("judge")
@takes(JudgingFlags)
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
@takes(JudgingFlags)
def eval_command(
    *,
    suite: Annotated[str, typer.Argument(help=f"One of: {_SUITES}.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for result.json and judgments.jsonl.")],
    critiques: Annotated[
        Path | None,
        typer.Option(
            "--critiques", help="YAML: how critiques are compared with the rows' own. Default: word rules."
        ),
    ] = None,
    flags: JudgingFlags,
) -> None:
    """Judge a benchmark's rows and score them with its official metric, with intervals.

    Example: reasrm eval llmbar --input judge_natural_chatgpt_vanilla.result.json --judge replay
    --output runs/llmbar
    """
    from reasrm.cli.judging import run_eval

    run_eval(suite, flags, output, critiques)


@app.command("distill")
@flags.reads_rows
def distill_command(
    config: Annotated[Path, typer.Option("--config", help="The distillation's YAML file.")],
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count rows and calls, show a prompt, ask nobody.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Make calls again that failed after their retries.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Move earlier answers aside and begin anew.")
    ] = False,
    allow_other_server: flags.AllowOtherServer = False,
    price: flags.PricePerMillion = None,
    budget: flags.BudgetMoney = None,
    budget_tokens: flags.BudgetTokens = None,
    quiet: flags.Quiet = False,
) -> None:
    """Let teachers judge pairs; keep what reaches the label as SFT rows, with a ledger. Run again to continue.

    Example: reasrm distill --config distill/sandbox
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.distill import run_distill

        run_distill(
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


@app.command("sft")
@flags.reads_rows
def sft_command(
    config: flags.StageConfig,
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    run_dir: flags.RunDir = None,
    resume: flags.Resume = False,
    dry_run: flags.PlanOnly = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a judge on written judgments (SFT rows). Also: accelerate launch -m reasrm sft --config FILE.

    Example: reasrm sft --config sandbox/sft --run-dir runs/sft
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.training import run_training

        named = [*(overrides or ()), *flags.as_override(columns, "data.columns")]
        run_training("sft", config, named, run_dir, resume=resume, dry_run=dry_run, quiet=quiet)


@app.command("rlvr")
@app.command("grpo", hidden=True)
@flags.reads_rows
def rlvr_command(
    config: flags.StageConfig,
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    run_dir: flags.RunDir = None,
    resume: flags.Resume = False,
    dry_run: flags.PlanOnly = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a judge on preference labels by GRPO. Also: accelerate launch -m reasrm rlvr --config FILE.

    Example: reasrm rlvr --config sandbox/rlvr --run-dir runs/rlvr
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.training import run_training

        named = [*(overrides or ()), *flags.as_override(columns, "data.columns")]
        run_training("rlvr", config, named, run_dir, resume=resume, dry_run=dry_run, quiet=quiet)


@app.command("export")
def export_command(
    output: Annotated[Path, typer.Option("--output", help="The judge folder to make.")],
    run: Annotated[Path | None, typer.Option("--run", help="The run folder of a training stage.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", help="A step, folder or name. Default: the chosen or newest one."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Instead of a run: a model folder, with --spec.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="A LoRA adapter's folder; --model is its base.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision of a hub id.")] = None,
    spec: Annotated[
        str | None, typer.Option("--spec", help="How the judge is asked and read, with --model.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", help="A folder of reasrm eval, for the model card. Repeatable."),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto (as the weights are), float32 or bfloat16.")
    ] = "auto",
    device: Annotated[
        str, typer.Option("--device", help="Where models are compared: auto, cpu, cuda.")
    ] = "auto",
    license: Annotated[
        str | None, typer.Option("--license", help="For the model card, as the Hub spells it: apache-2.0.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing judge folder.")] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Turn a trained checkpoint into a judge folder; it is loaded back and compared before it is called done.

    Example: reasrm export --run runs/sft --output judges/mine
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.export import run_export

        run_export(
            output,
            run=run,
            checkpoint=checkpoint,
            model=model,
            adapter=adapter,
            revision=revision,
            spec=spec,
            results=results or (),
            dtype=dtype,
            device=device,
            license=license,
            force=force,
        )


@app.command("specs")
def specs_command(
    name: Annotated[str | None, typer.Argument(help="A spec to show, or: test SPEC FILE.")] = None,
    spec: Annotated[str | None, typer.Argument(help="After 'test': the spec, its name or file.")] = None,
    answers: Annotated[
        Path | None, typer.Argument(help="After that: answers, JSONL or a text with lines of ==== between.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """List the judge specs that ship with the package, show one, or try a grammar on answers.

    Example: reasrm specs rm-r1, or reasrm specs test rm-r1 answers.txt.
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli import shipped

        if spec is None and name != "test":
            shipped.show_specs(name)
        elif name == "test" and spec is not None and answers is not None:
            shipped.try_spec(spec, answers)
        else:
            raise typer.BadParameter("say one spec to show, or: test SPEC FILE")


@app.command("configs")
def configs_command(
    name: Annotated[
        str | None, typer.Argument(help="A config to print, such as sandbox/sft; none lists them.")
    ] = None,
    copy: Annotated[
        Path | None, typer.Option("--copy", help="Copy all of them into this new folder.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """List the configs that ship with the package, print one, or copy all.

    Example: reasrm configs sandbox/sft, or reasrm configs --copy configs.
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli import shipped

        if copy is not None and name is not None:
            raise typer.BadParameter("--copy copies all configs; leave the name out")
        if copy is not None:
            shipped.copy_configs(copy)
        else:
            shipped.show_configs(name)


@app.command("demo")
def demo_command(
    output: Annotated[Path, typer.Option("--output", help="Folder for everything the demo writes.")] = Path(
        "runs/demo"
    ),
    config: flags.SandboxConfig = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of base model, teacher, training and orders.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Train a judge on the embedded world and measure it: minutes on a laptop, no network.

    Example: reasrm demo --output runs/demo
    """
    set_quiet(quiet)
    with guarded():
        with chatter_to_stderr():
            from reasrm.cli.sandbox import load_demo_config
            from reasrm.demo.run import run_demo

            summary = run_demo(output, load_demo_config(config, seed))
        print_summary(summary)


@app.command("show")
def show_command(
    file: Annotated[Path, typer.Argument(help="What judge wrote, or the folder that eval wrote.")],
    input: Annotated[
        list[Path] | None, typer.Option("--input", help="The rows that were judged, for their texts.")
    ] = None,
    source: flags.SourceName = "auto",
    wrong: Annotated[bool, typer.Option("--wrong", help="Rows whose verdict is not the label.")] = False,
    split: Annotated[bool, typer.Option("--split", help="Rows whose orders or votes are level.")] = False,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="Rows with a judgment that could not be read.")
    ] = False,
    ids: Annotated[list[str] | None, typer.Option("--id", help="The row of this id. Repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many.")] = 10,
    whole: Annotated[
        bool, typer.Option("--whole", help="Show all that the judge wrote, not its critique alone.")
    ] = False,
    prompt: Annotated[
        bool,
        typer.Option("--prompt", help="Show what the judge was asked, built anew and checked by its hash."),
    ] = False,
    rubrics: Annotated[
        Path | None, typer.Option("--rubrics", help="The rubrics that were judged with, for --prompt.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write all that fit to a .csv or .parquet, a line per judgment."),
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Look at judged rows: verdicts, critiques in both orders, and the texts they are about.

    Example: reasrm show judged.jsonl --input rows.jsonl --wrong
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.show import run_show

        chosen = {"wrong": wrong, "split": split, "unreadable": unreadable}
        run_show(
            file,
            inputs=input or (),
            source=source,
            kinds=[name for name, wanted in chosen.items() if wanted],
            ids=ids or (),
            limit=limit,
            whole=whole,
            output=output,
            prompt=prompt,
            rubrics=rubrics,
        )


@app.command("env")
def env_command(quiet: flags.Quiet = False) -> None:
    """Print versions, devices and paths: what a bug report needs. Example: reasrm env."""
    set_quiet(quiet)
    from reasrm.cli.environment import describe_environment

    print_summary(describe_environment())
