"""Sets of flags that verbs take whole: `takes` gives a command every flag of a class, which it receives as `flags`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Option

from reasrm.cli.console import chatter_to_stderr, guarded, set_quiet
from reasrm.cli.flags import (
    AllowOtherServer,
    BackendChoice,
    BudgetMoney,
    BudgetTokens,
    CoerceScalars,
    ColumnNames,
    DedupeChoice,
    ExtraBody,
    FollowRedirects,
    Headers,
    Inputs,
    OrdersChoice,
    PolicyChoice,
    PricePerMillion,
    Quiet,
    Seed,
    SourceName,
    WriterOrdersChoice,
    read_headers,
    reads_rows,
)
from reasrm.pipes import settled
from reasrm.tables import given_columns

__all__ = ["AskingFlags", "CritiqueFlags", "JudgingFlags", "VerifyingFlags", "WritingFlags", "takes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingFlags:
    """Which rows a model is asked about, how it is run, and what happens to earlier output."""

    input: Inputs
    source: SourceName = "auto"
    columns: ColumnNames = None
    temperature: Annotated[float | None, Option(min=0.0, max=100.0, help="Default: the spec's.")] = None
    top_p: Annotated[float | None, Option(min=1e-6, max=1.0, help="Default: the spec's.")] = None
    max_tokens: Annotated[int | None, Option(min=1, max=2**31 - 1, help="Default: the spec's.")] = None
    limit: Annotated[int | None, Option(min=1, help="Take at most this many rows.")] = None
    seed: Seed = 0
    retry_errors: Annotated[bool, Option("--retry-errors", help="Try the rows of the error file again.")] = (
        False
    )
    restart: Annotated[bool, Option("--restart", help="Move an earlier output aside and begin anew.")] = False
    strict: Annotated[bool, Option("--strict", help="Refuse a damaged output or a changed input.")] = False
    dedupe: Annotated[DedupeChoice, Option(help="Repeated ids: refuse, or keep the first if equal.")] = (
        DedupeChoice.refuse
    )
    coerce_scalars: CoerceScalars = False
    price: PricePerMillion = None
    budget: BudgetMoney = None
    budget_tokens: BudgetTokens = None
    allow_changed: Annotated[
        bool,
        Option("--allow-changed", help="Open a judge folder that is not as it was exported, and say so."),
    ] = False
    backend: Annotated[BackendChoice, Option(help="What runs a model folder or hub id.")] = "hf"
    batch_size: Annotated[int, Option(min=1, help="Prompts per forward pass (hf).")] = 8
    concurrency: Annotated[int, Option(min=1, help="Requests in flight (openai:).")] = 16
    timeout: Annotated[float, Option(min=0.001, max=604800, help="Seconds for a whole answer (openai:).")] = (
        600.0
    )
    header: Headers = None
    extra_body: ExtraBody = None
    follow_redirects: FollowRedirects = False
    allow_other_server: AllowOtherServer = False
    dtype: Annotated[str, Option(help="auto, float32, bfloat16 or float16.")] = "auto"
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 and so on.")] = "auto"
    tensor_parallel_size: Annotated[int, Option(min=1, help="GPUs per model (vllm).")] = 1
    revision: Annotated[str | None, Option(help="Revision of a hub id.")] = None
    max_context: Annotated[int | None, Option(min=1, help="Tokens of prompt and answer together.")] = None
    dry_run: Annotated[bool, Option("--dry-run", help="Validate, show a prompt, ask nobody.")] = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        """Keep what comes through a pipe, which is read more than once."""
        object.__setattr__(self, "input", [*map(settled, self.input)])

    def row_options(self) -> dict[str, Any]:
        """Return how rows are read."""
        return {
            "source": self.source,
            "coerce_scalars": self.coerce_scalars,
            "dedupe": self.dedupe.value,
            "limit": self.limit,
            "columns": given_columns(self.columns),
        }

    def backend_options(self) -> dict[str, Any]:
        """Return what a backend is opened with."""
        return {
            "backend": str(self.backend),
            "batch_size": self.batch_size,
            "concurrency": self.concurrency,
            "timeout_s": self.timeout,
            "headers": read_headers(self.header),
            "extra_body": self.extra_body,
            "follow_redirects": self.follow_redirects,
            "dtype": self.dtype,
            "device": self.device,
            "tensor_parallel_size": self.tensor_parallel_size,
            "revision": self.revision,
            "max_context": self.max_context,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingFlags(AskingFlags):
    """Who judges what, how, and what happens to earlier output. Fields and flags have the same names."""

    judge: Annotated[
        str,
        Option(help="A judge folder; a model folder or hub id; openai:MODEL@BASE_URL; replay; replay:FILE."),
    ]
    spec: Annotated[str | None, Option(help="How the judge is asked and read: a name or a file.")] = None
    orders: Annotated[OrdersChoice, Option(help="Show both orders, the given, or a drawn one.")] = (
        OrdersChoice.both
    )
    votes: Annotated[int, Option(min=1, max=10_000, help="Samples per order.")] = 1
    verdict_policy: Annotated[
        PolicyChoice, Option(help="Read strictly, or as the suite's own script does.")
    ] = PolicyChoice.strict
    rubrics: Annotated[
        str | None,
        Option(
            help="Rubrics by row id or prompt: JSONL, or a public set; write:WRITER has a writer write them first."
        ),
    ] = None
    rubrics_that_saw_labels: Annotated[
        bool,
        Option(
            "--rubrics-that-saw-labels",
            help="Judge also by rubrics whose authors knew the rows' labels; the result says so.",
        ),
    ] = False
    judge_identical: Annotated[bool, Option("--judge-identical", help="Also judge equal responses.")] = False
    judge_degenerate: Annotated[bool, Option("--judge-degenerate", help="Also judge empty responses.")] = (
        False
    )
    max_unreadable: Annotated[
        int | None, Option(min=1, help="Stop, exit 3, once so many judgments could not be read.")
    ] = None
    secret_codes: Annotated[
        bool,
        Option(
            "--secret-codes", help="Make section codes of a drawn secret too; OUT.manifest.json keeps it."
        ),
    ] = False
    min_coverage: Annotated[float, Option(min=0.0, max=1.0, help="Exit 3 if fewer rows were readable.")] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingFlags(AskingFlags):
    """Who writes rubrics for what, how, and what happens to earlier output."""

    writer: Annotated[str, Option(help="A writer's folder; a model folder or hub id; openai:MODEL@BASE_URL.")]
    spec: Annotated[
        str | None,
        Option(help="How the writer is asked: a name or a file. Default: its folder's, or rubric-writer."),
    ] = None
    orders: Annotated[
        WriterOrdersChoice | None,
        Option(help="For a writer that sees pairs: a drawn order, the other one, or the rows' own."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingFlags(AskingFlags):
    """Which rubrics which judge verifies, what is kept, and what happens to earlier output."""

    input: Annotated[
        list[Path], Option("--input", help="The rubrics: one file, any that judge --rubrics takes.")
    ]
    pairs: Annotated[list[Path], Option(help="Labelled rows that the rubrics are for. Repeatable.")]
    judge: Annotated[
        str, Option(help="Who verifies: a judge or model folder, hub id or openai:MODEL@BASE_URL.")
    ]
    spec: Annotated[
        str | None, Option(help="How it is asked under a rubric. Default: its folder's, or rubric.")
    ] = None
    without_spec: Annotated[
        str | None, Option(help="How it is asked without one, where --spec needs a rubric.")
    ] = None
    orders: Annotated[OrdersChoice, Option(help="Both orders of each pair, or a drawn (random) one.")] = (
        OrdersChoice.both
    )
    votes: Annotated[int, Option(min=1, max=10_000, help="Samples per order.")] = 1
    require: Annotated[
        str, Option(help="Judgments of a pair that must be right: both (all), majority or one.")
    ] = "both"
    tau: Annotated[
        float, Option(min=0.0, max=1.0, help="Least share of a request's pairs that come out right.")
    ] = 0.5
    gain: Annotated[
        bool, Option("--gain", help="Keep only what the judge needs: without it, it is not right.")
    ] = False
    allow_author: Annotated[
        bool, Option("--allow-author", help="Let a judge verify rubrics that it wrote.")
    ] = False
    group_by: Annotated[str, Option(help="What the ledger counts by: source or subset.")] = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class CritiqueFlags:
    """Where critiques stand, who is asked about them, and what happens to earlier output."""

    output: Annotated[Path, Option(help="JSONL; never an input.")]
    model: Annotated[
        str | None, Option(help="Who is asked: a model folder, hub id or openai:MODEL@BASE_URL.")
    ] = None
    field: Annotated[
        str, Option(help="What holds the critique: a field of the row, or of each judgment.")
    ] = "critique"
    source: SourceName = "auto"
    columns: ColumnNames = None
    cache: Annotated[Path | None, Option(help="Folder of the model's replies. Default: OUTPUT.cache.")] = None
    max_tokens: Annotated[
        int | None, Option(min=1, help="Room for a reply, thinking included. Default: 1024.")
    ] = None
    concurrency: Annotated[int, Option(min=1, help="Requests in flight (openai:).")] = 16
    timeout: Annotated[float, Option(min=0.001, help="Seconds for a whole answer (openai:).")] = 600.0
    attempts: Annotated[int, Option(min=1, help="Most calls per request (openai:).")] = 5
    header: Headers = None
    extra_body: ExtraBody = None
    follow_redirects: FollowRedirects = False
    allow_other_server: AllowOtherServer = False
    batch_size: Annotated[int, Option(min=1, help="Prompts per forward pass (hf).")] = 8
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 and so on.")] = "auto"
    retry_errors: Annotated[bool, Option("--retry-errors", help="Try again what is in the error file.")] = (
        False
    )
    restart: Annotated[bool, Option("--restart", help="Move an earlier output aside and begin anew.")] = False
    quiet: Quiet = False

    @property
    def asked(self) -> dict[str, Any]:
        """What a `CritiqueSection` says of the model."""
        return {"model": self.model, "cache": self.cache, "max_tokens": self.max_tokens}

    @property
    def backend(self) -> dict[str, Any]:
        """Options of `open_backend`."""
        return {
            "concurrency": self.concurrency,
            "timeout_s": self.timeout,
            "attempts": self.attempts,
            "headers": read_headers(self.header),
            "extra_body": self.extra_body,
            "follow_redirects": self.follow_redirects,
            "batch_size": self.batch_size,
            "device": self.device,
        }


def takes(
    kind: type[AskingFlags] | type[CritiqueFlags],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every flag of a class; it receives them as its keyword argument `flags`, and runs guarded.

    Typer reads flags from a function's signature, so the signature is put together here: the command's own
    parameters first, then one per field.
    """
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
        )
        for field in sorted(dataclasses.fields(kind), key=lambda f: f.default is not dataclasses.MISSING)
    ]

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        own = [parameter for parameter in own if parameter.name != "flags"]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {parameter.name: values.pop(parameter.name) for parameter in shared}
            set_quiet(given["quiet"])
            with guarded(), chatter_to_stderr():
                command(**values, flags=kind(**given))

        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
        return reads_rows(run)

    return give
