"""What every training stage does around its trainer: who is told, which run folder, where to go on, what is left.

Every process of a launch calls `run_stage`; the one of rank 0 owns the run folder, the others join it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import TrainerCallback

from reasrm.errors import ConfigError
from reasrm.files import replacing, write_json_atomic
from reasrm.protocol.prompts import check_spec, warn_of_codes
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.runs import CheckpointInfo, RunFolder, latest_checkpoint
from reasrm.strictjson import dumps
from reasrm.training.arguments import check_machine, weights_dtype
from reasrm.training.config import Stage
from reasrm.training.models import BareModel
from reasrm.training.stopping import CONTINUE, Stop

__all__ = [
    "VOLATILE",
    "Checked",
    "Listener",
    "SealTheEnd",
    "StopWhenAsked",
    "Tell",
    "absolute",
    "engine_files",
    "finished_checkpoint",
    "open_spec",
    "read_trainer_state",
    "run_stage",
    "stopped",
    "train_or_finish",
    "train_unless_stopped",
    "write_data",
]

VOLATILE = frozenset(
    {
        *("checkpoints", "model.path", "base.path"),
        *(
            f"trainer.{name}"
            for name in (
                *("report_to", "logging_steps", "logging_strategy", "logging_first_step", "project"),
                *(
                    "save_steps",
                    "save_strategy",
                    "eval_steps",
                    "eval_strategy",
                    "eval_delay",
                    "eval_on_start",
                ),
                *("per_device_eval_batch_size", "dataloader_num_workers", "dataloader_pin_memory"),
            )
        ),
    }
)
"""Keys of a config that may change between a run and its continuation: the weights do not depend on them."""


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


@dataclass(frozen=True, slots=True)
class Checked:
    """A stage that was checked against this machine, before rows are read and weights loaded.

    Args:
        stage: The config.
        spec: The judge's protocol.
        base: The model that training starts from.
        arguments: TRL's arguments.
    """

    stage: Stage
    spec: JudgeSpec
    base: BareModel
    arguments: Any

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights as loaded."""
        return weights_dtype(self.stage, self.arguments)

    def resolved(self) -> dict[str, Any]:
        """Return the config as the run keeps it, with the whole spec and the base model's identity."""
        spec = self.spec.model_dump(mode="json")
        return {**self.stage.model_dump(mode="json"), "spec": spec, "base": self.base.identity()}


def open_spec(stage: Stage, place: str, pairs: str | None = None) -> JudgeSpec:
    """Check the machine for a stage and return its spec, checked.

    Args:
        stage: The config.
        place: Its file, for errors.
        pairs: Why the stage needs a pairwise spec, if it does.

    Raises:
        ConfigError: The spec cannot be used.
        EnvironmentProblem: The machine lacks something that was asked for.
    """
    check_machine(stage, place)
    spec = load_spec(stage.spec)
    check_spec(spec)
    warn_of_codes(spec)
    if pairs is not None and spec.protocol != "pairwise":
        raise ConfigError(
            f"spec {spec.name!r} is {spec.protocol}; {pairs}",
            place=f"{place}: spec",
            remedy="choose a pairwise spec",
        )
    return spec


def run_stage(
    setup: Checked,
    folder: Path,
    inputs: Mapping[str, Path],
    resume: bool,
    work: Callable[[RunFolder], dict[str, Any]],
    volatile: frozenset[str] = VOLATILE,
) -> dict[str, Any]:
    """Do a stage's work in its run folder and return its summary.

    Args:
        setup: The stage, checked.
        folder: The run folder.
        inputs: Files that the run reads, by name.
        resume: Go on with the run in the folder.
        work: Called with the opened folder.
        volatile: Keys of the config that may change between a run and its continuation.

    Raises:
        ReasrmError: See `RunFolder.open`.
    """
    if setup.arguments.process_index > 0:
        return work(RunFolder.join(folder))
    with (
        RunFolder.open(
            folder,
            stage=setup.stage.stage,
            config=setup.resolved(),
            inputs=inputs,
            seed=setup.stage.seed,
            resume=resume,
            volatile=volatile,
        ) as run,
        run.logging_to_file(),
    ):
        return work(run)


def engine_files(stage: Stage) -> dict[str, Path]:
    """Return the files that the trainer's own arguments name."""
    named = {name: stage.trainer.get(name) for name in ("deepspeed", "fsdp_config")}
    return {name: Path(file) for name, file in named.items() if isinstance(file, str)}


def absolute(folder: Path) -> Path:
    """Return a run folder without links, as the trainer and the run must both name it."""
    return Path(os.path.realpath(folder))


def finished_checkpoint(run: RunFolder) -> CheckpointInfo | None:
    """Return the last checkpoint if nothing is left to train after it."""
    checkpoint = latest_checkpoint(run.path)
    if checkpoint is None:
        return None
    state = read_trainer_state(checkpoint)
    return checkpoint if state["global_step"] >= state["max_steps"] else None


def read_trainer_state(checkpoint: CheckpointInfo) -> dict[str, Any]:
    """Return what the Trainer knew when it saved."""
    state: dict[str, Any] = orjson.loads((checkpoint.path / "trainer_state.json").read_bytes())
    return state


def train_or_finish(
    run: RunFolder,
    listener: Listener,
    resume: bool,
    finished: CheckpointInfo | None,
    build: Callable[[], Any],
    summarise: Callable[[CheckpointInfo], dict[str, Any]],
) -> dict[str, Any]:
    """Train to the end and return the summary; a finished run is left alone. A signal ends it with a checkpoint.

    Args:
        run: The run folder.
        listener: Who is told.
        resume: Go on from the last whole checkpoint.
        finished: The last checkpoint, if nothing is left to train.
        build: Makes the trainer.
        summarise: From what the run wrote.
    """
    if finished is not None:
        listener.say(f"{run.path} is finished; nothing is left to do")
        return summarise(finished)
    ended = train_unless_stopped(build(), listener, resume)
    checkpoint = latest_checkpoint(run.path)
    summary = {} if checkpoint is None else summarise(checkpoint)
    return {**summary, **stopped(listener.stop.signum)} if ended else summary


def write_data(run: RunFolder, dropped: Iterable[Any], counts: Mapping[str, Any]) -> None:
    """Write the rows that are not learned from to `dropped.jsonl`, and the counts to `data.json`."""
    with replacing(run.path / "dropped.jsonl") as stream:
        stream.writelines(dumps(row.to_json()) + b"\n" for row in dropped)
    write_json_atomic(run.path / "data.json", dict(counts))
