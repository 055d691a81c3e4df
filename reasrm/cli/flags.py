"""The flags that several verbs share, each defined once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option


class OrdersChoice(StrEnum):
    """Which orders to judge in."""

    both = "both"
    given = "given"
    random = "random"


class PolicyChoice(StrEnum):
    """How verdicts are read."""

    strict = "strict"
    upstream = "upstream"


class DedupeChoice(StrEnum):
    """What to do with repeated ids."""

    refuse = "refuse"
    first = "first"


class BackendChoice(StrEnum):
    """What runs a model folder or hub id."""

    hf = "hf"
    vllm = "vllm"


JudgeName = Annotated[
    str,
    Option(
        "--judge",
        help="A judge folder; a model folder or hub id (with --spec); openai:MODEL@BASE_URL; replay; replay:FILE.",
    ),
]
Inputs = Annotated[
    list[Path], Option("--input", help="JSONL, .jsonl.gz or JSON. May be given several times.")
]
Spec = Annotated[str | None, Option("--spec", help="How the judge is asked and read: a name or a file.")]
SourceName = Annotated[str, Option("--source", help="The rows' schema; auto recognises it.")]
Orders = Annotated[
    OrdersChoice, Option("--orders", help="Show responses in both, the given, or a drawn order.")
]
Votes = Annotated[int, Option("--votes", min=1, help="Samples per order.")]
Policy = Annotated[
    PolicyChoice, Option("--verdict-policy", help="Read strictly, or as the suite's own script does.")
]
Temperature = Annotated[float | None, Option("--temperature", min=0.0, help="Default: the spec's.")]
TopP = Annotated[float | None, Option("--top-p", min=0.0, max=1.0, help="Default: the spec's.")]
MaxTokens = Annotated[int | None, Option("--max-tokens", min=1, help="Default: the spec's.")]
Rubrics = Annotated[Path | None, Option("--rubrics", help="JSONL of rubrics by id.")]
Limit = Annotated[int | None, Option("--limit", min=1, help="Judge at most this many rows.")]
Seed = Annotated[int, Option("--seed", help="Root of every draw.")]
RetryErrors = Annotated[bool, Option("--retry-errors", help="Try the rows of the error file again.")]
Restart = Annotated[bool, Option("--restart", help="Move an earlier output aside and begin anew.")]
Strict = Annotated[bool, Option("--strict", help="Refuse damaged outputs and duplicate keys.")]
Dedupe = Annotated[DedupeChoice, Option("--dedupe", help="Repeated ids: refuse, or keep the first if equal.")]
JudgeIdentical = Annotated[bool, Option("--judge-identical", help="Also judge equal responses.")]
JudgeDegenerate = Annotated[bool, Option("--judge-degenerate", help="Also judge empty responses.")]
CoerceScalars = Annotated[
    bool, Option("--coerce-scalars", help="Read true or 7 as the texts 'true' and '7'.")
]
MinCoverage = Annotated[
    float, Option("--min-coverage", min=0.0, max=1.0, help="Exit 3 if fewer rows were readable.")
]
BackendName = Annotated[BackendChoice, Option("--backend", help="What runs a model folder or hub id.")]
BatchSize = Annotated[int, Option("--batch-size", min=1, help="Prompts per forward pass (hf).")]
Concurrency = Annotated[int, Option("--concurrency", min=1, help="Requests in flight (openai:).")]
Timeout = Annotated[float, Option("--timeout", min=0.001, help="Seconds per request (openai:).")]
Dtype = Annotated[str, Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, Option("--device", help="auto, cpu, cuda, cuda:1 …")]
TensorParallel = Annotated[int, Option("--tensor-parallel-size", min=1, help="GPUs per model (vllm).")]
Revision = Annotated[str | None, Option("--revision", help="Revision of a hub id.")]
MaxContext = Annotated[int | None, Option("--max-context", min=1, help="Tokens of prompt and answer.")]
DryRun = Annotated[bool, Option("--dry-run", help="Validate the input, show a prompt, judge nothing.")]
Quiet = Annotated[bool, Option("--quiet", help="Silence stderr.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingFlags:
    """The flags of `judge` and `eval`, as given."""

    judge: str
    input: list[Path]
    spec: str | None
    source: str
    orders: OrdersChoice
    votes: int
    verdict_policy: PolicyChoice
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    rubrics: Path | None
    limit: int | None
    seed: int
    retry_errors: bool
    restart: bool
    strict: bool
    dedupe: DedupeChoice
    judge_identical: bool
    judge_degenerate: bool
    coerce_scalars: bool
    min_coverage: float
    backend: BackendChoice
    batch_size: int
    concurrency: int
    timeout: float
    dtype: str
    device: str
    tensor_parallel_size: int
    revision: str | None
    max_context: int | None
    dry_run: bool
    quiet: bool
