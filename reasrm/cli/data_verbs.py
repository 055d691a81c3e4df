"""`reasrm data …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import chatter_to_stderr, guarded, set_quiet

__all__ = ["data_app"]

data_app = typer.Typer(
    help="Public datasets into preference pairs. Example: reasrm data sources",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data_app.command("import")
@flags.reads_rows
def data_import(
    input: flags.Inputs,
    output: Annotated[Path, typer.Option("--output", help="The pairs to write; dropped rows go beside it.")],
    source: flags.SourceName = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", help="NAME=VALUE: a choice that the source leaves to you; see data sources."
        ),
    ] = None,
    columns: flags.ColumnNames = None,
    coerce_scalars: flags.CoerceScalars = False,
    quiet: flags.Quiet = False,
) -> None:
    """Turn a public dataset's rows into preference pairs; say what was kept, what was dropped, and why.

    Example: reasrm data import --source auto --input testset-v1.json --output pairs.jsonl
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.data import run_import

        run_import(
            input,
            output,
            source=source,
            coerce_scalars=coerce_scalars,
            options=option or (),
            columns=columns,
        )


@data_app.command("curate")
@flags.reads_rows
def data_curate(
    config: Annotated[
        Path, typer.Option("--config", help="What to do: YAML, or a config that ships, such as data/curate.")
    ],
    input: Annotated[
        list[Path] | None, typer.Option("--input", help="Instead of the config's input. Repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Instead of the config's output folder.")
    ] = None,
    columns: flags.ColumnNames = None,
    overrides: flags.Overrides = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Replace an earlier result, judged rows included.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Do it again with rows judged that could not be.")
    ] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Deduplicate, decontaminate, filter, check labels with a judge, balance and split preference pairs.

    Example: reasrm data curate --config data/sandbox --input pairs.jsonl --output curated
    """
    set_quiet(quiet)
    with guarded(), chatter_to_stderr():
        from reasrm.cli.curation import run_curation

        run_curation(
            config,
            input or (),
            output,
            [*(overrides or ()), *flags.as_override(columns, "columns")],
            restart=restart,
            retry_errors=retry_errors,
        )


@data_app.command("sources")
def data_sources(quiet: flags.Quiet = False) -> None:
    """List the schemas that are read, with licence and label rule. Example: reasrm data sources."""
    set_quiet(quiet)
    from reasrm.cli.data import list_sources

    list_sources()
