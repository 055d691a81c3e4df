"""The flags that several verbs share, each defined once."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from reasrm.errors import ConfigError
from reasrm.jsonl import RowLimits, set_limits
from reasrm.registry import names

if TYPE_CHECKING:
    from reasrm.generation.budget import Budget

__all__ = [
    "AllowOtherServer",
    "BudgetMoney",
    "BudgetTokens",
    "CoerceScalars",
    "ColumnNames",
    "ExtraBody",
    "FollowRedirects",
    "Headers",
    "Inputs",
    "Overrides",
    "PlanOnly",
    "PricePerMillion",
    "Quiet",
    "Resume",
    "RunDir",
    "SandboxConfig",
    "Seed",
    "SourceName",
    "StageConfig",
    "as_override",
    "budget_of",
    "budget_overrides",
    "read_headers",
    "reads_rows",
]


Inputs = Annotated[
    list[Path],
    Option(
        "--input",
        help="JSONL, JSON, Parquet, Arrow, CSV or TSV, also compressed; a folder of shards; a quoted glob; a pipe, or "
        "- for standard input; hf://owner/name[@revision][:config][/split]. Repeatable.",
    ),
]
ColumnNames = Annotated[
    str | None,
    Option(
        "--columns",
        help="field=column,…: which column, or path such as messages[0].content, holds which field; "
        "or a YAML file of lines 'field: column'.",
    ),
]
SourceName = Annotated[str, Option("--source", help="The rows' schema; auto recognises it.")]
CoerceScalars = Annotated[
    bool, Option("--coerce-scalars", help="Read true or 7 as the texts 'True' and '7'.")
]
Seed = Annotated[int, Option("--seed", min=-(2**63), max=2**63 - 1, help="Root of every draw.")]
SandboxConfig = Annotated[
    Path | None,
    Option("--config", help="A sandbox configuration: YAML, or one that ships, such as sandbox/demo."),
]
Overrides = Annotated[
    list[str] | None, Option("--set", help="Override a key of the config: seed=1, or a.b=value. Repeatable.")
]
StageConfig = Annotated[
    Path, Option("--config", help="The stage's YAML file, or one that ships: sandbox/sft.")
]
RunDir = Annotated[
    Path | None,
    Option("--run-dir", help="The run's folder. Default: runs/VERB-CONFIG, such as runs/sft-sft."),
]
Resume = Annotated[bool, Option("--resume", help="Go on from the last checkpoint.")]
PlanOnly = Annotated[bool, Option("--dry-run", help="Show rows, lengths, steps and memory; train nothing.")]
Headers = Annotated[
    list[str] | None,
    Option(
        "--header",
        metavar="NAME=VALUE",
        help="Sent with every call (openai:); kept secret. env:NAME as the value reads the environment. Repeatable.",
    ),
]
ExtraBody = Annotated[
    str | None, Option("--extra-body", metavar="JSON", help="Fields of every request besides ours (openai:).")
]
FollowRedirects = Annotated[
    bool,
    Option("--follow-redirects", help="Ask another host it redirects to, without key and headers (openai:)."),
]
AllowOtherServer = Annotated[
    bool,
    Option("--allow-other-server", help="Go on where another server or served model answered (openai:)."),
]
PricePerMillion = Annotated[
    str | None,
    Option(
        "--price", metavar="IN,OUT", help="Money per million prompt and completion tokens, such as 0.15,0.6."
    ),
]
BudgetMoney = Annotated[
    float | None,
    Option(
        "--budget", min=0.0, help="Most money to spend, earlier runs of this output included; needs prices."
    ),
]
BudgetTokens = Annotated[
    int | None,
    Option("--budget-tokens", min=0, help="Most prompt and completion tokens, earlier runs included."),
]
Quiet = Annotated[bool, Option("--quiet", help="Silence stderr.")]


class OrdersChoice(StrEnum):
    """Which orders to judge in."""

    both = "both"
    given = "given"
    random = "random"


class WriterOrdersChoice(StrEnum):
    """In which order a rubric writer sees a pair."""

    random = "random"
    swap = "swap"
    given = "given"


class PolicyChoice(StrEnum):
    """How verdicts are read."""

    strict = "strict"
    upstream = "upstream"


class DedupeChoice(StrEnum):
    """What to do with repeated ids."""

    refuse = "refuse"
    first = "first"


if TYPE_CHECKING:
    BackendChoice = str
else:
    BackendChoice = StrEnum("BackendChoice", {name: name for name in names("reasrm.generation.engines")})


def read_headers(texts: Sequence[str] | None) -> dict[str, str]:
    """Return what `--header NAME=VALUE` gives.

    Raises:
        ConfigError: One is not of that form; its value is not shown.
    """
    headers = {}
    for number, text in enumerate(texts or (), 1):
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--header number {number} holds no '='", remedy="write --header NAME=VALUE")
        headers[name.strip()] = value
    return headers


def budget_of(price: str | None, money: float | None, tokens: int | None, *asked: str) -> Budget:
    """Return what `--price`, `--budget` and `--budget-tokens` say, one price for all that are asked.

    Raises:
        ConfigError: The price is none, or missing where the budget is money.
    """
    from reasrm.generation.budget import Budget, Price

    prices = {} if price is None else dict.fromkeys(asked, Price.parse(price))
    return Budget(prices=prices, money=money, tokens=tokens)


def budget_overrides(price: str | None, money: float | None, tokens: int | None) -> list[str]:
    """Return what the three flags say as overrides of a config's keys."""
    from reasrm.generation.budget import Price

    said = None if price is None else Price.parse(price)
    pair = [] if said is None else [f"price=[{said.prompt!r}, {said.completion!r}]"]
    limits = {"budget": money, "budget_tokens": tokens}
    return [*pair, *(f"{key}={value!r}" for key, value in limits.items() if value is not None)]


def as_override(columns: str | None, key: str) -> list[str]:
    """Return what `--columns` says as an override of a config's key."""
    if columns is None:
        return []
    from reasrm.tables import given_columns

    return [f"{key}={json.dumps(given_columns(columns))}"]


_DEFAULT = RowLimits()
_LIMITS = (
    inspect.Parameter(
        "max_row_bytes",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[int, Option("--max-row-bytes", min=1, help="Longest row that is read.")],
        default=_DEFAULT.row_bytes,
    ),
    inspect.Parameter(
        "max_unpacked_bytes",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[
            int,
            Option(
                "--max-unpacked-bytes", min=1, help="What a .gz may hold; beyond it, 200 times its own size."
            ),
        ],
        default=_DEFAULT.unpacked_bytes,
    ),
)


def reads_rows(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say how long a row and how large an unpacked file may be."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())

    @wraps(command)
    def run(*args: Any, max_row_bytes: int, max_unpacked_bytes: int, **values: Any) -> None:
        set_limits(RowLimits(row_bytes=max_row_bytes, unpacked_bytes=max_unpacked_bytes))
        command(*args, **values)

    run.__signature__ = inspect.Signature([*own, *_LIMITS])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *_LIMITS)}
    return run
