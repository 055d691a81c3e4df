"""Who is told how far a training is, and what ends one in order: TRL's callbacks for both."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback

from reasrm.training.safety.stopping import CONTINUE, Stop

__all__ = ["Listener", "SealTheEnd", "StopWhenAsked", "Tell", "stopped", "train_unless_stopped"]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told how far a stage is; by default nobody.

    Args:
        say: Called with a sentence for people.
        rows: Called with the number of rows read.
        steps: Called at every log with the steps done, the steps in all, and what was logged.
        counts: Called while something is done before training, with its name, how much is done, and how much there is.
        stop: Whether the stage was asked to stop; one that nobody sets lets it run to its end.
    """

    say: Callable[[str], None] = lambda text: None
    rows: Callable[[int], None] = lambda number: None
    steps: Callable[[int, int, Mapping[str, Any]], None] = lambda done, total, logs: None
    counts: Callable[[str, int, int], None] = lambda name, done, total: None
    stop: Stop = field(default_factory=Stop)


class SealTheEnd(TrainerCallback):  # type: ignore[misc]
    """The last step is logged and saved whatever the strategies, since the last checkpoint is the result."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for both at the last step."""
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_save = args.save_strategy != "epoch"  # there the end of the epoch saves


class Tell(TrainerCallback):  # type: ignore[misc]
    """Passes on what is logged."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Tell."""
        if state.is_world_process_zero and logs:
            self._listener.steps(state.global_step, state.max_steps, logs)


class StopWhenAsked(TrainerCallback):  # type: ignore[misc]
    """Ends training with a checkpoint once a signal has arrived in any process, so that a resumed run lacks nothing.

    Nothing else is logged or measured for it: the logs of a run that was stopped are those of one that was not. After
    the last step of an epoch it waits for what is measured there.

    Args:
        stop: This process's.
        trainer: Whose training ends; one that says `at_boundary` ends only there.

    Attributes:
        acted: Whether it has.
    """

    def __init__(self, stop: Stop, trainer: Any) -> None:
        self._stop = stop
        self._trainer = trainer
        self.acted = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and end, unless this is the end anyway."""
        epoch_ends = abs(state.epoch - round(state.epoch)) < 1e-9
        if self._is_asked(args) and state.global_step < state.max_steps and not epoch_ends:
            self._end(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave out what belongs to a whole epoch if this one is not, and end after one that is."""
        if self.acted:
            control.should_log = control.should_evaluate = control.should_save = False
        elif self._is_asked(args) and state.global_step < state.max_steps:
            self._end(control)

    def _end(self, control: Any) -> None:
        if getattr(self._trainer, "at_boundary", True):
            self.acted = control.should_save = control.should_training_stop = True

    def _is_asked(self, args: Any) -> bool:
        asked = self._stop.signum is not None
        if args.world_size == 1:
            return asked
        vote = torch.tensor(int(asked), device=args.device)
        torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MAX)
        return bool(vote)


def train_unless_stopped(trainer: Any, listener: Listener, resume: bool) -> bool:
    """Train to the end, or to where a signal ends it with a checkpoint; return whether one has.

    Args:
        trainer: Built, not begun.
        listener: Who knows of signals.
        resume: Go on from the last whole checkpoint.
    """
    watch = StopWhenAsked(listener.stop, trainer)
    trainer.add_callback(watch)
    with listener.stop.training():
        trainer.train(resume_from_checkpoint=resume or None)
    return watch.acted


def stopped(signum: int | None) -> dict[str, Any]:
    """Return what the summary of a stage says that a signal has ended; another process may have got it."""
    return {"interrupted": True, "exit_code": 128 + (signum or signal.SIGTERM), "continue": CONTINUE}
