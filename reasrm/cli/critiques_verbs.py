"""`reasrm critiques …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli.flag_sets import CritiqueFlags, takes
from reasrm.registry import names

__all__ = ["critiques_app"]

_SIMILARITIES = ", ".join(names("reasrm.scorers.similarities"))

critiques_app = typer.Typer(
    help="Core arguments of critiques, and how well judges' agree with references. "
    "Example: reasrm critiques extract --input rows.jsonl --output arguments.jsonl",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@critiques_app.command("extract")
@takes(CritiqueFlags)
def critiques_extract(
    *,
    input: Annotated[Path, typer.Option("--input", help="Rows with critiques, or what reasrm judge wrote.")],
    extractor: Annotated[str, typer.Option("--extractor", help="rules, sandbox or model.")] = "rules",
    flags: CritiqueFlags,
) -> None:
    """List the core arguments of critiques, by word rules or by a model. The same command again continues.

    Example: reasrm critiques extract --input judged.jsonl --output arguments.jsonl --extractor model
    --model openai:my-model@http://localhost:8000/v1
    """
    from reasrm.cli.critiques import run_extract

    run_extract(input, extractor, flags)


@critiques_app.command("score")
@takes(CritiqueFlags)
def critiques_score(
    *,
    input: Annotated[Path, typer.Option("--input", help="What reasrm judge wrote.")],
    reference: Annotated[
        Path, typer.Option("--reference", help="The judged rows with their own critiques, by id.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="How critiques are compared, YAML. Default: word rules.")
    ] = None,
    extractor: Annotated[
        str | None, typer.Option("--extractor", help="Instead of the config's: rules, sandbox or model.")
    ] = None,
    similarity: Annotated[
        str | None,
        typer.Option(
            "--similarity",
            help=f"Instead of the config's; one of: {_SIMILARITIES}.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Instead of the config's: least similarity of a match."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Model folder or hub id of sentence_encoder and token_embeddings."),
    ] = None,
    flags: CritiqueFlags,
) -> None:
    """Score the critiques of judged rows against the rows' own: precision, recall, F1, AP, inconsistency.

    Example: reasrm critiques score --input judged.jsonl --reference pairs.jsonl --output scores.jsonl
    """
    from reasrm.cli.critiques import run_score

    compared = {"extractor": extractor, "similarity": similarity, "threshold": threshold, "encoder": encoder}
    run_score(input, reference, config, compared, flags)
