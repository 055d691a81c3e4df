"""A MetaRM stage checked against this machine, before rows are read and weights loaded; and what it would do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.generation.base import Backend
from reasrm.generation.resolve import open_backend
from reasrm.metarm.card import MetaCard
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.inputs import MetaEncoder
from reasrm.rewards.build import RewardFunction, build_reward
from reasrm.scorers.critiques import build_critique_scorer
from reasrm.training.metarm.config import MetaRMStage
from reasrm.training.metarm.rows import MetaRMData
from reasrm.training.metarm.targets import read_rollouts
from reasrm.training.stage.arguments import build_arguments, shards_weights
from reasrm.training.stage.driver import Setup, open_spec
from reasrm.training.stage.models import BareModel, adapter_config, check_adapters, open_bare
from reasrm.training.stage.planning import count_parameters, describe_numbers, estimate_memory, step_counts

__all__ = ["MetaRMSetup", "plan", "set_up"]

_DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.01,
    "weight_decay": 0.01,
    "num_train_epochs": 3.0,
    "max_grad_norm": 1.0,
}
"""What holds where the user says nothing: RM-NLHF's numbers."""


@dataclass(frozen=True, slots=True)
class MetaRMSetup(Setup[MetaRMStage, BareModel]):
    """A MetaRM stage, checked.

    Args:
        card: What the MetaRM will be; its `max_tokens` is no more than the model takes.
        encoder: Comparisons and critiques to ids.
        reward: Its parts say what a judgment is worth.
        asked: What was opened to score critiques.
    """

    card: MetaCard
    encoder: MetaEncoder
    reward: RewardFunction
    asked: tuple[Backend, ...] = ()

    @property
    def auto_class(self) -> str:
        """What the base is loaded by."""
        return self.card.auto_class

    @property
    def adapters(self) -> Any | None:
        """The config of the adapters for peft, or None."""
        return adapter_config(self.stage.lora, self.card.task)


def set_up(stage: MetaRMStage, place: str, output_dir: Path) -> MetaRMSetup:
    """Check everything that can be checked without rows and weights.

    Args:
        stage: The config.
        place: Its file, for errors.
        output_dir: Where checkpoints will go; nothing is written yet.

    Raises:
        ConfigError: The config, the model folder or the spec cannot be used.
        EnvironmentProblem: The machine lacks something that was asked for.
    """
    spec = open_spec(stage, place, "a MetaRM reads critiques of pairs")
    if spec.grammar.critique is None:
        raise ConfigError(
            f"spec {spec.name!r} marks no critique in a judgment, so there is nothing to learn from",
            place=f"{place}: spec",
            remedy="choose a spec whose grammar names a critique, such as rm-nlhf",
        )
    asked: list[Backend] = []

    def open_model(name: str, **options: Any) -> Backend:
        asked.append(open_backend(name, **options))
        return asked[-1]

    critiques = build_critique_scorer(stage.critique, open_model)
    reward = build_reward(stage.rewards, critiques=critiques)
    base = open_bare(stage.model)
    section = stage.metarm
    limits = (section.max_tokens, base.context, base.tokenizer.model_max_length)
    name, part = stage.process
    card = MetaCard(
        form=section.form,
        spec=spec,
        readout=section.readout,
        target=section.target,
        weight=stage.weight,
        members=section.members,
        max_tokens=int(min(limit for limit in limits if limit)),
        process={
            "name": name,
            "part": part.model_dump(mode="json"),
            "critique": stage.critique.meaning(),
        },
    )
    encoder = MetaEncoder(base.tokenizer, spec, card.form, card.max_tokens)
    arguments = _arguments(stage, output_dir, place)
    setup = MetaRMSetup(stage, spec, base, arguments, card.max_tokens, card, encoder, reward, tuple(asked))
    check_adapters(base.config, stage.lora, place, card.auto_class, card.task)
    return setup


def _arguments(stage: MetaRMStage, output_dir: Path, place: str) -> Any:
    from transformers import TrainingArguments

    trainer = stage.trainer
    if trainer.get("eval_strategy", "no") != "no" and not stage.data.holdout:
        raise ConfigError(
            "trainer.eval_strategy is set, but no rows are held out",
            place=place,
            remedy="set data.holdout, or leave trainer.eval_strategy out",
        )
    own = {
        "data_seed": stage.seed,
        "remove_unused_columns": False,
        "label_names": ["targets", "right", "process"],
    }
    defaults = {**_DEFAULTS, "eval_strategy": "epoch" if stage.data.holdout else "no"}
    arguments = build_arguments(TrainingArguments, stage, {**defaults, **trainer, **own}, output_dir, place)
    _check_engine(arguments, place)
    return arguments


def _check_engine(arguments: Any, place: str) -> None:
    """Refuse what cuts weights into shards: a MetaRM is several models in one module, and is written whole."""
    sharder = shards_weights(arguments)
    if sharder is not None:
        raise ConfigError(
            f"{sharder} cuts the weights into shards, and a MetaRM is trained whole in each process",
            place=place,
            remedy="launch it with DDP or ZeRO-2; LoRA adapters need the least memory there",
        )


def plan(setup: MetaRMSetup, data: MetaRMData) -> dict[str, Any]:
    """Return what training would do and need: judgments, lengths, steps, memory.

    Every judgment with a verdict and a critique is taken to be of use.
    """
    args, config, card = setup.arguments, setup.base.config, setup.card
    lengths, num_learned, too_long = _lengths(setup, data)
    config.num_labels = 1
    one = count_parameters(config, setup.adapters, setup.auto_class)
    longest = max(lengths, default=card.max_tokens)
    memory = estimate_memory(one, config, args, setup.dtype, longest, writes=card.readout == "likelihood")
    return {
        "metarm": card.model_dump(mode="json", include={"form", "readout", "target", "weight", "members"}),
        "held_out_rows": sum(is_held_out(row_id, data.holdout) for row_id in data.rows),
        "too_long": too_long,
        "judgments": data.num_judgments,
        "lengths": {"input": describe_numbers(np.array(lengths or [0]))},
        "max_tokens": card.max_tokens,
        "batches": _batches(num_learned, args),
        "parameters": one.to_json(card.members),
        "memory_gib": _memory(memory, one.trained, setup),
    }


def _memory(one: dict[str, float], trained: int, setup: MetaRMSetup) -> dict[str, float]:
    """Return the memory in GiB of all members, and of the buckets in which their gradients are summed."""
    members, args = setup.card.members, setup.arguments
    # Adapters are float32; DDP copies all gradients into buckets, DeepSpeed some of them into two.
    width = 4 if setup.stage.lora is not None else setup.dtype.itemsize
    copied = trained * members
    if args.deepspeed_plugin is not None:
        most = args.deepspeed_plugin.deepspeed_config["zero_optimization"].get("reduce_bucket_size", "auto")
        copied = 2 * min(copied, int(5e8 if most == "auto" else most))
    bucket = round(copied * width / 2**30, 3) if args.world_size > 1 else 0.0
    gib = {name: round(size * members, 3) for name, size in one.items()}
    total = round(gib.pop("total") + bucket, 3)
    return {**gib, "bucket": bucket, "total": total}


def _lengths(setup: MetaRMSetup, data: MetaRMData) -> tuple[list[int], int, int]:
    """Return the tokens of each judgment of use, how many of them are learned from, and how many more are too long."""
    found: list[int] = []
    num_learned = too_long = 0
    for _, rollout in read_rollouts(setup.spec, data):
        critique = (rollout.judgment.critique or "").strip()
        if rollout.judgment.verdict is None or not critique:
            continue
        try:
            encoded = setup.encoder.encode(rollout.comparison, critique)
        except (RowError, InputError):
            continue
        if encoded is None:
            too_long += 1
            continue
        found.append(len(encoded.ids))
        num_learned += not is_held_out(rollout.comparison.id, data.holdout)
    return found, num_learned, too_long


def _batches(rows: int, args: Any) -> dict[str, Any]:
    passes = -(-rows // (args.per_device_train_batch_size * args.world_size))
    return {"rows": rows, **step_counts(args, passes)}
