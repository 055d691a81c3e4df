"""The suites that `reasrm eval` knows, each one a name, a default protocol and a pure scoring function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reasrm.config import nearest
from reasrm.errors import ConfigError
from reasrm.evaluation import published
from reasrm.metrics import accuracy, alpaca_eval, judgebench, llmbar, pandalm, rewardbench, rm_bench
from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.result import SuiteResult

__all__ = ["SUITES", "Suite", "get_suite"]


class Scorer(Protocol):
    """Outcomes and a bootstrap seed in, the official metric and its companions out."""

    def __call__(self, rows: Sequence[RowOutcome], *, seed: int = 0) -> SuiteResult:
        """Score judged rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A benchmark.

    Args:
        name: What `reasrm eval` calls it.
        default_spec: How a judge without a protocol of its own is asked.
        score: The official metric.
        about: One line for people.
        sources: The schemas whose rows it is made for; others are scored with a warning.
        needs_source: Whether rows of another schema cannot be scored at all.
        asks_everything: Whether identical and empty responses are judged too, as the benchmark does.
        published: Reads a file of published subset scores as outcomes, or returns None for any other file.
    """

    name: str
    default_spec: str
    score: Scorer
    about: str
    sources: tuple[str, ...] = ()
    needs_source: bool = False
    asks_everything: bool = True
    published: Callable[[Path], list[RowOutcome] | None] | None = None


SUITES: tuple[Suite, ...] = (
    Suite(
        name="judgebench",
        default_spec="arena-hard",
        sources=("judgebench",),
        score=judgebench.evaluate,
        about="JudgeBench: a pair is right if its two games sum to more than zero",
    ),
    Suite(
        name="llmbar",
        default_spec="llmbar",
        sources=("llmbar",),
        score=llmbar.evaluate,
        about="LLMBar: mean of the accuracies in both orders",
    ),
    Suite(
        name="rm-bench",
        default_spec="rm-r1",
        sources=("rm-bench",),
        needs_source=True,
        score=rm_bench.evaluate,
        about="RM-Bench: 3×3 styles; easy, normal, hard; mean over domains",
    ),
    Suite(
        name="pandalm",
        default_spec="mt-bench",
        sources=("pandalm",),
        score=pandalm.evaluate,
        about="PandaLM: accuracy against the majority of three annotators, ties a class of their own",
    ),
    Suite(
        name="rewardbench",
        default_spec="rm-r1",
        sources=("rewardbench",),
        needs_source=True,
        score=rewardbench.evaluate,
        about="RewardBench 1: prompt-weighted section scores and their mean",
        published=published.rewardbench_outcomes,
    ),
    Suite(
        name="alpaca-eval",
        default_spec="mt-bench",
        sources=("alpaca-eval",),
        score=alpaca_eval.evaluate,
        about="AlpacaEval: win rate of the second output, by the judge's probability where it has one",
    ),
    Suite(
        name="pairs",
        default_spec="rm-r1",
        score=accuracy.evaluate,
        about="any labelled pairs: accuracy over rows",
        asks_everything=False,
    ),
)


def get_suite(name: str) -> Suite:
    """Return a suite by name.

    Raises:
        ConfigError: No such suite; names the nearest.
    """
    for suite in SUITES:
        if suite.name == name:
            return suite
    names = [suite.name for suite in SUITES]
    guess = nearest(name, names)
    raise ConfigError(
        f"no suite {name!r}", remedy=f"did you mean {guess!r}?" if guess else f"one of: {', '.join(names)}"
    )
