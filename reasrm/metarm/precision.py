"""What of a MetaRM is float32 whatever its body is in: the head, and the sums that merge adapters.

A regression head begins at random and learns with small steps, and its output is compared with targets 0.5 apart: in
bfloat16 a score near 1 moves in steps of 1/128. A merge in bfloat16 rounds twice, the change and the sum.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

__all__ = ["ExactLinear", "exact_head", "merged_state", "read_head"]


class ExactLinear(nn.Linear):
    """A linear layer that computes in float32: under autocast, too, and behind a body of half precision.

    DeepSpeed rounds all weights to bfloat16, and keeps the float32 that it trains to itself; then it computes in
    float32 with what is rounded.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the output in float32."""
        with torch.autocast(input.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return nn.functional.linear(input.float(), self.weight.float(), bias)


def exact_head(classifier: Any) -> None:
    """Let everything of a classifier of transformers but its body be float32, in place."""
    for child in _heads(classifier).values():
        child.float()
        for module in child.modules():
            if type(module) is nn.Linear:
                module.__class__ = ExactLinear


def read_head(classifier: Any, folder: Path) -> None:
    """Read the weights of a head again, as exactly as they were saved: transformers has rounded all to one format."""
    wanted = {
        f"{child}.{name}": weight
        for child, module in _heads(classifier).items()
        for name, weight in module.named_parameters()
    }
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors, torch.no_grad():
            for name in wanted.keys() & set(tensors.keys()):
                wanted[name].copy_(tensors.get_tensor(name))


def _heads(classifier: Any) -> dict[str, nn.Module]:
    body = classifier.base_model
    return {name: child for name, child in classifier.named_children() if child is not body}


def merged_state(adapted: Any) -> dict[str, torch.Tensor]:
    """Return the weights of the plain model that a model with adapters computes, each in its own number format.

    Adapters are added in float32, layer by layer on a copy, and rounded once; the model stays as it is.

    Args:
        adapted: peft's wrapper with one adapter.
    """
    from peft.tuners.lora import LoraLayer

    plain = adapted.get_base_model()
    state: dict[str, torch.Tensor] = {}
    for name, weight in plain.state_dict().items():
        if ".lora_" not in name and ".original_module." not in name:
            state[name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")] = weight
    for name, layer in plain.named_modules():
        if isinstance(layer, LoraLayer):
            exact: Any = copy.deepcopy(layer)
            exact.float().merge()
            for leaf, weight in exact.get_base_layer().state_dict().items():
                whole = f"{name}.{leaf}"
                state[whole] = weight.to(state[whole].dtype).cpu()
    return state
