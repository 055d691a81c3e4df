"""What a run will do and need, told before it starts: rows, lengths, steps, memory. Loads no weights.

Memory is an estimate of the peak of one process, from counts: weights, gradients and the optimizer as many bytes as
their number formats take; activations as what a Llama-like layer keeps for its backward pass, tensor by tensor, with
attention that keeps no score matrix; the tiles of logits that TRL's head computes at a time. With checkpointing one
layer's worth, and the input of every layer. Not all of it is held at once: gradients come while activations go.
Sharding counts for what it shards: ZeRO stages 1 to 3 and FSDP. On a CPU it agrees with measured peaks (see
`docs/performance.md`); fragmentation, DDP's buckets (as much as the gradients) and a GPU's context come on top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reasrm.training.stage.arguments import uses_fsdp

__all__ = [
    "Parameters",
    "count_parameters",
    "describe_numbers",
    "estimate_memory",
    "step_counts",
    "zero_stage",
]

_PERCENTILES = (50, 90, 99)
_TILE = (4096, 32768)
"""Tokens and words of the vocabulary whose logits TRL's head computes at a time."""
_LIBRARIES_ON_CPU = 0.05
"""GiB that grow with nothing: tokenizer, datasets, kernels; measured."""
_ADAM_BYTES = {"adafactor": 0, "sgd": 0, "lion": 4}
_GIB = 2**30


def describe_numbers(lengths: NDArray[np.int64]) -> dict[str, int]:
    """Return the percentiles of some lengths (nearest rank) and the greatest."""
    shown = {f"p{p}": int(np.percentile(lengths, p, method="inverted_cdf")) for p in _PERCENTILES}
    return {**shown, "max": int(lengths.max())}


def step_counts(arguments: Any, passes: int) -> dict[str, Any]:
    """Return how so many forward passes of an epoch fall into steps, as the trainer counts.

    Args:
        arguments: TRL's.
        passes: Of one process.
    """
    per_device, accumulation = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    per_epoch = max(math.ceil(passes / accumulation), 1)
    total = math.ceil(arguments.num_train_epochs * per_epoch)
    return {
        "per_device": per_device,
        "accumulation": accumulation,
        "processes": arguments.world_size,
        "per_step": per_device * accumulation * arguments.world_size,
        "steps_per_epoch": per_epoch,
        "total_steps": arguments.max_steps if arguments.max_steps > 0 else total,
    }


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many weights a model has, adapters included, and how many of them are trained."""

    total: int
    trained: int

    def to_json(self, members: int = 1) -> dict[str, int]:
        """Return the numbers of so many equal models."""
        return {"total": self.total * members, "trained": self.trained * members}


def count_parameters(
    config: Any, adapters: Any | None, auto_class: str = "AutoModelForCausalLM"
) -> Parameters:
    """Count weights on the meta device: nothing is read or held.

    Args:
        config: The model's transformers config.
        adapters: peft's config, or None where all weights are trained.
        auto_class: What the model is loaded by.
    """
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(config, trust_remote_code=False)
        if adapters is not None:
            from peft import get_peft_model

            model = get_peft_model(model, adapters)
    numbers = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return Parameters(sum(n for n, _ in numbers), sum(n for n, trained in numbers if trained))


def estimate_memory(
    parameters: Parameters,
    config: Any,
    arguments: Any,
    dtype: torch.dtype,
    longest: int,
    *,
    writes: bool = True,
) -> dict[str, float]:
    """Return the memory of one process in GiB: weights, gradients, optimizer, activations, logits, libraries, total.

    The total is less than the sum: a backward pass begins with all activations and no gradient of its step, and ends
    with all gradients and one layer's activations.

    Args:
        parameters: Their number.
        config: The model's transformers config.
        arguments: TRL's arguments.
        dtype: Of the weights as loaded.
        longest: Tokens of the longest sequence; every sequence of a batch is taken to be as long.
        writes: Whether the model has a head over the vocabulary.
    """
    zero = zero_stage(arguments)
    shards = [arguments.world_size if zero >= stage else 1 for stage in (1, 2, 3)]
    width = dtype.itemsize
    trained = parameters.trained
    whole = trained == parameters.total
    trained_width = width if whole else 4  # peft keeps adapters in full precision
    master = 4 if zero and width < 4 else 0  # DeepSpeed's own full-precision copy of what it trains
    kept, layer = _activations(config, arguments, dtype, longest, whole)
    if arguments.bf16 and width == 4:
        kept += 2 * parameters.total  # autocast's copies of the weights
    parts = {
        "weights": parameters.total * width / shards[2],
        "gradients": trained * trained_width / shards[1],
        "optimizer": trained * (_optimizer_bytes(str(arguments.optim)) + master) / shards[0],
        "activations": kept + layer,
        "logits": _logits(config, arguments, longest, whole) if writes else 0,
        "libraries": _LIBRARIES_ON_CPU * _GIB if arguments.use_cpu else 0,
    }
    earlier = parts["gradients"] if arguments.gradient_accumulation_steps > 1 else 0
    begins = (
        kept + max(layer, parts["logits"])
        if arguments.gradient_checkpointing
        else kept + layer + parts["logits"]
    )
    held = max(earlier + begins, parts["gradients"] + layer)
    total = parts["weights"] + parts["optimizer"] + held + parts["libraries"]
    return {**{name: round(size / _GIB, 3) for name, size in parts.items()}, "total": round(total / _GIB, 3)}


def _activations(
    config: Any, arguments: Any, dtype: torch.dtype, longest: int, whole: bool
) -> tuple[float, float]:
    """Return the bytes that layers keep until the backward pass, and those that come and go with one layer.

    A layer keeps, per token: of its two norms the input and, where it learns, the normalised input in full precision,
    and the output; of attention queries, keys, values (both repeated for every head), output and its copy for the
    projection; of the gated MLP four times its inner width. Its input is that of the first norm.
    """
    text = config.get_text_config()
    half = arguments.bf16 or arguments.fp16
    width = 2 if half else dtype.itemsize
    hidden = text.hidden_size
    heads = getattr(text, "num_attention_heads", None) or 1
    attended = heads * (getattr(text, "head_dim", None) or hidden // heads)
    inner = int(np.max(getattr(text, "intermediate_size", None) or 4 * hidden))
    tokens = arguments.per_device_train_batch_size * longest
    norms = 2 * hidden * (4 * (2 if whole else 1) + width)
    layer = tokens * (norms + width * (5 * attended + 4 * inner))
    if not arguments.gradient_checkpointing:
        return float(layer * (text.num_hidden_layers - 1)), float(layer)
    inputs = tokens * hidden * (dtype.itemsize if half else width)
    return float(inputs * text.num_hidden_layers), float(layer)


def _logits(config: Any, arguments: Any, longest: int, whole: bool) -> float:
    """Return the bytes of TRL's head in the backward pass: tiles of logits and the gradient of its weights."""
    text = config.get_text_config()
    width = 2 if arguments.bf16 or arguments.fp16 else 4
    tokens = min(arguments.per_device_train_batch_size * longest, _TILE[0])
    gradient = 4 * text.vocab_size * text.hidden_size if whole else 0
    if not arguments.use_cpu:
        return float(tokens * _TILE[1] * width + gradient)
    # Without Triton seven tensors of a tile's shape and a mask stand beside it, in full precision.
    return float(tokens * min(text.vocab_size, _TILE[1]) * (width + 29) + gradient)


def _optimizer_bytes(name: str) -> int:
    """Return the bytes of optimizer state per trained weight."""
    name = name.removeprefix("OptimizerNames.").lower()
    state = next((size for prefix, size in _ADAM_BYTES.items() if name.startswith(prefix)), 8)
    return state // 4 if "8bit" in name else state


def zero_stage(arguments: Any) -> int:
    """Return how much is sharded: 0 nothing, 1 optimizer, 2 gradients too, 3 weights too (also FSDP)."""
    if uses_fsdp(arguments):
        return 3
    plugin = arguments.deepspeed_plugin
    stage = 0 if plugin is None else plugin.zero_stage
    return stage if isinstance(stage, int) else 0
