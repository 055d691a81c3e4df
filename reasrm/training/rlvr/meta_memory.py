"""How much memory a MetaRM takes beside the policy, told before training starts. Loads no weights.

In the loop each process holds the members whole: weights, and where they learn gradients, AdamW and one bucket of
gradients to be summed, all trained weights counted in float32 (those of half precision have a copy). Activations are
estimated as those of the policy are.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from reasrm.metarm.card import MetaCard
from reasrm.metarm.learner import BUCKET
from reasrm.metarm.model import find_folder, read_card
from reasrm.training.rlvr.config import MetaRewardSection
from reasrm.training.rlvr.setup import member_config, metarm_dtype, recomputes
from reasrm.training.stage.models import adapter_config
from reasrm.training.stage.planning import Parameters, count_parameters, estimate_memory

__all__ = ["beside", "plan_metarm"]

_GIB = 2**30


def plan_metarm(
    section: MetaRewardSection, arguments: Any, longest: int, longest_critique: int
) -> dict[str, Any]:
    """Return what the MetaRM in the loop is and needs in one process.

    Args:
        section: The MetaRM.
        arguments: Of the policy.
        longest: Tokens of the longest prompt and critique.
        longest_critique: Of the critique alone.
    """
    card = read_card(find_folder(section.path))
    config, dtype = member_config(section), metarm_dtype(section, arguments)
    adapters = adapter_config(section.lora, card.task)
    one = count_parameters(config, adapters, card.auto_class)
    own = copy.copy(arguments)
    own.per_device_train_batch_size = section.batch_size
    own.activation_checkpointing = own.gradient_checkpointing = recomputes(section, arguments)
    own.bf16, own.fp16 = dtype == torch.bfloat16, False
    rows = min(longest, card.max_tokens)
    activations = estimate_memory(one, config, own, dtype, rows)["activations"] * _GIB
    activations += _logits_bytes(card, config, dtype, section.batch_size * min(longest_critique, rows))
    learns = section.mode == "online"
    parts = _parts(one, dtype, activations if learns else 0.0, learns=learns)
    if not learns or arguments.world_size == 1:
        parts["bucket"] = 0.0
    gib = {name: round(size * card.members / _GIB, 3) for name, size in parts.items()}
    return {
        "mode": section.mode,
        "dtype": str(dtype).removeprefix("torch."),
        "lora": section.lora is not None,
        "parameters": {
            "total": one.total * card.members,
            "trained": one.trained * card.members if learns else 0,
        },
        "memory_gib": {**gib, "total": round(sum(gib.values()), 3)},
    }


def _parts(one: Parameters, dtype: torch.dtype, activations: float, *, learns: bool) -> dict[str, float]:
    trained = one.trained if learns else 0
    whole = one.trained == one.total
    # Adapters are float32 themselves; whole weights of half precision have a float32 copy beside them.
    weights = (
        one.total * dtype.itemsize if whole else (one.total - one.trained) * dtype.itemsize + 4 * one.trained
    )
    masters = 4 * trained if whole and dtype.itemsize < 4 else 0
    return {
        "weights": weights,
        "gradients": 4 * trained,
        "optimizer": 8 * trained + masters,
        "activations": activations,
        "bucket": 4 * min(trained, BUCKET),
    }


def _logits_bytes(card: MetaCard, config: Any, dtype: torch.dtype, tokens: int) -> float:
    """Return what the readout `likelihood` keeps for the critique's tokens: logits and gradients, each in two formats.

    The other readout has one number per token.
    """
    if card.readout != "likelihood":
        return 0.0
    return float(tokens * config.get_text_config().vocab_size * 2 * (dtype.itemsize + 4))


def beside(policy: dict[str, float], metarm: dict[str, float]) -> dict[str, float]:
    """Return the policy's memory in GiB with the MetaRM's in it.

    The MetaRM learns between rollouts and the policy's passes: what either holds only while it learns is not held at
    the same time, and the total counts the larger.
    """
    passing = sum(metarm[name] for name in ("gradients", "activations", "bucket"))
    staying = ("weights", "optimizer", "reference", "libraries")
    other = policy["total"] - sum(policy.get(name, 0.0) for name in staying)
    parts = {name: size for name, size in policy.items() if name != "total"}
    total = policy["total"] + metarm["total"] - passing + max(passing - other, 0.0)
    return {**parts, "metarm": metarm["total"], "total": round(total, 3)}
