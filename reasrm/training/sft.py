"""Supervised fine-tuning of a judge: rows in, sealed checkpoints out, on TRL's `SFTTrainer`.

The loss of a step is the cross-entropy of all completion tokens of the step's global batch, averaged over those
tokens, whatever rows, passes, packs and processes they fall into; prompts and padding carry none (NLL on the target
tokens, as RM-R1, arXiv 2505.02387, eq. 4-6). TRL is subclassed only for checkpoints that survive a
crash, for steps that go wrong, and for the count of trained tokens.

A run's `config.json` holds the stage as it was resolved, with the whole spec and the identity of the base model, so
that the run alone is enough to export a judge. `dropped.jsonl` names every row that is not learned from, and
`data.json` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from transformers.trainer_callback import PrinterCallback
from trl.trainer import utils as trl_utils
from trl.trainer.sft_trainer import SFTTrainer

from reasrm.runs import CheckpointInfo, RunFolder
from reasrm.training.arguments import sft_arguments
from reasrm.training.checkpoints import SafeCheckpoints
from reasrm.training.config import SFTStage
from reasrm.training.data import EncodedRows, Example, RowEncoder, encode_files, to_dataset
from reasrm.training.guards import GuardedSteps
from reasrm.training.models import BaseModel, adapter_config, check_adapters, load_weights, open_base
from reasrm.training.planning import batches, count_parameters, describe_lengths, estimate_memory
from reasrm.training.stage import (
    Checked,
    Listener,
    SealTheEnd,
    Tell,
    absolute,
    engine_files,
    finished_checkpoint,
    open_spec,
    read_trainer_state,
    run_stage,
    train_or_finish,
    write_data,
)
from reasrm.training.states import load_state

__all__ = [
    "JudgeSFTTrainer",
    "RunData",
    "SFTSetup",
    "build_trainer",
    "encode_data",
    "plan",
    "set_up",
    "train",
]


@dataclass(frozen=True, slots=True)
class SFTSetup(Checked):
    """An SFT stage, checked.

    Args:
        max_tokens: Longest row: as asked, and no longer than the model's context.
    """

    stage: SFTStage
    base: BaseModel
    max_tokens: int


@dataclass(frozen=True, slots=True)
class RunData:
    """The rows of a run as ids."""

    train: EncodedRows
    validation: EncodedRows | None

    def to_json(self) -> dict[str, Any]:
        """Return the counts that the run keeps."""
        validation = self.validation
        return {
            "rows": len(self.train.examples),
            "dropped": self.train.reasons,
            "lengths": describe_lengths(self.train),
            "validation_rows": len(validation.examples) if validation else 0,
            "validation_dropped": validation.reasons if validation else {},
            "validation_overlap": self.overlap(),
        }

    def overlap(self) -> int:
        """Return how many validation rows ask what a training row asks: the same prompt and responses in one order."""
        asked = {_question(example) for example in self.train.examples}
        return (
            sum(_question(example) in asked for example in self.validation.examples) if self.validation else 0
        )


def _question(example: Example) -> bytes:
    return example.ids[: example.num_prompt].tobytes()


def set_up(stage: SFTStage, place: str, output_dir: Path) -> SFTSetup:
    """Check everything that can be checked without rows and weights.

    Args:
        stage: The config.
        place: Its file, for errors.
        output_dir: Where checkpoints will go; nothing is written yet.

    Raises:
        ConfigError: The config, the model folder or the spec cannot be used.
        EnvironmentProblem: The machine lacks something that was asked for.
    """
    spec = open_spec(stage, place)
    base = open_base(stage.model)
    check_adapters(base.config, stage.lora, place)
    max_tokens = min(stage.data.max_tokens, base.context or stage.data.max_tokens)
    return SFTSetup(stage, spec, base, sft_arguments(stage, output_dir, max_tokens, place), max_tokens)


def encode_data(setup: SFTSetup, listener: Listener | None = None) -> RunData:
    """Read and encode the rows of a stage.

    Raises:
        InputError: A file cannot be read, or none of its rows can be learned from.
        ConfigError: A row was written for another spec.
    """
    listener = listener or Listener()
    data = setup.stage.data
    encoder = RowEncoder(
        setup.spec,
        setup.base.prompts,
        setup.base.completions,
        max_tokens=setup.max_tokens,
        keep_unreadable=data.on_unreadable == "keep",
        rubrics_that_saw_labels=data.rubrics_that_saw_labels,
    )
    listener.say(f"encoding {', '.join(data.train)}")
    rows = encode_files(data.train, encoder, limit=data.limit, columns=data.columns, progress=listener.rows)
    return RunData(
        rows, encode_files(data.validation, encoder, columns=data.columns) if data.validation else None
    )


def plan(setup: SFTSetup, data: RunData) -> dict[str, Any]:
    """Return what training would do and need: rows, lengths, batches, memory. Loads no weights."""
    arguments, config, dtype = setup.arguments, setup.base.config, setup.dtype
    examples = data.train.examples
    parameters = count_parameters(config, adapter_config(setup.stage.lora))
    longest = setup.max_tokens if arguments.packing else max(len(example.ids) for example in examples)
    _, completions = data.train.lengths()
    return {
        "stage": "sft",
        "dry_run": True,
        "model": setup.base.identity(),
        "spec": {"name": setup.spec.name, "hash": setup.spec.hash},
        **data.to_json(),
        "max_tokens": setup.max_tokens,
        "longer_than_sampling": int((completions > setup.spec.sampling.max_tokens).sum()),
        "batches": batches(examples, arguments).to_json(),
        "parameters": {"total": parameters.total, "trained": parameters.trained},
        "dtype": str(dtype).removeprefix("torch."),
        "memory_gib": estimate_memory(parameters, config, arguments, dtype, longest),
    }


def _score_completions_alone() -> None:
    """Let TRL project positions without a loss on the vocabulary no more on a CPU than on a GPU.

    TRL 1.16 picks the positions with a loss where Triton runs, and scores all of them elsewhere, for devices that
    would compile anew for every count. A CPU compiles nothing, and a judge's prompt is most of its row: with 49,152
    tokens in the vocabulary that is a third of a step's time. The loss is the same.
    """
    on_triton = trl_utils._use_triton  # type: ignore[attr-defined]
    trl_utils._use_triton = lambda device: device.type == "cpu" or on_triton(device)  # type: ignore[attr-defined]


_score_completions_alone()


class JudgeSFTTrainer(GuardedSteps, SafeCheckpoints, SFTTrainer):
    """TRL's trainer with guarded steps, safe checkpoints and a count of trained tokens.

    Attributes:
        trained_tokens: Completion tokens with loss so far, over all processes, earlier parts of the run included.
    """

    trained_tokens = 0

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Fetch the passes of one step, and count the tokens that its loss is the mean over."""
        samples, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.trained_tokens += 0 if num_items is None else int(num_items)
        return samples, num_items

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the counts."""
        return {**super().progress(), "trained_tokens": self.trained_tokens}

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over the counts of a checkpoint."""
        super().resume(progress)
        self.trained_tokens = progress["trained_tokens"]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card comes with the exported judge."""


def build_trainer(
    setup: SFTSetup, data: RunData, run: RunFolder, listener: Listener | None = None
) -> JudgeSFTTrainer:
    """Load the weights and put the trainer together."""
    stage, base, validation = setup.stage, setup.base, data.validation
    trainer = JudgeSFTTrainer(
        run=run,
        keep_checkpoints=stage.checkpoints.keep,
        model=load_weights(base, stage.model, setup.dtype),
        args=setup.arguments,
        train_dataset=to_dataset(data.train.examples),
        eval_dataset=to_dataset(validation.examples) if validation else None,
        processing_class=base.tokenizer,
        peft_config=adapter_config(stage.lora),
        callbacks=[SealTheEnd(), Tell(listener or Listener())],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to the summary
    return trainer


def train(
    stage: SFTStage, place: str, folder: Path, *, resume: bool = False, listener: Listener | None = None
) -> dict[str, Any]:
    """Train a judge and return the summary; every process of a launch calls this.

    Args:
        stage: The config.
        place: Its file, for errors.
        folder: The run folder.
        resume: Go on with the run in the folder, from its last whole checkpoint; a finished one is left alone.
        listener: Who is told, in this process.

    Raises:
        ReasrmError: See `set_up`, `encode_data` and `RunFolder.open`.
    """
    listener = listener or Listener()
    path = absolute(folder)
    setup = set_up(stage, place, path / "checkpoints")
    return run_stage(
        setup,
        path,
        _inputs(stage),
        resume,
        lambda run: _train(setup, run, listener, resume),
    )


def _inputs(stage: SFTStage) -> dict[str, Path]:
    """Return the files that a run reads besides its config and its model."""
    files = {"train": stage.data.train, "validation": stage.data.validation}
    inputs = {f"{name}:{n}": Path(file) for name, paths in files.items() for n, file in enumerate(paths)}
    return inputs | engine_files(stage)


def _train(setup: SFTSetup, run: RunFolder, listener: Listener, resume: bool) -> dict[str, Any]:
    def build() -> JudgeSFTTrainer:
        data = encode_data(setup, listener)
        if run.writable:
            dropped = [*data.train.dropped, *(data.validation.dropped if data.validation else ())]
            write_data(run, dropped, data.to_json())
            _say_dropped(data, listener)
        return build_trainer(setup, data, run, listener)

    finished = finished_checkpoint(run) if resume else None
    return train_or_finish(
        run, listener, resume, finished, build, lambda checkpoint: _summary(run, checkpoint)
    )


def _say_dropped(data: RunData, listener: Listener) -> None:
    if shared := data.overlap():
        listener.say(
            f"warning: {shared} of {len(data.validation.examples) if data.validation else 0} validation rows have the "
            "prompt of a training row: their loss is not that of unseen rows"
        )
    for name, rows in (("training", data.train), ("validation", data.validation)):
        if rows is not None and rows.dropped:
            reasons = ", ".join(f"{count} {code}" for code, count in rows.reasons.items())
            kept = len(rows.examples)
            listener.say(f"warning: {len(rows.dropped)} {name} rows dropped ({reasons}), {kept} kept")


def _summary(run: RunFolder, checkpoint: CheckpointInfo) -> dict[str, Any]:
    """Return what became of a run, read from what it wrote."""
    state = read_trainer_state(checkpoint)
    data = orjson.loads((run.path / "data.json").read_bytes())
    progress = load_state(checkpoint.path, "rank-0")["progress"]
    losses = [logs["loss"] for logs in state["log_history"] if "loss" in logs]
    return {
        "stage": "sft",
        "run": str(run.path),
        "checkpoint": str(checkpoint.path),
        "rows": data["rows"],
        "dropped": data["dropped"],
        "steps": checkpoint.step,
        "skipped_steps": progress["skipped"][0],
        "loss": losses[-1] if losses else None,
        "trained_tokens": progress["trained_tokens"],
        "processed_tokens": int(progress["attributes"]["_total_train_tokens"]),
    }
