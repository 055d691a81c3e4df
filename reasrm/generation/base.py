"""What every backend offers: `generate`, and `score` where it can.

A backend pulls requests lazily from an iterator, keeps as many in flight as suits it, and yields completions in the
order they finish. Only the thread that consumes the completions advances `requests`. A backend never raises for one
bad request: that comes back as a completion with `finish_reason="error"` (or `"too_long"`), so that one poison row
cannot lose a batch. It raises only when nothing can go on. Closing the generator early ends what is in flight.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, runtime_checkable

from reasrm.requests import Completion, Request, TokenScores

__all__ = ["Backend", "ScoringBackend"]


@runtime_checkable
class Backend(Protocol):
    """A model, an endpoint, or recorded answers."""

    @property
    def name(self) -> str:
        """What a result says it was judged by: a path, a model id, `replay`."""
        ...

    @property
    def identity(self) -> dict[str, str]:
        """What must be equal for a run to be continued: model, revision, dtype. JSON-serialisable, stable."""
        ...

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield one completion per request, as they finish, in any order. Pulls `requests` lazily."""
        ...

    def close(self) -> None:
        """Release workers and memory. Calling it twice is harmless."""
        ...


@runtime_checkable
class ScoringBackend(Backend, Protocol):
    """A backend that can also read probabilities."""

    def score(self, request: Request, continuations: Sequence[str]) -> list[TokenScores]:
        """Return the log-probabilities of each continuation under the request's prompt."""
        ...
