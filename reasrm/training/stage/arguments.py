"""From a checked config to the arguments of TRL's trainer: what the machine decides, and what it cannot do.

Some of TRL's defaults hurt a judge or a CPU, and are replaced where the user says nothing: rows are never cut
(`max_length`), bfloat16 and gradient checkpointing are for GPUs, nothing is sent to a tracker unless asked. What is
asked and not there (a GPU, bfloat16, a package) is refused before anything is loaded.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.extras import require
from reasrm.training.stage.config import Stage
from reasrm.training.stage.ranges import expect_word

__all__ = [
    "build_arguments",
    "check_machine",
    "choose_dtype",
    "optimizer_package",
    "shards_weights",
    "uses_deepspeed",
    "uses_fsdp",
    "weights_dtype",
]

_CHECKPOINTING = ("use_reentrant", "preserve_rng_state", "determinism_check", "debug", "early_stop")


def check_machine(stage: Stage, place: str) -> None:
    """Refuse what this machine cannot do.

    Raises:
        ConfigError: A GPU or a number format is asked for that is not there; a DeepSpeed file is missing.
        MissingExtraError: DeepSpeed, FlashAttention or vLLM is not installed.
        EnvironmentProblem: Nor is the package of the optimizer, of Liger's kernels or of a tracker.
    """
    cuda = torch.cuda.is_available()
    trainer = stage.trainer
    on_cpu = trainer.get("use_cpu", not cuda)
    needs_gpu = {
        "trainer.use_cpu: false": trainer.get("use_cpu") is False,
        "trainer.tf32: true": trainer.get("tf32") is True,
        "trainer.fp16: true": trainer.get("fp16") is True,
        "model.attn_implementation: flash_attention_2": _flash(stage),
    }
    for setting, asked in needs_gpu.items():
        if asked and (on_cpu or not cuda):
            reason = "training runs on the CPU" if cuda else "torch finds no GPU"
            raise ConfigError(f"{setting} needs a GPU, but {reason}", place=place, remedy="leave it out")
    if trainer.get("bf16") and not on_cpu and not torch.cuda.is_bf16_supported():
        raise ConfigError(
            "trainer.bf16: true, but this GPU does not compute bfloat16",
            place=place,
            remedy="set trainer.bf16: false",
        )
    if _flash(stage):
        require("flash_attn", "flash-attn")
    if trainer.get("use_vllm"):
        require("vllm", "vllm")
    if optimizer := trainer.get("optim"):
        _expect_package(optimizer_package(str(optimizer)), f"trainer.optim: {optimizer}", place)
    if trainer.get("use_liger_kernel"):
        _expect_package("liger_kernel", "trainer.use_liger_kernel: true", place)
    _check_deepspeed(trainer.get("deepspeed"), place)
    _check_trackers(trainer.get("report_to"), place)


def _flash(stage: Stage) -> bool:
    return stage.model.attn_implementation == "flash_attention_2"


def optimizer_package(optimizer: str) -> str | None:
    """Return the module that an optimizer of transformers needs beside torch, or None."""
    return next((module for part, module in _OPTIMIZERS.items() if part in optimizer), None)


_OPTIMIZERS = {
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "lomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free": "schedulefree",
    "stable_adamw": "optimi",
    "torch_4bit": "torchao",
    "torch_8bit": "torchao",
    "torch_npu": "torch_npu",
    "torch_xla": "torch_xla",
    "anyprecision": "torchdistx",
    **dict.fromkeys(("8bit", "paged", "ademamix", "lion", "bnb"), "bitsandbytes"),
}
"""Part of a name, the first that fits → module."""
_WHEELS = {"optimi": "torch-optimi"}


def _expect_package(module: str | None, setting: str, place: str) -> None:
    if module is not None and find_spec(module) is None:
        raise EnvironmentProblem(
            f"{setting} needs the package {module!r}, which is not installed",
            place=place,
            remedy=f"install it with: pip install {_WHEELS.get(module, module.replace('_', '-'))}, or leave it out",
        )


def _check_deepspeed(value: Any, place: str) -> None:
    if value is None:
        return
    if isinstance(value, str) and not Path(value).is_file():
        raise ConfigError(
            f"trainer.deepspeed: there is no file {value!r}",
            place=place,
            remedy="give a path from the working directory",
        )
    require("deepspeed", "deepspeed")


def _check_trackers(value: str | list[str] | None, place: str) -> None:
    from transformers import integrations
    from transformers.integrations import integration_utils

    names = [value] if isinstance(value, str) else value or []
    there = integrations.get_available_reporting_integrations()
    there += ["flyte"] if integration_utils.is_flytekit_available() else []  # which transformers forgets
    for name in names if value not in ("none", "all", ["none"], ["all"]) else ():
        expect_word(name, tuple(integration_utils.INTEGRATION_TO_CALLBACK), f"{place}: trainer.report_to")
        if name not in there:
            raise EnvironmentProblem(
                f"trainer.report_to: {name}, which is not installed",
                place=place,
                remedy=f"install it with: pip install {name.replace('_', '-')}, or leave it out",
            )


def build_arguments(
    config_class: type[Any], stage: Stage, values: dict[str, Any], output_dir: Path, place: str
) -> Any:
    """Return an object of one of TRL's config classes.

    Args:
        config_class: Which.
        stage: The config.
        values: Arguments of the class; what the machine decides is filled in where they say nothing.
        output_dir: Where checkpoints go.
        place: The config file, for errors.

    Raises:
        ConfigError: TRL refuses the combination of arguments, several GPUs are visible to one process, or FSDP would
            write checkpoints that cannot be exported.
    """
    try:
        arguments = config_class(
            **{**_defaults(stage), **_renamed(values)},
            output_dir=str(output_dir),
            seed=stage.seed,
            save_total_limit=None,
            disable_tqdm=True,
        )
    except (ValueError, TypeError, KeyError, OverflowError, ImportError) as error:
        raise ConfigError(
            f"TRL refuses these arguments: {' '.join(str(error).split())}",
            place=f"{place}: trainer",
            remedy="correct the section",
        ) from error
    if arguments.n_gpu > 1:
        raise ConfigError(
            f"one process sees {arguments.n_gpu} GPUs",
            place=place,
            remedy=f"start it with `accelerate launch -m reasrm {stage.stage}`, or set CUDA_VISIBLE_DEVICES to one GPU",
        )
    _check_schedule(arguments, place)
    _check_words(arguments, place)
    if uses_fsdp(arguments):
        _check_state_dicts(arguments, place)
    return arguments


def _check_state_dicts(arguments: Any, place: str) -> None:
    """Refuse checkpoints in shards, in which no `model.safetensors` is; accelerate's FSDP2 writes them by default."""
    if arguments.fsdp:
        kind = arguments.fsdp_plugin_args["state_dict_type"]
        name, remedy = "trainer.fsdp_config.state_dict_type", "leave it out"
    else:
        default = "SHARDED_STATE_DICT" if os.environ.get("FSDP_VERSION", "1") == "2" else "FULL_STATE_DICT"
        kind = os.environ.get("FSDP_STATE_DICT_TYPE", default)
        name, remedy = "fsdp_state_dict_type", "set FULL_STATE_DICT in accelerate's config file"
    if str(kind).upper() != "FULL_STATE_DICT":
        raise ConfigError(
            f"{name} is {kind}, and a judge is exported from whole weights, which no checkpoint would hold",
            place=place,
            remedy=remedy,
        )


def _check_schedule(arguments: Any, place: str) -> None:
    """Refuse a schedule that cannot be made; it would otherwise be made after the weights were loaded."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=arguments.learning_rate)
    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer=optimizer,
            num_warmup_steps=1,
            num_training_steps=10,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"lr_scheduler_type {arguments.lr_scheduler_type!s} cannot be used: {' '.join(str(error).split())}",
            place=f"{place}: trainer.lr_scheduler_type",
            remedy="set trainer.lr_scheduler_kwargs to what this schedule takes",
        ) from error


def _check_words(arguments: Any, place: str) -> None:
    """Refuse words that torch and transformers would read only after the weights were loaded."""
    from accelerate.utils import DynamoBackend

    if arguments.torch_compile:
        known = [str(backend.value).lower() for backend in DynamoBackend]
        backend = str(arguments.torch_compile_backend).lower()
        expect_word(backend, known, f"{place}: trainer.torch_compile_backend")
    pairs = str(arguments.optim_args or "").split(",")
    if any(pair.count("=") != 1 for pair in pairs if arguments.optim_args):
        raise ConfigError(
            f"is {arguments.optim_args!r}",
            place=f"{place}: trainer.optim_args",
            remedy="write it as 'name=value,other=value'",
        )
    for name in arguments.activation_checkpointing_kwargs or {}:
        expect_word(name, _CHECKPOINTING, f"{place}: trainer.gradient_checkpointing_kwargs")


def _renamed(trainer: dict[str, Any]) -> dict[str, Any]:
    """Give arguments that transformers renamed their new names; it warns about the old ones."""
    new = {
        "gradient_checkpointing": "activation_checkpointing",
        "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    }
    return {new.get(name, name): value for name, value in trainer.items()}


def _defaults(stage: Stage) -> dict[str, Any]:
    """What holds where the user says nothing."""
    on_gpu = torch.cuda.is_available() and not stage.trainer.get("use_cpu", False)
    return {
        "use_cpu": not on_gpu,
        "bf16": on_gpu and torch.cuda.is_bf16_supported() and not stage.trainer.get("fp16", False),
        "activation_checkpointing": on_gpu,
        "dataloader_pin_memory": on_gpu,
        "ddp_find_unused_parameters": False,
        "report_to": "none",
        "logging_steps": 1,
    }


def uses_deepspeed(arguments: Any) -> bool:
    """Whether DeepSpeed trains, be it asked for by the config or by `accelerate launch`."""
    return arguments.deepspeed_plugin is not None


def uses_fsdp(arguments: Any) -> bool:
    """Whether FSDP is asked for, by the config, by `accelerate launch`, or by an accelerator that is there already."""
    from accelerate.state import AcceleratorState, is_initialized

    return bool(
        arguments.fsdp
        or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        or (is_initialized() and getattr(AcceleratorState(), "fsdp_plugin", None) is not None)
    )


def shards_weights(arguments: Any) -> str | None:
    """Return what leaves each process only a shard of the weights, or None."""
    if uses_fsdp(arguments):
        return "FSDP"
    plugin = arguments.deepspeed_plugin
    return "ZeRO-3" if plugin is not None and plugin.zero_stage == 3 else None


def weights_dtype(stage: Stage, arguments: Any) -> torch.dtype:
    """Return the number format in which weights are loaded; see `ModelSection.dtype`."""
    return choose_dtype(stage.model.dtype, arguments, stage.lora is not None or uses_deepspeed(arguments))


def choose_dtype(asked: str, arguments: Any, frozen_or_mastered: bool) -> torch.dtype:
    """Return a number format as asked for; `auto` is bfloat16 on a GPU where float32 is of no use or kept elsewhere."""
    if asked != "auto":
        return torch.float32 if asked == "float32" else torch.bfloat16
    return (
        torch.bfloat16 if arguments.bf16 and not arguments.use_cpu and frozen_or_mastered else torch.float32
    )
