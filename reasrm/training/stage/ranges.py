"""Which values the arguments of TRL's trainers may have, as far as their types do not say so.

TRL and transformers take most numbers as they come and fail on them much later, or not at all: a batch of 0 rows, a
negative temperature, a loss that nobody knows. A name that is not here is left to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reasrm.config import nearest
from reasrm.errors import ConfigError

__all__ = ["check_range", "expect_word"]

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Range:
    """What some arguments have in common: which numbers are right, in words and as a test."""

    words: str
    holds: Callable[[float], bool]
    names: tuple[str, ...]


_RANGES = (
    _Range(
        "a number above 0",
        lambda x: x > 0,
        (
            *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
            *("generation_batch_size", "steps_per_generation", "num_iterations", "max_completion_length"),
            *("num_train_epochs", "save_steps", "eval_steps", "logging_steps", "eval_accumulation_steps"),
            *("torch_empty_cache_steps", "dataloader_prefetch_factor", "ddp_timeout", "ddp_bucket_cap_mb"),
            *("adam_epsilon", "temperature", "repetition_penalty", "epsilon", "epsilon_high", "delta"),
            *("sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_neg", "vespo_k_pos"),
            *("vespo_lambda_neg", "vespo_lambda_pos", "off_policy_mask_threshold", "pad_to_multiple_of"),
            *("vllm_tensor_parallel_size", "vllm_max_model_length", "vllm_server_timeout"),
            *("vllm_server_port", "vllm_group_port"),
            *("vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max"),
        ),
    ),
    _Range(
        "0 or more",
        lambda x: x >= 0,
        (
            *("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps", "beta", "eval_delay"),
            *("dataloader_num_workers", "neftune_noise_alpha", "router_aux_loss_coef", "entropy_target"),
            *("entropy_coef_delta", "entropy_coef_min", "entropy_coef_max"),
            "vllm_importance_sampling_clip_min",
        ),
    ),
    _Range(
        "at least 0 and less than 1",
        lambda x: 0 <= x < 1,
        ("adam_beta1", "adam_beta2", "label_smoothing_factor"),
    ),
    _Range(
        "above 0 and at most 1",
        lambda x: 0 < x <= 1,
        ("top_p", "top_entropy_quantile", "vllm_gpu_memory_utilization"),
    ),
    _Range("at least 0 and at most 1", lambda x: 0 <= x <= 1, ("min_p",)),
    _Range("above 0, or -1 to train by epochs", lambda x: x == -1 or x > 0, ("max_steps",)),
    _Range("at least 2 generations of a prompt, which are compared", lambda x: x >= 2, ("num_generations",)),
    _Range("0 or more, or -1", lambda x: x >= -1, ("top_k",)),
)
_RANGE_OF = {name: found for found in _RANGES for name in found.names}

_CHOICES: dict[str, tuple[str, ...]] = {
    "GRPOConfig.loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"),
    "SFTConfig.loss_type": ("nll", "dft", "chunked_nll"),
    "importance_sampling_level": ("token", "sequence"),
    "packing_strategy": ("bfd", "bfd_split", "wrapped"),
    "torch_compile_mode": (
        *("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune"),
    ),
    "vllm_mode": ("colocate", "server"),
    "vllm_model_impl": ("vllm", "transformers"),
    "vllm_importance_sampling_mode": (
        *("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
    ),
}
"""Argument, or class and argument → its words, where the type is just text."""


def check_range(owner: str, name: str, value: Any, place: str) -> None:
    """Refuse a value that no training could use.

    Args:
        owner: TRL's config class.
        name: Of the argument.
        value: In the type that the argument wants.
        place: Of the argument, for errors.

    Raises:
        ConfigError: The value is out of range, or none of the words that are known.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(name, value, place)
    known = _CHOICES.get(f"{owner}.{name}") or _CHOICES.get(name)
    if known is not None and isinstance(value, str):
        expect_word(value, known, place)


def expect_word(word: str, known: Sequence[str], place: str) -> None:
    """Refuse a word that is none of those known.

    Raises:
        ConfigError: Names the nearest known one, or all.
    """
    if word not in known:
        guess = nearest(word, known)
        raise ConfigError(
            f"no such value: {word!r}",
            place=place,
            remedy=f"did you mean {guess!r}?" if guess else f"use one of {', '.join(known)}",
        )


def _check_number(name: str, value: float, place: str) -> None:
    if not math.isfinite(value) or abs(value) > _MOST:
        shown = f"{value!r}" if isinstance(value, float) else f"a number of {len(str(abs(value)))} digits"
        raise ConfigError(
            f"is {shown}", place=place, remedy=f"give a finite number, at most {_MOST:,} in size"
        )
    wanted = _RANGE_OF.get(name)
    if wanted is not None and not wanted.holds(value):
        raise ConfigError(f"is {value!r}", place=place, remedy=f"it must be {wanted.words}")
