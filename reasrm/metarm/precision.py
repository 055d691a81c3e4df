"""The head of a MetaRM, float32 whatever the body is in.

It begins at random and learns in small steps, and what it says is compared with targets 0.5 apart: in bfloat16 a score
near 1 moves in steps of 1/128.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

__all__ = ["ExactLinear", "exact_head", "read_head"]


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
