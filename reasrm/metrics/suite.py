"""What a suite is: one file of `metrics/suites`, with a name, a default protocol and a pure scoring function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.policy import CreditPolicy
from reasrm.metrics.result import SuiteResult

__all__ = ["Suite"]


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
        about: What its official score is, for people.
        default_spec: How a judge without a protocol of its own is asked.
        score: The official metric.
        policy: What counts unless told otherwise.
        sources: The schemas whose rows it is made for; others are scored with a warning.
        needs_source: Whether rows of another schema cannot be scored at all.
        asks_everything: Whether identical and empty responses are judged too, as the benchmark does.
        published: Reads a file of published subset scores as outcomes, or returns None for any other file.
    """

    name: str
    about: str
    default_spec: str
    score: Scorer
    policy: CreditPolicy
    sources: tuple[str, ...] = ()
    needs_source: bool = False
    asks_everything: bool = True
    published: Callable[[Path], list[RowOutcome] | None] | None = None
