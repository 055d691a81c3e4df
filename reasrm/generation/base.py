"""What every backend offers: `generate`, and `score` where it can.

A backend pulls requests lazily from an iterator, keeps as many in flight as suits it, and yields completions in the
order they finish. Only the thread that consumes the completions advances `requests`. A backend never raises for one
bad request: that comes back as a completion with `finish_reason="error"` (or `"too_long"`), so that one poison row
cannot lose a batch. It raises only when nothing can go on. Closing the generator early ends what is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from reasrm.durable import DurableMap, ResumeState
from reasrm.requests import Completion, Request, TokenScores

__all__ = ["Backend", "ScoringBackend", "ServedBackend", "keep_provenance"]


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
    """A backend that can also read probabilities. No stage asks it yet: readouts of a judge are to."""

    def score(self, request: Request, continuations: Sequence[str]) -> list[TokenScores]:
        """Return the log-probabilities of each continuation under the request's prompt."""
        ...


@runtime_checkable
class ServedBackend(Backend, Protocol):
    """A backend whose model somebody else serves, so that what answers is only known from the answers."""

    def attach(
        self,
        recorded: Mapping[str, Any],
        note: Callable[[Mapping[str, Any]], None],
        *,
        resumed: bool,
        allow_other: bool = False,
    ) -> list[str]:
        """Compare with what an earlier run noted, note what is found from now on, return what to tell a person."""
        ...


def keep_provenance(
    backend: Backend, journal: DurableMap, resume: ResumeState, *, name: str, allow_other: bool
) -> ResumeState:
    """Keep which server answers with a run that was started, and refuse to go on with another one.

    Args:
        backend: Who is asked; nothing happens where the model is our own.
        journal: The run, whose manifest keeps it.
        resume: What was found of earlier runs.
        name: What the backend is to the run: `judge`, `teacher`, ….
        allow_other: Whether another server may go on with what the first one began.

    Returns:
        `resume`, with what a person should know among its warnings.

    Raises:
        ConfigError: The answers of the run came from another server.
    """
    if not isinstance(backend, ServedBackend):
        return resume
    said = backend.attach(
        journal.notes.get(name, {}),
        partial(journal.annotate, name),
        resumed=resume.num_done > 0,
        allow_other=allow_other,
    )
    return replace(resume, warnings=(*resume.warnings, *said))
