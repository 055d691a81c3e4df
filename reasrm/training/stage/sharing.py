"""Slow questions shared out over the processes of a launch, and a note of who answered them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from reasrm.errors import ConfigError, EnvironmentProblem, ReasrmError
from reasrm.files import write_json_atomic
from reasrm.generation.base import ServedBackend
from reasrm.rewards.base import RewardProblem, Rollout, Values
from reasrm.rewards.build import RewardFunction
from reasrm.runs import RunFolder
from reasrm.runs.identity import read_json

__all__ = ["SERVERS", "Shared", "ask_together", "note_server"]

SERVERS = "servers.json"
"""In a run folder: section of the config → address, model asked for and models that answered."""

_ItemT = TypeVar("_ItemT")
_AnswerT = TypeVar("_AnswerT")


class Shared(Generic[_ItemT, _AnswerT]):
    """A referee or critique scorer that is asked in all processes at once: each asks its share, all get all answers.

    All processes must put the same questions. Shares are neighbours, so that the equal questions of a group are mostly
    in one process, which asks once. What stops one process stops all, with the same error.

    Args:
        ask: Who answers; its `failure`, if it has one, says why its last batch came to nothing.
        around: What surrounds the asking; a model is loaded when it is first asked.

    Attributes:
        failure: Why nobody of the last batch got an answer, in no process; None if somebody did.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[_ItemT]], list[_AnswerT]],
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._ask, self._around = ask, around
        self.failure: str | None = None

    def __call__(self, items: Sequence[_ItemT], /) -> list[_AnswerT]:
        """Return one answer per item."""
        state = PartialState()
        size = -(-len(items) // state.num_processes)
        mine = items[state.process_index * size : (state.process_index + 1) * size]
        told = gather_object([self._outcome(mine)])
        for _, _, problem in told:
            if problem is not None:
                raise _rebuilt(*problem)
        failures = [failure for answers, failure, _ in told if answers]
        self.failure = failures[-1] if failures and None not in failures else None
        return [answer for answers, _, _ in told for answer in answers]

    def _outcome(self, mine: Sequence[_ItemT]) -> tuple[list[_AnswerT], str | None, tuple[Any, ...] | None]:
        """Return the answers, why there are none, and what was thrown, in a form that other processes can read."""
        if not mine:
            return [], None, None
        try:
            with self._around():
                return self._ask(mine), getattr(self._ask, "failure", None), None
        except ReasrmError as error:
            kind = "config" if isinstance(error, ConfigError) else "environment"
            return [], None, (kind, error.message, error.place, error.remedy)
        except Exception as error:
            return [], None, ("other", f"{type(error).__name__}: {error}", None, None)


def _rebuilt(kind: str, message: str, place: str | None, remedy: str | None) -> Exception:
    if kind == "other":
        return RuntimeError(message)
    return (ConfigError if kind == "config" else EnvironmentProblem)(message, place=place, remedy=remedy)


def ask_together(
    reward: RewardFunction, rollouts: Sequence[Rollout], *, more: bool = False
) -> dict[str, Values]:
    """Return the values of all parts of the reward, the same in all processes.

    Parts that ask a model are computed in all, each of which asks its share (`Shared`); all others in one, which tells
    the rest, so that all go on from one answer whatever a part of a user's own does.

    Args:
        reward: The same in all processes.
        rollouts: Of all processes.
        more: See `RewardFunction.ask`.

    Raises:
        ReasrmError: See `RewardFunction.ask`; in all processes.
    """
    state = PartialState()
    if state.num_processes == 1:
        return reward.ask(rollouts, more=more)
    asked = reward.ask(rollouts, reward.asking, more=more)
    answer: list[Any] = [None, None]
    problem: RewardProblem | EnvironmentProblem | None = None
    if state.is_main_process:
        try:
            answer[0] = reward.ask(rollouts, reward.parts.keys() - asked.keys(), more=more)
        except RewardProblem as error:
            problem, answer[1] = error, (error.part, error.cause, error.row_id, error.order)
        except EnvironmentProblem as error:
            problem, answer[1] = error, (str(error),)
    broadcast_object_list(answer)
    if problem is not None:
        raise problem
    if answer[1] is not None:
        if len(answer[1]) == 1:
            raise EnvironmentProblem(answer[1][0])
        part, cause, *row = answer[1]
        at_fault = (r for r in rollouts if [r.comparison.id, r.comparison.order] == row)
        raise RewardProblem(part, cause, next(at_fault, None))
    parts = {**answer[0], **asked}
    return {name: parts[name] for name in reward.parts}


def note_server(run: RunFolder, section: str, backend: object, say: Callable[[str], None]) -> None:
    """Keep in the run folder which server answers, and say where another one goes on with what one has begun.

    Args:
        run: Of this process; only its writer notes anything.
        section: Of the config.
        backend: Who is asked; nothing happens where the model is our own.
        say: Called with a sentence for people.
    """
    if not (run.writable and isinstance(backend, ServedBackend)):
        return
    path = run.path / SERVERS
    before = read_json(path) if path.exists() else {}

    def note(found: Mapping[str, Any]) -> None:
        kept = read_json(path) if path.exists() else {}
        write_json_atomic(path, {**kept, section: dict(found)})

    recorded = before.get(section, {})
    for warning in backend.attach(recorded, note, resumed=bool(recorded), allow_other=True):
        say(f"warning: {section}: {warning}")
