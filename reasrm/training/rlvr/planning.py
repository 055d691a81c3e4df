"""How rollouts fall into steps, and the memory that they take beside training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from reasrm.training.stage.planning import Parameters, step_counts, zero_stage

__all__ = ["rollout_batches", "rollout_memory"]


def rollout_batches(num_prompts: int, args: Any, lengths: Any) -> dict[str, Any]:
    """Return the arithmetic of batches of rollouts, as the trainer counts.

    Args:
        num_prompts: Prompts to learn from.
        args: TRL's arguments.
        lengths: Of the prompts in tokens, (N,).
    """
    per_batch = args.generation_batch_size // args.num_generations
    passes = (num_prompts // per_batch) * args.steps_per_generation * args.num_iterations
    counts = step_counts(args, passes)
    return {
        "prompts_per_generation_batch": per_batch,
        "rollouts_per_prompt": args.num_generations,
        "rollouts_per_generation_batch": args.generation_batch_size,
        "rollouts_per_step": counts.pop("per_step"),
        **counts,
        "steps_per_generation": args.steps_per_generation,
        "num_iterations": args.num_iterations,
        "prompt_tokens_per_generation_batch": round(float(np.mean(lengths)) * args.generation_batch_size),
    }


def rollout_memory(
    memory: dict[str, float],
    parameters: Parameters,
    config: Any,
    arguments: Any,
    dtype: torch.dtype,
    longest: int,
    batch_size: int | None,
) -> dict[str, float]:
    """Return the memory of one process of RLVR in GiB: that of training, the reference, the cache of rollouts, total.

    The cache is not held at the same time as what a pass forward and back takes: the total counts the larger. Under
    vLLM the cache is vLLM's, as much as `vllm_gpu_memory_utilization` allows it where it shares the GPU, and is not
    counted.

    Args:
        memory: What `estimate_memory` says.
        parameters: Their number.
        config: The model's transformers config.
        arguments: TRL's arguments.
        dtype: Of the weights as loaded.
        longest: Tokens of the longest prompt and completion.
        batch_size: Rollouts per forward pass; None: all of a process's generation batch.
    """
    text = config.get_text_config()
    copies = parameters.trained == parameters.total and arguments.beta > 0
    shards = arguments.world_size if zero_stage(arguments) == 3 else 1
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    local = arguments.per_device_train_batch_size * arguments.steps_per_generation
    rollouts = 0 if arguments.use_vllm else min(batch_size or local, local)
    parts = {
        "reference": parameters.total * dtype.itemsize / shards if copies else 0,
        "rollouts": 2 * text.num_hidden_layers * heads * head * dtype.itemsize * longest * rollouts,
    }
    gib = {name: round(size / 2**30, 3) for name, size in parts.items()}
    passes = memory["total"] - memory["weights"] - memory["optimizer"] - memory["libraries"]
    total = memory["total"] + gib["reference"] + max(gib["rollouts"] - passes, 0)
    parts_first = {name: size for name, size in memory.items() if name != "total"}
    return {**parts_first, **gib, "total": round(total, 3)}
