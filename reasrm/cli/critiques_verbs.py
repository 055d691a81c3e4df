"""`reasrm critiques …`: the flags of the verbs; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasrm.cli import flags
from reasrm.cli.console import guarded, set_quiet

__all__ = ["critiques_app"]

critiques_app = typer.Typer(
    help="Core arguments of critiques, and how well judges' agree with references. "
    "Example: reasrm critiques extract --input rows.jsonl --output arguments.jsonl",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Output = Annotated[Path, typer.Option("--output", help="JSONL; never an input.")]
Field = Annotated[
    str,
    typer.Option("--field", help="What holds the critique: a field of the row, or of each judgment."),
]
Model = Annotated[
    str | None, typer.Option("--model", help="Who is asked: a model folder, hub id or openai:MODEL@BASE_URL.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="Folder of the model's replies. Default: OUTPUT.cache.")
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Room for a reply, thinking included. Default: 1024."),
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Requests in flight (openai:).")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds for a whole answer (openai:).")]
Attempts = Annotated[int, typer.Option("--attempts", min=1, help="Most calls per request (openai:).")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Prompts per forward pass (hf).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 and so on.")]
Restart = Annotated[bool, typer.Option("--restart", help="Move an earlier output aside and begin anew.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Try again what is in the error file.")]


@critiques_app.command("extract")
@flags.reads_rows
def critiques_extract(
    input: Annotated[Path, typer.Option("--input", help="Rows with critiques, or what reasrm judge wrote.")],
    output: Output,
    extractor: Annotated[str, typer.Option("--extractor", help="rules, sandbox or model.")] = "rules",
    model: Model = None,
    field: Field = "critique",
    source: flags.SourceName = "auto",
    columns: flags.ColumnNames = None,
    cache: Cache = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = 16,
    timeout: Timeout = 600.0,
    attempts: Attempts = 5,
    header: flags.Headers = None,
    extra_body: flags.ExtraBody = None,
    follow_redirects: flags.FollowRedirects = False,
    allow_other_server: flags.AllowOtherServer = False,
    batch_size: BatchSize = 8,
    device: Device = "auto",
    retry_errors: RetryErrors = False,
    restart: Restart = False,
    quiet: flags.Quiet = False,
) -> None:
    """List the core arguments of critiques, by word rules or by a model. The same command again continues.

    Example: reasrm critiques extract --input judged.jsonl --output arguments.jsonl --extractor model
    --model openai:my-model@http://localhost:8000/v1
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.critiques import run_extract

        run_extract(
            input,
            output,
            source=source,
            columns=columns,
            field=field,
            settings={"extractor": extractor, "model": model, "cache": cache, "max_tokens": max_tokens},
            backend={
                "concurrency": concurrency,
                "timeout_s": timeout,
                "attempts": attempts,
                "headers": flags.read_headers(header),
                "extra_body": extra_body,
                "follow_redirects": follow_redirects,
                "batch_size": batch_size,
                "device": device,
            },
            restart=restart,
            retry_errors=retry_errors,
            allow_other_server=allow_other_server,
        )


@critiques_app.command("score")
@flags.reads_rows
def critiques_score(
    input: Annotated[Path, typer.Option("--input", help="What reasrm judge wrote.")],
    reference: Annotated[
        Path, typer.Option("--reference", help="The judged rows with their own critiques, by id.")
    ],
    output: Output,
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
            help="Instead of the config's: stems, exact, bleu, rouge_l, token_embeddings, sentence_encoder or model.",
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
    model: Model = None,
    field: Field = "critique",
    source: flags.SourceName = "auto",
    columns: flags.ColumnNames = None,
    cache: Cache = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = 16,
    timeout: Timeout = 600.0,
    attempts: Attempts = 5,
    header: flags.Headers = None,
    extra_body: flags.ExtraBody = None,
    follow_redirects: flags.FollowRedirects = False,
    allow_other_server: flags.AllowOtherServer = False,
    batch_size: BatchSize = 8,
    device: Device = "auto",
    retry_errors: RetryErrors = False,
    restart: Restart = False,
    quiet: flags.Quiet = False,
) -> None:
    """Score the critiques of judged rows against the rows' own: precision, recall, F1, AP, inconsistency.

    Example: reasrm critiques score --input judged.jsonl --reference pairs.jsonl --output scores.jsonl
    """
    set_quiet(quiet)
    with guarded():
        from reasrm.cli.critiques import run_score

        run_score(
            input,
            reference,
            output,
            config=config,
            source=source,
            columns=columns,
            field=field,
            settings={
                "extractor": extractor,
                "similarity": similarity,
                "threshold": threshold,
                "encoder": encoder,
                "model": model,
                "cache": cache,
                "max_tokens": max_tokens,
            },
            backend={
                "concurrency": concurrency,
                "timeout_s": timeout,
                "attempts": attempts,
                "headers": flags.read_headers(header),
                "extra_body": extra_body,
                "follow_redirects": follow_redirects,
                "batch_size": batch_size,
                "device": device,
            },
            restart=restart,
            retry_errors=retry_errors,
            allow_other_server=allow_other_server,
        )
