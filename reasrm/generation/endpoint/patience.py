"""Telling a row's own failure from the endpoint's: what fails every request stops the run and is recorded for none."""

from __future__ import annotations

from reasrm.errors import EnvironmentProblem
from reasrm.generation.endpoint.call import Outcome
from reasrm.requests import Completion

__all__ = ["Patience"]

_ONE_ROW = 2  # requests of a pair in both orders


class Patience:
    """Holds failures back until it is known whose they are. Used by one thread.

    A server that fails (5xx, silence, broken connections) until no attempt is left, and a refusal with the same words
    before anything was answered, are held back: an answer, or another failure, shows that they were the rows' own.

    Args:
        place: The address, for messages.
        limit: Failures in a row after which the run stops.
    """

    def __init__(self, place: str, limit: int) -> None:
        self.has_answered = False
        self._place, self._limit = place, limit
        self._held: list[Completion] = []
        self._streak = 0
        self._why: object = None

    def take(self, outcome: Outcome) -> list[Completion]:
        """Return what may be recorded now.

        Raises:
            EnvironmentProblem: Nothing is answered any more, or nobody ever was there.
        """
        if outcome.kind == "own":
            return [outcome.completion]
        own = outcome.kind == "answer" or (outcome.kind == "row" and self.has_answered)
        if own:
            self.has_answered |= outcome.kind == "answer"
            self._streak, self._why = 0, None
            return [*self._release(), outcome.completion]
        why = outcome.refusal.signature if outcome.kind == "row" and outcome.refusal else "down"
        released = [] if why == self._why else self._release()
        self._streak = self._streak + 1 if why == self._why else 1
        self._why = why
        self._held.append(outcome.completion)
        if outcome.kind == "unreachable" and not self.has_answered:
            raise self._stop("the endpoint cannot be reached", outcome)
        if self._streak >= self._limit:
            what = f"{self._streak} requests in a row without an answer"
            raise self._stop(what if self.has_answered else f"the first {what}", outcome)
        return released

    def end(self) -> list[Completion]:
        """Return what was held back until all requests had ended.

        Raises:
            EnvironmentProblem: The server failed for every one of several rows, and never answered.
        """
        if self._why == "down" and not self.has_answered and len(self._held) > _ONE_ROW:
            raise self._stop(f"none of {len(self._held)} requests was answered", None)
        return self._release()

    def _release(self) -> list[Completion]:
        released, self._held = self._held, []
        return released

    def _stop(self, what: str, outcome: Outcome | None) -> EnvironmentProblem:
        last = self._held[-1] if outcome is None else outcome.completion
        self._held = []
        return EnvironmentProblem(
            f"{what}: {last.error}",
            place=self._place,
            remedy="mend what the reason names, then run the same command again; no row was given up for it",
        )
