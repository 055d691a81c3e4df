"""Checkpoints of a `transformers.Trainer` that are sealed or absent, hold no pickles, and resume to the same bits.

`SafeCheckpoints` goes before a trainer class. In one process and in DDP a checkpoint is safetensors and JSON; DeepSpeed
and FSDP keep their own format, read back only from the run's own folder and after every byte of it was checked.
A save writes all files, waits for all processes, seals, then removes old checkpoints; transformers' own rotation would
remove them before the new one is whole. Besides what transformers keeps, a checkpoint keeps the sums of metrics
between two logs and the time trained, so that a resumed run logs what an undisturbed one would.

Private methods of the Trainer are overridden; a test compares their signatures with what this was written for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

from reasrm.errors import ConfigError, EnvironmentProblem, InternalError, ReasrmError
from reasrm.runs import (
    CheckpointInfo,
    RunFolder,
    checkpoint_folder,
    latest_checkpoint,
    remove_checkpoint,
    remove_unsealed,
    rotate,
    seal_checkpoint,
    set_aside_after,
)
from reasrm.training.safety.states import load_state, random_states, restore_random_states, save_state

__all__ = ["MetricsWriter", "SafeCheckpoints", "find_resume"]

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

_log = logging.getLogger(__name__)


def find_resume(run: RunFolder, *, strict: bool = False) -> CheckpointInfo | None:
    """Clear up after a run that was stopped, and return the checkpoint to go on from, or None if there is none.

    Rests of interrupted saves are removed, damaged checkpoints beyond the one returned are set aside, and metrics
    logged after it are dropped, since its steps are about to be done again.

    Args:
        run: The run, opened as its writer.
        strict: Refuse a damaged checkpoint instead of going back to the one before it.

    Raises:
        EnvironmentProblem: A checkpoint is damaged and `strict`, or all of them are.
    """
    remove_unsealed(run)
    info = latest_checkpoint(run, strict=strict)
    set_aside_after(run, info.step if info else 0)
    run.truncate_metrics(
        info.step if info else -1
    )  # what was measured before the first step is measured again, too
    if info:
        _log.info("going on from %s", info.path)
    return info


class MetricsWriter(TrainerCallback):  # type: ignore[misc]
    """Writes what the Trainer logs to the run's `metrics.jsonl`, in the process that owns the folder.

    A number that is not finite is written as null, and its name in `not_finite`.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append one record."""
        if not state.is_world_process_zero or not logs:
            return
        record: dict[str, Any] = {"step": state.global_step}
        broken = []
        for name, value in logs.items():
            value = value.item() if hasattr(value, "item") else value
            if not _is_finite(value):
                broken.append(name)
                value = None
            if value is None or isinstance(value, bool | int | float | str):
                record[name] = value
        if broken:
            record["not_finite"] = broken
        if "train_runtime" in logs:
            record["final"] = True
        self._run.append_metrics(record)


class _AtTrainBegin(TrainerCallback):  # type: ignore[misc]
    """Hands the trainer the moment at which its counters are set to zero and may be put back."""

    def __init__(self, trainer: SafeCheckpoints) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer._begin()


class SafeCheckpoints(_Trainer):  # type: ignore[misc]
    """Mixin for a Trainer class: `class MyTrainer(SafeCheckpoints, SFTTrainer)`.

    `train(resume_from_checkpoint=True)` goes on from the newest whole checkpoint of the run, or begins if there is
    none.

    Args:
        run: The run folder, opened in the process of rank 0, joined in all others. The arguments' `output_dir` must
            be its `checkpoints`.
        keep_checkpoints: How many checkpoints stay; at least 2.
        strict_checkpoints: Refuse a damaged checkpoint instead of going back to the one before it.

    Attributes:
        best: What a subclass knows of its best checkpoint, `step` among it, or None; that checkpoint stays.
    """

    best: dict[str, Any] | None = None

    def __init__(
        self,
        *positional: Any,
        run: RunFolder,
        keep_checkpoints: int = 2,
        strict_checkpoints: bool = False,
        **named: Any,
    ) -> None:
        if keep_checkpoints < 2:
            raise ConfigError(
                f"checkpoints: {keep_checkpoints} are too few to keep",
                remedy="keep at least 2: one may be damaged",
            )
        self.run = run
        self._keep = keep_checkpoints
        self._strict = strict_checkpoints
        self._resumed: dict[str, Any] = {}
        self._began = time.time()
        super().__init__(*positional, **named)
        self._check_arguments()
        self.add_callback(_AtTrainBegin(self))
        self.add_callback(MetricsWriter(run))

    # Which checkpoint

    def train(
        self, resume_from_checkpoint: Any = None, trial: Any = None, ignore_keys_for_eval: Any = None
    ) -> Any:
        """Train; `resume_from_checkpoint` is true or false."""
        if resume_from_checkpoint not in (None, False, True):
            raise InternalError("resume_from_checkpoint is true or false: the run knows its checkpoints")
        checkpoint = self._agree_on_checkpoint() if resume_from_checkpoint else None
        return super().train(
            resume_from_checkpoint=checkpoint, trial=trial, ignore_keys_for_eval=ignore_keys_for_eval
        )

    def _agree_on_checkpoint(self) -> str | None:
        """Rank 0 looks and checks; the others learn what it found, or that it failed."""
        found: list[Any] = [None, None]
        problem: ReasrmError | None = None
        if self.args.process_index == 0:
            try:
                info = find_resume(self.run, strict=self._strict)
                if info is not None:
                    self._check_kind(info)
                    found[0] = str(info.path)
            except ReasrmError as error:
                problem, found[1] = error, str(error)
        if self.args.world_size > 1:
            torch.distributed.broadcast_object_list(found, src=0)
        if problem is not None:
            raise problem
        if found[1] is not None:
            raise EnvironmentProblem(found[1])
        return None if found[0] is None else str(found[0])

    def _check_kind(self, info: CheckpointInfo) -> None:
        if info.world_size != self.args.world_size:
            raise ConfigError(
                f"was written by {info.world_size} processes, and this run has {self.args.world_size}",
                place=str(info.path),
                remedy=f"launch {info.world_size} processes: with others, rows would be seen twice or never",
            )
        if info.format != self._checkpoint_format:
            raise ConfigError(
                f"has the format {info.format!r}, and this run reads {self._checkpoint_format!r}",
                place=str(info.path),
                remedy="launch it as it was launched before",
            )

    @property
    def _checkpoint_format(self) -> str:
        if self.is_deepspeed_enabled:
            return "deepspeed"
        return "fsdp" if self.is_fsdp_enabled else "safe"

    def _check_arguments(self) -> None:
        """The arguments that would undo what this class is for."""
        args = self.args
        if Path(args.output_dir).absolute() != self.run.checkpoints:
            raise InternalError(f"output_dir must be {self.run.checkpoints}, not {args.output_dir}")
        wrong = {
            "save_total_limit": (args.save_total_limit is not None, "the run rotates its own checkpoints"),
            "save_only_model": (args.save_only_model, "such a checkpoint cannot be resumed from"),
            "save_on_each_node": (args.save_on_each_node, "the run folder must be on a shared file system"),
            "load_best_model_at_end": (
                args.load_best_model_at_end,
                "the best checkpoint may be gone by then",
            ),
            "auto_find_batch_size": (args.auto_find_batch_size, "a resumed run would see other batches"),
            "ignore_data_skip": (args.ignore_data_skip, "a resumed run would see rows twice"),
        }
        for name, (is_set, reason) in wrong.items():
            if is_set:
                raise ConfigError(f"trainer.{name} cannot be used: {reason}", remedy="leave it out")

    # Saving

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, seal it, and only then remove old ones."""
        step = self.state.global_step
        folder = checkpoint_folder(self.run, step)
        is_writer = self.args.process_index == 0
        with _explaining_disk(folder):
            if is_writer:
                remove_checkpoint(folder)
                self._keep_history_json()
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if is_writer:
                self.run.sync()
                seal_checkpoint(folder, step, self.args.world_size, self._checkpoint_format)
                rotate(self.run, self._keep, self.kept_steps())
            self.accelerator.wait_for_everyone()

    def _keep_history_json(self) -> None:
        """JSON has no NaN, and the log of a skipped step may hold one."""
        for record in self.state.log_history:
            record.update({name: None for name, value in record.items() if not _is_finite(value)})

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        """Save the weights and the tokenizer. The pickled arguments that come with them have no use here."""
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            Path(output_dir or self.args.output_dir, "training_args.bin").unlink(missing_ok=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._checkpoint_format != "safe":
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            save_state(Path(output_dir), "optimizer", self.optimizer.state_dict())
            save_state(Path(output_dir), "scheduler", self.lr_scheduler.state_dict())

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            save_state(Path(output_dir), "scaler", scaler.state_dict())

    def _save_rng_state(self, output_dir: str) -> None:
        """Save what each process has for itself: its random generators and its sums between two logs."""
        state = {"random": random_states(self.args.device), "progress": self.progress()}
        save_state(Path(output_dir), f"rank-{self.args.process_index}", state)
        self.keep(Path(output_dir))

    def keep(self, folder: Path) -> None:
        """Write more into a checkpoint before it is sealed; every process calls it. A subclass may."""

    def kept_steps(self) -> tuple[int, ...]:
        """Return the steps whose checkpoints stay beside the newest: the best one, where there is one."""
        return () if self.best is None else (self.best["step"],)

    def progress(self) -> dict[str, Any]:
        """Return what this process adds up while it trains. A subclass may add keys, and read them in `resume`."""
        kept = {"_total_loss_scalar", "_globalstep_last_logged", "_total_train_tokens"}
        metrics = getattr(self, "_metrics", {}).get("train", {})
        return {
            "attributes": {name: getattr(self, name) for name in sorted(kept) if hasattr(self, name)},
            "loss_sum": self._tr_loss.item(),
            "metrics": {name: list(values) for name, values in metrics.items()},
            "seconds": time.time() - self._began,
        }

    # Loading

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse weights that do not fit, where transformers would only warn and train on."""
        tensors = self.model.state_dict(keep_vars=True)
        missing = set(load_result.missing_keys)
        loaded = {id(tensor) for name, tensor in tensors.items() if name not in missing}
        absent = sorted(name for name in missing if id(tensors.get(name)) not in loaded)
        if absent or load_result.unexpected_keys:
            name = (absent or list(load_result.unexpected_keys))[0]
            raise ConfigError(
                f"the weights of the checkpoint are not those of this model: {name!r} is in one of them only",
                remedy="resume with the model that the run was begun with",
            )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if self._checkpoint_format != "safe":
            super()._load_optimizer_and_scheduler(checkpoint)
        else:
            self.optimizer.load_state_dict(load_state(Path(checkpoint), "optimizer"))
            self.lr_scheduler.load_state_dict(load_state(Path(checkpoint), "scheduler"))
        self._resumed = load_state(Path(checkpoint), f"rank-{self.args.process_index}")

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and (Path(checkpoint) / "scaler.json").exists():
            self.accelerator.scaler.load_state_dict(load_state(Path(checkpoint), "scaler"))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random_states(self._resumed["random"], self.args.device)
            self.take_back(Path(checkpoint))

    def take_back(self, folder: Path) -> None:
        """Read what `keep` wrote."""

    def _begin(self) -> None:
        """Put back the sums of the checkpoint, after the Trainer has set them to zero."""
        self._began = time.time()
        if self._resumed:
            self.resume(self._resumed["progress"])

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over what `progress` returned when the checkpoint was saved."""
        for name, value in progress["attributes"].items():
            setattr(self, name, value)
        self._tr_loss.fill_(progress["loss_sum"])
        for name, values in progress["metrics"].items():
            self._metrics["train"][name] = values
        self._began -= progress["seconds"]
        self._initial_global_step = 0

    def _run_epoch(self, *positional: Any, **named: Any) -> None:
        """Train an epoch; transformers would do one step more than `max_steps` when a finished run is resumed.

        It tells the epoch only to the loader that skips the batches seen before, which in several processes does not
        pass it on to the sampler: a run resumed in its second epoch would go on in the order of the first.
        """
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        if hasattr(named["train_dataloader"], "set_epoch"):
            named["train_dataloader"].set_epoch(named["epoch"])
        super()._run_epoch(*positional, **named)

    def _finalize_training(self, trial: Any, num_train_samples: Any, start_time: float) -> Any:
        """Sum up the whole run, not only what was trained since it was resumed."""
        return super()._finalize_training(trial, num_train_samples, self._began)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


@contextmanager
def _explaining_disk(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise when a file cannot be written into one error with a remedy."""
    try:
        yield
    except ReasrmError:
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        raise EnvironmentProblem(
            f"the checkpoint cannot be written: {error}",
            place=str(folder),
            remedy="free space, and run again with --resume: the checkpoint before it is whole",
        ) from error
