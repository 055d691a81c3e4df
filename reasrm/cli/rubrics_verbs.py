"""`reasrm rubrics …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli.flags import WritingFlags, takes

__all__ = ["rubrics_app"]

rubrics_app = typer.Typer(
    help="Rubrics to judge by. "
    "Example: reasrm rubrics write --writer judges/writer --input rows.jsonl --output rubrics.jsonl",
    no_args_is_help=True,
    rich_markup_mode=None,
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

    Example: reasrm rubrics write --writer judges/writer --input rows.jsonl --output rubrics.jsonl
    """
    from reasrm.cli.rubrics_write import run_write

    run_write(flags, output)
