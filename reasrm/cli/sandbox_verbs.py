"""`reasrm sandbox …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from reasrm.cli import flags
from reasrm.cli.console import guarded, set_quiet

__all__ = ["sandbox_app"]

sandbox_app = typer.Typer(
    help="The embedded world: pairs, base model, teacher. Example: reasrm sandbox pairs --output pairs.jsonl",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@sandbox_app.command("pairs")
def sandbox_pairs(
    output: Annotated[Path, typer.Option("--output", help="The pairs to write.")],
    world: Annotated[Literal["words", "english"], typer.Option(help="Whose rows.")] = "words",
    split: Annotated[
        str, typer.Option(help="train, tune, iid, hard or ood; in English topics and kinds instead of ood.")
    ] = "train",
    rows: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    start: Annotated[int, typer.Option(min=0, help="Number of the first.")] = 0,
    critiques: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the rows, by id, that keep their critique.")
    ] = 1.0,
    apart_from: Annotated[
        list[Path] | None,
        typer.Option("--apart-from", help="Pass over rows whose prompt stands in this file. Repeatable."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The world: a sandbox configuration, or smollm2/world for English."),
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Write preference pairs of an embedded world, with exact labels, gold critiques and hidden rules in meta.

    Example: reasrm sandbox pairs --split hard --rows 500 --output hard.jsonl, or
    reasrm sandbox pairs --world english --split topics --output topics.jsonl
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.sandbox import open_world, write_split

        write_split(open_world(world, config), split, rows, start, output, critiques, apart_from or ())


@sandbox_app.command("base")
def sandbox_base(
    output: Annotated[Path, typer.Option("--output", help="The model folder to make.")],
    config: flags.SandboxConfig = None,
    seed: Annotated[int | None, typer.Option(min=0, help="One seed is one base.")] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Train the world's base model, the counterpart of an instruct model: about two minutes.

    Example: reasrm sandbox base --output runs/sandbox/base
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.sandbox import load_demo_config, write_base

        write_base(load_demo_config(config, seed), output)


@sandbox_app.command("traces")
def sandbox_traces(
    input: Annotated[Path, typer.Option("--input", help="Pairs of the embedded world.")],
    output: Annotated[Path, typer.Option("--output", help="SFT rows; rejected traces go beside it.")],
    spec: Annotated[str, typer.Option(help="How the teacher is asked.")] = "sandbox",
    config: flags.SandboxConfig = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the teacher's errors and the orders.")] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Let the scripted teacher judge pairs; keep the traces whose verdict is the label.

    Example: reasrm sandbox traces --input pairs.jsonl --output sft.jsonl
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.sandbox import load_demo_config, write_traces

        write_traces(load_demo_config(config, seed), spec, input, output)


@sandbox_app.command("judge")
def sandbox_judge(
    output: Annotated[Path, typer.Option("--output", help="The judge folder; an existing one is replaced.")],
    work: Annotated[Path, typer.Option("--work", help="Folder for what it is made from.")],
    config: flags.SandboxConfig = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of base, teacher and training.")] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Make a judge of the embedded world, as the one that `--judge sandbox` names was made.

    Example: reasrm sandbox judge --config sandbox/judge --work runs/judge --output my-judge
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.sandbox import load_demo_config, write_judge

        write_judge(load_demo_config(config, seed), work, output)
