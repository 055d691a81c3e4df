"""Supervised fine-tuning of a judge: rows in, sealed checkpoints out, on TRL's `SFTTrainer`.

The loss of a step is the cross-entropy of all completion tokens of the step's global batch, averaged over those
tokens, whatever rows, passes, packs and processes they fall into; prompts and padding carry none (NLL on the target
tokens, as RM-R1, arXiv 2505.02387, eq. 4-6). TRL is subclassed only for checkpoints that survive a crash and for the
count of trained tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState, PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from reasrm.protocol.prompts import check_spec
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.training.arguments import check_machine, sft_arguments, weights_dtype
from reasrm.training.config import SFTStage
from reasrm.training.data import EncodedRows, RowEncoder, encode_files, to_dataset
from reasrm.training.models import BaseModel, adapter_config, load_weights, open_base
from reasrm.training.planning import batches, count_parameters, describe_lengths, estimate_memory

__all__ = ["JudgeSFTTrainer", "Listener", "Prepared", "build_trainer", "plan", "prepare"]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told how far a stage is; by default nobody.

    Args:
        say: Called with a sentence for people.
        rows: Called with the number of rows read.
        steps: Called at every log with the steps done, the steps in all, and what was logged.
    """

    say: Callable[[str], None] = lambda text: None
    rows: Callable[[int], None] = lambda number: None
    steps: Callable[[int, int, Mapping[str, Any]], None] = lambda done, total, logs: None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage with everything that is known before weights are loaded."""

    stage: SFTStage
    spec: JudgeSpec
    base: BaseModel
    arguments: Any
    max_tokens: int
    rows: EncodedRows
    validation: EncodedRows | None

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights as loaded."""
        return weights_dtype(self.stage, self.arguments)


def prepare(stage: SFTStage, place: str, output_dir: Path, listener: Listener | None = None) -> Prepared:
    """Check everything that can be checked without weights, and encode the rows.

    Args:
        stage: The config.
        place: Its file, for errors.
        output_dir: Where checkpoints will go.
        listener: Who is told.

    Raises:
        ConfigError: The config, the model folder or the spec cannot be used.
        InputError: A file of rows cannot be read, or none of its rows can be learned from.
        EnvironmentProblem: The machine lacks something that was asked for.
    """
    listener = listener or Listener()
    check_machine(stage, place)
    spec = load_spec(stage.spec)
    check_spec(spec)
    base = open_base(stage.model)
    max_tokens = min(stage.data.max_tokens, base.context or stage.data.max_tokens)
    arguments = sft_arguments(stage, output_dir, max_tokens, place)
    encoder = RowEncoder(
        spec,
        base.prompts,
        base.completions,
        max_tokens=max_tokens,
        keep_unreadable=stage.data.on_unreadable == "keep",
    )
    data = stage.data
    listener.say(f"encoding {', '.join(data.train)}")
    rows = encode_files(data.train, encoder, limit=data.limit, progress=listener.rows)
    validation = encode_files(data.validation, encoder) if data.validation else None
    return Prepared(stage, spec, base, arguments, max_tokens, rows, validation)


def plan(prepared: Prepared) -> dict[str, Any]:
    """Return what training would do and need: rows, lengths, batches, memory. Loads no weights."""
    rows, arguments = prepared.rows, prepared.arguments
    adapters = adapter_config(prepared.stage.lora)
    parameters = count_parameters(prepared.base.config, adapters)
    config, dtype = prepared.base.config, prepared.dtype
    longest = prepared.max_tokens if arguments.packing else max(len(e.ids) for e in rows.examples)
    _, completions = rows.lengths()
    return {
        "stage": "sft",
        "dry_run": True,
        "model": prepared.base.identity(),
        "spec": {"name": prepared.spec.name, "hash": prepared.spec.hash},
        "rows": len(rows.examples),
        "dropped": rows.reasons,
        "validation_rows": len(prepared.validation.examples) if prepared.validation else 0,
        "max_tokens": prepared.max_tokens,
        "lengths": describe_lengths(rows),
        "longer_than_sampling": int((completions > prepared.spec.sampling.max_tokens).sum()),
        "batches": batches(rows.examples, arguments).to_json(),
        "parameters": {"total": parameters.total, "trained": parameters.trained},
        "dtype": str(dtype).removeprefix("torch."),
        "memory_gib": estimate_memory(parameters, config, arguments, dtype, longest),
    }


class TokenCounter(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Counts of tokens over the whole run, kept in every checkpoint.

    Attributes:
        trained: Completion tokens, the ones with loss.
        processed: All tokens but padding.
    """

    def __init__(self) -> None:
        self.trained = 0
        self.processed = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, in the form that transformers wants."""
        return {"args": {}, "attributes": {"trained": self.trained, "processed": self.processed}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the counts of the checkpoint that training resumes from; all zero at a fresh start."""
        kept = state.stateful_callbacks.get(type(self).__name__) or self.state()
        kept = kept[-1] if isinstance(kept, list) else kept
        self.trained, self.processed = kept["attributes"]["trained"], kept["attributes"]["processed"]


class _SealTheEnd(TrainerCallback):  # type: ignore[misc]
    """The last step is saved whatever the save strategy, since the last checkpoint is the result."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps and args.save_strategy != "epoch":
            control.should_save = True


class _Tell(TrainerCallback):  # type: ignore[misc]
    """Passes on what is logged."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            self._listener.steps(state.global_step, state.max_steps, logs)


class JudgeSFTTrainer(SFTTrainer):
    """TRL's trainer with safe checkpoints and a count of tokens.

    Args:
        arguments: As `SFTTrainer` takes them, by name.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.counter = TokenCounter()
        self.add_callback(self.counter)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Fetch the passes of one step, and count their tokens over all processes."""
        samples, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if samples and num_items is not None:
            processed = sum(_num_tokens(batch) for batch in samples)
            local = torch.tensor([processed], device=device)
            self.counter.processed += int(self.accelerator.gather(local).sum())
            self.counter.trained += int(num_items)
        return samples, num_items

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card comes with the exported judge."""


def _num_tokens(batch: Mapping[str, Any]) -> int:
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None else int(mask.sum())


def build_trainer(prepared: Prepared, listener: Listener | None = None) -> JudgeSFTTrainer:
    """Load the weights and put the trainer together."""
    stage, base = prepared.stage, prepared.base
    validation = prepared.validation
    trainer = JudgeSFTTrainer(
        model=load_weights(base, stage.model, prepared.dtype),
        args=prepared.arguments,
        train_dataset=to_dataset(prepared.rows.examples),
        eval_dataset=to_dataset(validation.examples) if validation else None,
        processing_class=base.tokenizer,
        peft_config=adapter_config(stage.lora),
        callbacks=[_SealTheEnd(), _Tell(listener or Listener())],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to the summary
    return trainer
