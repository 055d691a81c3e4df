"""Telling a row's own failure from the endpoint's: what fails every request stops the run and is recorded for none."""

from __future__ import annotations

import time
from collections.abc import Callable

from reasrm.errors import EnvironmentProblem, ReasrmError
from reasrm.generation.endpoint.call import RequestEnd
from reasrm.requests import Completion

__all__ = ["Patience"]

_ONE_ROW = 2  # requests of a pair in both orders


class Patience:
    """Holds failures back until it is known whose they are. Used by one thread.

    A server that fails (5xx, silence, broken connections) until no attempt is left, a 403, and a refusal with the same
    words before anything was answered, are held back. What is answered later, to a call that began later, or another
    kind of failure, shows that they were the rows' own.

    Args:
        place: The address, for messages.
        limit: Failures in a row after which the run stops.
        explain: From a request that may not be asked to the error that stops the run.
    """

    def __init__(self, place: str, limit: int, explain: Callable[[RequestEnd], ReasrmError]) -> None:
        self.has_answered = False
        self.answered_before = False  # in an earlier run of the same output
        self._place, self._limit, self._explain = place, limit, explain
        self._last: RequestEnd | None = None
        self._held: list[tuple[float, Completion | None]] = []  # when, and what is not recorded yet
        self._why: object = None

    def take(self, outcome: RequestEnd) -> list[Completion]:
        """Return what may be recorded now.

        Raises:
            ReasrmError: Nothing is answered any more, or nobody ever was there.
        """
        if outcome.kind == "own":
            return [outcome.completion]
        if outcome.kind == "answer" or (outcome.kind == "row" and self.has_answered):
            self.has_answered |= outcome.kind == "answer"
            return [*self._release(outcome.began if self._why == "down" else None), outcome.completion]
        why = outcome.refusal.signature if outcome.kind == "row" and outcome.refusal else "down"
        released = [] if why == self._why else self._release()
        self._why, self._last = why, outcome
        self._held.append((time.monotonic(), outcome.completion))
        if outcome.kind == "unreachable" and not self.has_answered:
            raise self._stop("the endpoint cannot be reached", outcome.completion)
        if len(self._held) >= self._limit:
            if outcome.kind == "barred":
                raise self._explain(outcome)
            what = f"{len(self._held)} requests in a row without an answer"
            raise self._stop(what if self.has_answered else f"the first {what}", outcome.completion)
        return released

    def end(self) -> list[Completion]:
        """Return what was held back until all requests had ended; it still counts when more are sent.

        Raises:
            ReasrmError: The server failed for every one of several rows, or refused them all, and never answered.
        """
        waiting = [completion for _, completion in self._held if completion is not None]
        was_answered = self.has_answered or self.answered_before
        if waiting and not was_answered and self._last is not None and self._last.kind == "barred":
            raise self._explain(self._last)
        if self._why == "down" and not self.has_answered and len(waiting) > _ONE_ROW:
            raise self._stop(f"none of {len(waiting)} requests was answered", waiting[-1])
        self._held = [(when, None) for when, _ in self._held]
        return waiting

    def _release(self, before: float | None = None) -> list[Completion]:
        """Give up holding what failed before that time, or everything."""
        gone = [item for item in self._held if before is None or item[0] < before]
        self._held = self._held[len(gone) :]
        return [completion for _, completion in gone if completion is not None]

    def _stop(self, what: str, last: Completion) -> EnvironmentProblem:
        self._held = []
        return EnvironmentProblem(
            f"{what}: {last.error}",
            place=self._place,
            remedy="mend what the reason names, then run the same command again; no row was given up for it",
        )
