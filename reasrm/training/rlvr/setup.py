"""An RLVR stage checked against this machine, before rows are read and weights loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reasrm.critiques.cases import CritiqueScorer
from reasrm.errors import ConfigError
from reasrm.generation.base import Backend
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.resolve import open_backend
from reasrm.metarm.model import MetaRM, find_folder, read_card
from reasrm.protocol.spec import JudgeSpec
from reasrm.rewards.base import Part
from reasrm.rewards.build import RewardFunction, build_reward
from reasrm.rewards.consistency import ConsistencyReferee
from reasrm.scorers.critiques import build_critique_scorer
from reasrm.scorers.referee import BackendReferee
from reasrm.training.rlvr.config import MetaRewardSection, RLVRStage
from reasrm.training.rlvr.meta_reward import MetaReward, check_meta_reward
from reasrm.training.stage.arguments import build_arguments, choose_dtype, shards_weights
from reasrm.training.stage.driver import Setup, open_spec
from reasrm.training.stage.models import BaseModel, adapter_config, check_adapters, open_base
from reasrm.training.stage.sharing import Shared

__all__ = [
    "RLVRSetup",
    "build_reward_function",
    "check_shards",
    "member_config",
    "metarm_dtype",
    "open_metarm",
    "recomputes",
    "set_up",
]

_DEFAULTS: dict[str, Any] = {
    "loss_type": "grpo",
    "beta": 1e-3,
    "use_bias_correction_kl": False,
    "epsilon": 0.2,
    "temperature": 1.0,
    "top_p": 1.0,
    "disable_dropout": True,
    "learning_rate": 1e-6,
    "lr_scheduler_type": "constant",
}
"""What holds where the user says nothing: RM-R1's numbers, where they differ from TRL's."""


@dataclass(frozen=True, slots=True)
class RLVRSetup(Setup[RLVRStage, BaseModel]):
    """An RLVR stage, checked.

    Args:
        parts: Reward parts of your own, in the place of the config's of these names.
    """

    parts: Mapping[str, Part]


def set_up(
    stage: RLVRStage, place: str, output_dir: Path, parts: Mapping[str, Part] | None = None
) -> RLVRSetup:
    """Check everything that can be checked without rows and weights.

    Args:
        stage: The config.
        place: Its file, for errors.
        output_dir: Where checkpoints will go; nothing is written yet.
        parts: Reward parts of your own, in the place of the config's of these names.

    Raises:
        ConfigError: The config, the model folder or the spec cannot be used.
        EnvironmentProblem: The machine lacks something that was asked for.
    """
    spec = open_spec(stage, place, "rollouts judge pairs")
    if stage.metarm is not None:
        _check_metarm(stage, stage.metarm, spec)
    build_reward_function(
        stage, parts=parts
    )  # what it lacks should not be found out after the weights were loaded
    base = open_base(stage.model)
    check_adapters(base.config, stage.lora, place)
    arguments = _arguments(stage, spec, output_dir, place)
    _check_boundaries(stage, arguments, place)
    check_shards(stage, arguments, place)
    left = (base.context or math.inf) - arguments.max_completion_length
    if left < 1:
        raise ConfigError(
            f"max_completion_length {arguments.max_completion_length} leaves nothing of the model's context of "
            f"{base.context} tokens to a prompt",
            place=f"{place}: trainer.max_completion_length",
            remedy="lower it",
        )
    most = int(min(stage.data.max_prompt_tokens, left))
    return RLVRSetup(stage, spec, base, arguments, most, parts or {})


def _check_metarm(stage: RLVRStage, section: MetaRewardSection, spec: JudgeSpec) -> None:
    if spec.grammar.critique is None:
        raise ConfigError(
            f"spec {spec.name!r} marks no critique in a judgment, so a MetaRM has nothing to read",
            place="metarm",
            remedy="choose a spec whose grammar names a critique, such as rm-nlhf",
        )
    card = read_card(find_folder(section.path))
    if card.spec.grammar != spec.grammar:
        raise ConfigError(
            f"the MetaRM knows critiques under spec {card.spec.name!r}, which {spec.name!r} marks otherwise",
            place="metarm.path",
            remedy="train a MetaRM under the spec of the policy, or a policy under the spec of the MetaRM",
        )
    check_meta_reward(section, stage.rewards, card)
    check_adapters(member_config(section), section.lora, "metarm", card.auto_class, card.task)
    if section.max_variance is not None and card.members < 2:
        raise ConfigError(
            "the MetaRM has one member, whose scores do not vary",
            place="metarm.max_variance",
            remedy="leave it out, or train a MetaRM with metarm.members of at least 2",
        )


def member_config(section: MetaRewardSection) -> Any:
    """Return the transformers config of a MetaRM's members."""
    member = Checkpoint(str(find_folder(section.path) / "member-0"))
    member.check()
    return member.load("AutoConfig")


def metarm_dtype(section: MetaRewardSection, arguments: Any) -> torch.dtype:
    """Return the number format of a MetaRM's weights; see `MetaRewardSection.dtype`."""
    return choose_dtype(section.dtype, arguments, section.lora is not None or section.mode == "frozen")


def recomputes(section: MetaRewardSection, arguments: Any) -> bool:
    """Whether a MetaRM computes activations again in its backward pass."""
    asked = section.gradient_checkpointing
    return bool(arguments.activation_checkpointing if asked is None else asked)


def open_metarm(stage: RLVRStage, arguments: Any) -> MetaReward | None:
    """Load the MetaRM of a stage onto this process's device; None where it has none."""
    section = stage.metarm
    if section is None:
        return None
    folder = find_folder(section.path)
    adapters = adapter_config(section.lora, read_card(folder).task)
    with _whole_weights():
        metarm = MetaRM.open(folder, metarm_dtype(section, arguments), adapters, stage.seed)
    if recomputes(section, arguments):
        metarm.checkpoint_activations()
    return MetaReward(section, metarm.to(arguments.device), stage.rewards)


@contextmanager
def _whole_weights() -> Iterator[None]:
    """Let every process read weights: for FSDP transformers would read them in one, and shard them afterwards."""
    name = "FSDP_CPU_RAM_EFFICIENT_LOADING"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _arguments(stage: RLVRStage, spec: JudgeSpec, output_dir: Path, place: str) -> Any:
    from trl.trainer.grpo_config import GRPOConfig

    values = {**_DEFAULTS, "max_completion_length": spec.sampling.max_tokens, **stage.trainer}
    if not values.get("use_vllm"):
        for name, neutral in (("top_k", (0, None)), ("min_p", (0, None)), ("repetition_penalty", (1.0,))):
            if name in stage.trainer and stage.trainer[name] not in neutral:
                raise ConfigError(
                    f"trainer.{name} is {stage.trainer[name]!r}, but rollouts are drawn from the policy itself",
                    place=place,
                    remedy=f"leave {name} out; temperature and top_p say how to draw",
                )
    if stage.lora is not None and stage.lora.dropout and values["disable_dropout"]:
        raise ConfigError(
            f"lora.dropout is {stage.lora.dropout:g}, and trainer.disable_dropout turns all dropout off",
            place=place,
            remedy="set trainer.disable_dropout: false, or leave lora.dropout out",
        )
    own: dict[str, Any] = {"eval_strategy": "no", "log_completions": False, "data_seed": stage.seed}
    if stage.model.revision is not None and stage.lora is None:
        own["model_init_kwargs"] = {
            "revision": stage.model.revision
        }  # of the reference, which TRL loads itself
    return build_arguments(GRPOConfig, stage, {**values, **own}, output_dir, place)


def check_shards(stage: RLVRStage, args: Any, place: str) -> None:
    """Refuse what cannot be done where each process has only a shard of the policy's weights."""
    sharder = shards_weights(args)
    if sharder == "ZeRO-3" and stage.metarm is not None:
        raise ConfigError(
            "under ZeRO-3 every model that is loaded is cut into shards, and a MetaRM must be whole",
            place=f"{place}: metarm",
            remedy="use DDP, FSDP or ZeRO-2 for the policy",
        )
    for key, model in _local_models(stage).items() if sharder == "ZeRO-3" else ():
        raise ConfigError(
            f"{key} is {model}, and under ZeRO-3 every model that is loaded is cut into shards, which cannot answer",
            place=place,
            remedy="use DDP, FSDP or ZeRO-2, or a model behind an endpoint (openai:MODEL@URL)",
        )
    if sharder is not None and stage.rollouts.refill:
        raise ConfigError(
            f"rollouts.refill is {stage.rollouts.refill}, which draws unequal numbers in each process; with the "
            f"shards of {sharder} all must draw together",
            place=place,
            remedy="set it to 0, or use DDP or ZeRO-2",
        )


def _local_models(stage: RLVRStage) -> dict[str, str]:
    """Return the models that each process loads for the reward, by key."""
    critique = stage.critique
    named = {
        "referee.model": stage.referee and stage.referee.model,
        "critique.model": critique and critique.model,
        "critique.encoder": critique and critique.encoder,
    }
    return {key: model for key, model in named.items() if model and not model.startswith("openai:")}


def _check_boundaries(stage: RLVRStage, args: Any, place: str) -> None:
    """Refuse checkpoints in the middle of a generation batch, whose rest would be lost.

    Raises:
        ConfigError: A number of steps is no multiple of the steps that a generation batch lasts.
    """
    per_batch, accumulation = (
        args.steps_per_generation * args.num_iterations,
        args.gradient_accumulation_steps,
    )
    if per_batch % accumulation and accumulation % per_batch:
        raise ConfigError(
            f"a generation batch lasts {per_batch} passes and a step {accumulation}, so they hardly ever end together",
            place=f"{place}: trainer.gradient_accumulation_steps",
            remedy="make one a multiple of the other (steps_per_generation times num_iterations)",
        )
    steps = max(per_batch // accumulation, 1)
    if steps > 1 and args.max_steps <= 0 and args.num_train_epochs % 1:
        raise ConfigError(
            f"is {args.num_train_epochs:g}, which may end in the middle of a generation batch",
            place=f"{place}: trainer.num_train_epochs",
            remedy="use a whole number, or set trainer.max_steps",
        )
    wanted = {"trainer.max_steps": args.max_steps if args.max_steps > 0 else 0}
    if args.save_strategy == "steps":
        wanted["trainer.save_steps"] = args.save_steps
    if stage.validation is not None and stage.selection is not None:
        wanted["validation.every"] = stage.validation.every
    for name, value in wanted.items():
        if value % steps:
            raise ConfigError(
                f"is {value:g}, and a generation batch is learned from for {steps} steps",
                place=f"{place}: {name}",
                remedy=f"use a multiple of {steps}",
            )


def build_reward_function(
    stage: RLVRStage,
    opened: Callable[[str, Backend], None] = lambda section, backend: None,
    parts: Mapping[str, Part] | None = None,
) -> RewardFunction:
    """Return the reward function of a stage. The processes of a launch share out whatever it asks.

    Args:
        stage: The config.
        opened: Called with the section that names a model, and what was opened for it.
        parts: Parts of your own, which take the places of the config's parts of these names.

    Raises:
        ConfigError: A part needs something that the config does not name.
        MissingExtraError: A package of a part is not installed.
    """

    def opening(section: str) -> Callable[..., Backend]:
        def open_model(name: str, **options: Any) -> Backend:
            backend = open_backend(name, **options)
            opened(section, backend)
            return backend

        return open_model

    referee: ConsistencyReferee | None = None
    if (asked := stage.referee) is not None:
        model = opening("referee")(asked.model, **asked.endpoint_options())
        referee = Shared(BackendReferee(model.generate, max_tokens=asked.max_tokens), _whole_weights)
    critiques: CritiqueScorer | None = None
    if stage.critique is not None:
        with _whole_weights():
            critiques = Shared(build_critique_scorer(stage.critique, opening("critique")), _whole_weights)
    return build_reward(stage.rewards, referee=referee, critiques=critiques).with_parts(parts or {})
