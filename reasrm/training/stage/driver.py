"""What every training stage does: config → data → plan, or train or go on → seal → report.

A stage says in a `StageKind` what it does in its own way; the order, the run folder, who writes it and what is said
are the same for all. Every process of a launch trains; the one of rank 0 owns the run folder, the others join it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import orjson
import torch

from reasrm.errors import ConfigError
from reasrm.files import replacing, write_json_atomic
from reasrm.protocol.prompts import check_spec, warn_of_codes
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.runs import CheckpointInfo, RunFolder, latest_checkpoint, result_checkpoint
from reasrm.strictjson import dumps
from reasrm.training.safety.states import load_state
from reasrm.training.stage.arguments import check_machine, weights_dtype
from reasrm.training.stage.config import Stage
from reasrm.training.stage.listening import Listener, stopped, train_unless_stopped
from reasrm.training.stage.models import BareModel
from reasrm.training.stage.rows import Dropped

__all__ = [
    "VOLATILE",
    "RunData",
    "Setup",
    "StageKind",
    "finished_checkpoint",
    "numbered",
    "open_spec",
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

StageT = TypeVar("StageT", bound=Stage)
BaseT = TypeVar("BaseT", bound=BareModel)


@dataclass(frozen=True, slots=True)
class Setup(Generic[StageT, BaseT]):
    """A stage that was checked against this machine, before rows are read and weights loaded.

    Args:
        stage: The config.
        spec: The judge's protocol.
        base: The model that training starts from.
        arguments: TRL's arguments.
        max_tokens: Longest row, or prompt where the rest is drawn: as asked, and no longer than the model takes.
    """

    stage: StageT
    spec: JudgeSpec
    base: BaseT
    arguments: Any
    max_tokens: int

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights as loaded."""
        return weights_dtype(self.stage, self.arguments)

    def resolved(self) -> dict[str, Any]:
        """Return the config as the run keeps it, with the whole spec and the base model's identity."""
        spec = self.spec.model_dump(mode="json")
        return {**self.stage.model_dump(mode="json"), "spec": spec, "base": self.base.identity()}


class RunData(Protocol):
    """What a stage has read."""

    @property
    def dropped(self) -> Sequence[Dropped]:
        """Rows that are not learned from."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts that the run keeps; `rows` and `dropped` are among them."""

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know of it before training."""


@dataclass(frozen=True, slots=True)
class StageKind:
    """What one kind of stage does in its own way.

    Args:
        name: The command.
        set_up: Config, place and folder of checkpoints → `Setup`; refuses what cannot be done.
        inputs: Name → file that a run reads besides its config and its model.
        encode_data: Reads the rows of a `Setup`.
        plan: Of setup and data: what training would do and need, besides what is said of every stage.
        build_trainer: Loads the weights and puts the trainer together.
        report: From run folder, counts of the data, progress of the last checkpoint and what was logged last: what
            the summary says besides what it says of every stage.
        volatile: Keys of the config that may change between a run and its continuation.
        earlier: Of a `Setup`: the shapes in which earlier versions wrote this very config into run folders.
        label: Adds to the data what is made of them once per run.
        seal: Writes what the run is for besides its checkpoints.
        finished: The last checkpoint if nothing is left to do after it.
    """

    name: str
    set_up: Callable[[Any, str, Path], Setup[Any, Any]]
    inputs: Callable[[Any], dict[str, Path]]
    encode_data: Callable[[Any, Listener], RunData]
    plan: Callable[[Any, Any], dict[str, Any]]
    build_trainer: Callable[[Any, Any, RunFolder, Listener], Any]
    report: Callable[[RunFolder, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    volatile: frozenset[str] = VOLATILE
    earlier: Callable[[Any], tuple[dict[str, Any], ...]] = lambda setup: ()
    label: Callable[[Any, Any, RunFolder, Listener], None] = lambda setup, data, run, listener: None
    seal: Callable[[Any, Any, Any, RunFolder], None] = lambda setup, data, trainer, run: None
    finished: Callable[[Any, RunFolder], CheckpointInfo | None] = lambda stage, run: finished_checkpoint(run)

    def dry_run(self, stage: Stage, place: str, folder: Path, listener: Listener) -> dict[str, Any]:
        """Return what training would do and need: rows, lengths, batches, memory. Loads no weights, writes nothing.

        Raises:
            ReasrmError: As in training, before it begins.
        """
        setup = self.set_up(stage, place, folder / "checkpoints")
        data = self.encode_data(setup, listener)
        for remark in data.remarks():
            listener.say(remark)
        return self.planned(setup, data)

    def planned(self, setup: Setup[Any, Any], data: RunData) -> dict[str, Any]:
        """Return the same of what was set up and read."""
        return {
            "stage": self.name,
            "dry_run": True,
            "model": setup.base.identity(),
            "spec": {"name": setup.spec.name, "hash": setup.spec.hash},
            **data.to_json(),
            "dtype": str(setup.dtype).removeprefix("torch."),
            **self.plan(setup, data),
        }

    def train(
        self,
        stage: Stage,
        place: str,
        folder: Path,
        *,
        resume: bool = False,
        listener: Listener | None = None,
    ) -> dict[str, Any]:
        """Train and return the summary; every process of a launch calls this.

        A signal ends it with a checkpoint and a summary that says `interrupted` and the `exit_code`.

        Args:
            stage: The config.
            place: Its file, for errors.
            folder: The run folder.
            resume: Go on with the run in the folder, from its last whole checkpoint; a finished one is left alone.
            listener: Who is told, in this process.

        Raises:
            ReasrmError: See `set_up` and `encode_data` of the stage, and `RunFolder.open`.
            RewardProblem: A reward threw; the row is named, and the checkpoints so far are whole.
        """
        listener = listener or Listener()
        path = Path(os.path.realpath(folder))  # without links, as the trainer and the run must both name it
        setup = self.set_up(stage, place, path / "checkpoints")
        if setup.arguments.process_index > 0:
            return self._work(setup, RunFolder.join(path), listener, resume)
        engine = {name: stage.trainer.get(name) for name in ("deepspeed", "fsdp_config")}
        named = {name: Path(file) for name, file in engine.items() if isinstance(file, str)}
        with (
            RunFolder.open(
                path,
                stage=self.name,
                config=setup.resolved(),
                inputs=self.inputs(stage) | named,
                seed=stage.seed,
                resume=resume,
                volatile=self.volatile,
                earlier=self.earlier(setup),
            ) as run,
            run.logging_to_file(),
        ):
            return self._work(setup, run, listener, resume)

    def _work(
        self, setup: Setup[Any, Any], run: RunFolder, listener: Listener, resume: bool
    ) -> dict[str, Any]:
        finished = self.finished(setup.stage, run) if resume else None
        if finished is not None:
            listener.say(f"{run.path} is finished; nothing is left to do")
            return self._summary(run, finished)
        data = self.encode_data(setup, listener)
        self.label(setup, data, run, listener)
        if run.writable:
            _write_data(run, data.dropped, data.to_json())
            for remark in data.remarks():
                listener.say(remark)
        trainer = self.build_trainer(setup, data, run, listener)
        ended = train_unless_stopped(trainer, listener, resume)
        if run.writable and not ended:
            self.seal(setup, data, trainer, run)
        checkpoint = latest_checkpoint(run.path)
        summary = {} if checkpoint is None else self._summary(run, checkpoint)
        return {**summary, **stopped(listener.stop.signum)} if ended else summary

    def _summary(self, run: RunFolder, checkpoint: CheckpointInfo) -> dict[str, Any]:
        """Return what became of a run, read from what it wrote."""
        data = orjson.loads((run.path / "data.json").read_bytes())
        progress = load_state(checkpoint.path, "rank-0")["progress"]
        history = _read_trainer_state(checkpoint)["log_history"]
        logged = {name: value for record in history for name, value in record.items()}
        result = result_checkpoint(run.path) if progress.get("best") else None
        return {
            "stage": self.name,
            "run": str(run.path),
            "checkpoint": str((result or checkpoint).path),
            "rows": data["rows"],
            "dropped": data["dropped"],
            "steps": checkpoint.step,
            "skipped_steps": progress["skipped"][0],
            **self.report(run, data, progress, logged),
        }


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


def numbered(**files: Iterable[str]) -> dict[str, Path]:
    """Return files by the names under which a run keeps its inputs: `train:0`."""
    return {f"{name}:{n}": Path(file) for name, paths in files.items() for n, file in enumerate(paths)}


def finished_checkpoint(run: RunFolder) -> CheckpointInfo | None:
    """Return the last checkpoint if all its steps are done."""
    checkpoint = latest_checkpoint(run.path)
    if checkpoint is None:
        return None
    state = _read_trainer_state(checkpoint)
    return checkpoint if state["global_step"] >= state["max_steps"] else None


def _read_trainer_state(checkpoint: CheckpointInfo) -> dict[str, Any]:
    state: dict[str, Any] = orjson.loads((checkpoint.path / "trainer_state.json").read_bytes())
    return state


def _write_data(run: RunFolder, dropped: Iterable[Dropped], counts: Mapping[str, Any]) -> None:
    """Write the rows that are not learned from to `dropped.jsonl`, and the counts to `data.json`."""
    with replacing(run.path / "dropped.jsonl") as stream:
        stream.writelines(dumps(row.to_json()) + b"\n" for row in dropped)
    write_json_atomic(run.path / "data.json", dict(counts))
