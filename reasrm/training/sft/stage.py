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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from reasrm.errors import ConfigError
from reasrm.runs import RunFolder
from reasrm.training.safety.checkpoints import SafeCheckpoints
from reasrm.training.safety.guards import GuardedSteps
from reasrm.training.sft.config import SFTStage
from reasrm.training.sft.data import EncodedRows, Example, RowEncoder, encode_files, to_dataset
from reasrm.training.sft.planning import batches, describe_lengths
from reasrm.training.stage.arguments import build_arguments
from reasrm.training.stage.driver import (
    Setup,
    StageKind,
    numbered,
    open_spec,
)
from reasrm.training.stage.listening import Listener, SealTheEnd, Tell
from reasrm.training.stage.models import BaseModel, adapter_config, check_adapters, load_weights, open_base
from reasrm.training.stage.planning import count_parameters, estimate_memory
from reasrm.training.stage.rows import Dropped, dropped_remark

__all__ = [
    "SFT",
    "JudgeSFTTrainer",
    "SFTData",
    "build_trainer",
    "encode_data",
    "plan",
    "set_up",
    "sft_arguments",
    "train",
]

SFTSetup = Setup[SFTStage, BaseModel]


@dataclass(frozen=True, slots=True)
class SFTData:
    """The rows of a run as ids."""

    train: EncodedRows
    validation: EncodedRows | None

    @property
    def dropped(self) -> list[Dropped]:
        """Rows that are not learned from, nor measured on."""
        return [*self.train.dropped, *(self.validation.dropped if self.validation else ())]

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

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know of it before training."""
        validation = self.validation
        if validation and (shared := self.overlap()):
            yield (
                f"warning: {shared} of {len(validation.examples)} validation rows have the prompt of a training row: "
                "their loss is not that of unseen rows"
            )
        for name, rows in (("training", self.train), ("validation", validation)):
            if rows is not None:
                yield from dropped_remark(name, rows.dropped, len(rows.examples))


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
    return Setup(stage, spec, base, sft_arguments(stage, output_dir, max_tokens, place), max_tokens)


def sft_arguments(stage: SFTStage, output_dir: Path, max_tokens: int, place: str) -> Any:
    """Return TRL's `SFTConfig` for a stage.

    Args:
        stage: The config.
        output_dir: Where checkpoints go.
        max_tokens: Longest row; the length of a pack, where rows are packed.
        place: The config file, for errors.

    Raises:
        ConfigError: The combination of arguments cannot be used; see `build_arguments`.
    """
    from trl.trainer.sft_config import SFTConfig

    trainer = stage.trainer
    if trainer.get("packing_strategy") == "wrapped":
        raise ConfigError(
            "trainer.packing_strategy: wrapped cuts rows in the middle",
            place=place,
            remedy="use bfd, which keeps every row whole",
        )
    if trainer.get("eval_strategy", "no") != "no" and not stage.data.validation:
        raise ConfigError(
            "trainer.eval_strategy is set, but there is nothing to evaluate on",
            place=place,
            remedy="set data.validation, or leave trainer.eval_strategy out",
        )
    packing = bool(trainer.get("packing") or trainer.get("eval_packing"))
    own = {
        "max_length": max_tokens if packing else None,
        "completion_only_loss": True,
        "data_seed": stage.seed,
    }
    defaults = {"eval_strategy": "epoch" if stage.data.validation else "no"}
    return build_arguments(SFTConfig, stage, {**defaults, **trainer, **own}, output_dir, place)


def encode_data(setup: SFTSetup, listener: Listener | None = None) -> SFTData:
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
    return SFTData(
        rows, encode_files(data.validation, encoder, columns=data.columns) if data.validation else None
    )


def _plan(setup: SFTSetup, data: SFTData) -> dict[str, Any]:
    arguments, config = setup.arguments, setup.base.config
    examples = data.train.examples
    parameters = count_parameters(config, adapter_config(setup.stage.lora))
    longest = setup.max_tokens if arguments.packing else max(len(example.ids) for example in examples)
    _, completions = data.train.lengths()
    return {
        "max_tokens": setup.max_tokens,
        "longer_than_sampling": int((completions > setup.spec.sampling.max_tokens).sum()),
        "batches": batches(examples, arguments),
        "parameters": parameters.to_json(),
        "memory_gib": estimate_memory(parameters, config, arguments, setup.dtype, longest),
    }


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
    setup: SFTSetup, data: SFTData, run: RunFolder, listener: Listener | None = None
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


def _report(
    run: RunFolder, data: Mapping[str, Any], progress: Mapping[str, Any], logged: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "loss": logged.get("loss"),
        "trained_tokens": progress["trained_tokens"],
        "processed_tokens": int(progress["attributes"]["_total_train_tokens"]),
    }


SFT = StageKind(
    name="sft",
    set_up=set_up,
    inputs=lambda stage: numbered(train=stage.data.train, validation=stage.data.validation),
    encode_data=encode_data,
    plan=_plan,
    build_trainer=build_trainer,
    report=_report,
)
plan, train = SFT.planned, SFT.train
