"""LoRA adapters merged in float32 and rounded once, without a change of the model that holds them.

peft merges into the weights and subtracts again. In half precision what is subtracted is not what was added: weights
that ought to be frozen move a little with every merge.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["merge_on_the_way", "merged_weights"]


def merged_weights(adapted: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield names and weights of the plain model that a model with an adapter computes, each in its own number format.

    A weight with two names comes once. One layer at a time is copied.

    Args:
        adapted: peft's wrapper.
    """
    plain = adapted.get_base_model()
    seen: set[int] = set()
    for name, weight in plain.state_dict().items():
        if ".lora_" in name or ".original_module." in name or weight.data_ptr() in seen:
            continue
        seen.add(weight.data_ptr())
        owner, adapter, leaf = name.rpartition(".base_layer.")
        if adapter:
            exact = copy.deepcopy(plain.get_submodule(owner)).float()
            exact.merge()
            name, weight = f"{owner}.{leaf}", exact.get_base_layer().state_dict()[leaf].to(weight.dtype)
        yield name.replace(".modules_to_save.default.", "."), weight


def merge_on_the_way(generation: Any) -> None:
    """Let TRL hand merged weights to vLLM without merging them into the policy.

    Not where weights are in shards: FSDP and ZeRO-3 have TRL's own way.

    Args:
        generation: TRL's `VLLMGeneration`.
    """
    sharded = generation._dist.is_fsdp or generation._dist.is_zero3
    if hasattr(generation.model, "get_base_model") and not sharded:
        generation._iter_named_params = lambda: (
            (generation._fix_param_name_to_vllm(name), weight)
            for name, weight in merged_weights(generation.model)
        )
