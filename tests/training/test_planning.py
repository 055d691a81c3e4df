"""The dry run's arithmetic, by hand-computed numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reasrm.training.sft.data import EncodedRows, Example
from reasrm.training.sft.planning import batches, describe_lengths
from reasrm.training.stage.config import LoraSection
from reasrm.training.stage.models import adapter_config
from reasrm.training.stage.planning import (
    Parameters,
    count_parameters,
    estimate_memory,
)


def example(prompt: int, completion: int) -> Example:
    return Example("q", np.zeros(prompt + completion, dtype=np.int32), prompt)


def arguments(**changes: Any) -> SimpleNamespace:
    """The arguments that planning looks at."""
    values: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "world_size": 1,
        "num_train_epochs": 1.0,
        "max_steps": -1,
        "dataloader_drop_last": False,
        "packing": False,
        "packing_strategy": "bfd",
        "max_length": None,
        "seed": 0,
        "shuffle_dataset": False,
        "gradient_checkpointing": False,
        "use_cpu": False,
        "bf16": False,
        "fp16": False,
        "optim": "adamw_torch_fused",
        "fsdp": None,
        "deepspeed_plugin": None,
    }
    return SimpleNamespace(**{**values, **changes})


def test_lengths_are_percentiles_by_nearest_rank() -> None:
    rows = EncodedRows([example(n, 2 * n) for n in range(1, 101)])
    assert describe_lengths(rows) == {
        "prompt": {"p50": 50, "p90": 90, "p99": 99, "max": 100},
        "completion": {"p50": 100, "p90": 180, "p99": 198, "max": 200},
        "total": {"p50": 150, "p90": 270, "p99": 297, "max": 300},
    }


@pytest.mark.parametrize(
    ("rows", "changes", "per_step", "per_epoch", "total"),
    [
        (20, {}, 4, 5, 5),
        (21, {}, 4, 6, 6),
        (21, {"dataloader_drop_last": True}, 4, 5, 5),
        (20, {"num_train_epochs": 2.5}, 4, 5, 13),
        (20, {"gradient_accumulation_steps": 2}, 8, 3, 3),
        (20, {"world_size": 2}, 8, 3, 3),
        (20, {"world_size": 2, "gradient_accumulation_steps": 2}, 16, 2, 2),
        (3, {"world_size": 8}, 32, 1, 1),
        (20, {"max_steps": 7}, 4, 5, 7),
    ],
    ids=["even", "rest", "dropped-rest", "epochs", "accumulated", "processes", "both", "few", "max-steps"],
)
def test_batches_add_up(
    rows: int, changes: dict[str, Any], per_step: int, per_epoch: int, total: int
) -> None:
    found = batches([example(3, 2)] * rows, arguments(**changes))
    assert [found[k] for k in ("per_step", "steps_per_epoch", "total_steps")] == [per_step, per_epoch, total]
    assert found["tokens_per_step"] == round(5 * rows / per_epoch)
    assert found["trained_tokens_per_step"] == round(2 * rows / per_epoch)


def test_packs_are_counted_by_the_packing_itself() -> None:
    found = batches([example(3, 2)] * 20, arguments(packing=True, max_length=16))
    assert (found["sequences"], found["packed"], found["steps_per_epoch"]) == (7, True, 2)


CONFIG = {
    "vocab_size": 50,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "tie_word_embeddings": True,
}


def test_parameters_are_counted_without_weights() -> None:
    config = Qwen3Config(**CONFIG)
    real = sum(weight.numel() for weight in Qwen3ForCausalLM(config).parameters())
    assert count_parameters(config, None) == Parameters(real, real)


def test_adapters_are_the_only_trained_parameters() -> None:
    config = Qwen3Config(**CONFIG)
    base = count_parameters(config, None).total
    # Per layer q 8→8, k and v 8→4, o 8→8, gate and up 8→12, down 12→8: rank times the sum of both sides.
    adapters = 2 * 3 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 2 * (8 + 12) + (12 + 8))
    found = count_parameters(config, adapter_config(LoraSection(r=3)))
    assert found == Parameters(base + adapters, adapters)


GIB = 2**30


@pytest.mark.parametrize(
    ("dtype", "changes", "expected"),
    [
        (torch.float32, {}, (4.0, 4.0, 8.0)),
        (torch.bfloat16, {"optim": "adamw_8bit"}, (2.0, 2.0, 2.0)),
        (torch.float32, {"optim": "adafactor"}, (4.0, 4.0, 0.0)),
        (torch.float32, {"fsdp": True, "world_size": 4}, (1.0, 1.0, 2.0)),
        (
            torch.bfloat16,
            {"deepspeed_plugin": SimpleNamespace(zero_stage=1), "world_size": 4},
            (2.0, 2.0, 3.0),
        ),
        (
            torch.bfloat16,
            {"deepspeed_plugin": SimpleNamespace(zero_stage=2), "world_size": 4},
            (2.0, 0.5, 3.0),
        ),
        (
            torch.bfloat16,
            {"deepspeed_plugin": SimpleNamespace(zero_stage=3), "world_size": 4},
            (0.5, 0.5, 3.0),
        ),
    ],
    ids=["plain", "8bit", "adafactor", "fsdp", "zero1", "zero2", "zero3"],
)
def test_memory_of_weights_gradients_and_optimizer(
    dtype: torch.dtype, changes: dict[str, Any], expected: tuple[float, ...]
) -> None:
    found = estimate_memory(Parameters(GIB, GIB), Qwen3Config(**CONFIG), arguments(**changes), dtype, 1)
    assert (found["weights"], found["gradients"], found["optimizer"]) == expected


def test_adapters_need_gradients_only_for_themselves() -> None:
    memory = estimate_memory(Parameters(GIB, GIB // 4), Qwen3Config(**CONFIG), arguments(), torch.bfloat16, 1)
    assert (memory["weights"], memory["gradients"], memory["optimizer"]) == (2.0, 1.0, 2.0)


ROWS = 4 * 2**20
"""Tokens of a batch in the tests of activations."""
WIDE = CONFIG | {"num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("changes", "trained", "expected"),
    [
        # Two norms of 8 units: input, normalised input, output. Attention five times 8 units, the MLP four times 32.
        ({}, GIB, 2 * (2 * 8 * (4 + 4 + 4) + 4 * (5 * 8 + 4 * 32))),
        ({"bf16": True}, GIB, 2 * (2 * 8 * (4 + 4 + 2) + 2 * (5 * 8 + 4 * 32)) + 2 * GIB / ROWS),
        ({}, GIB // 4, 2 * (2 * 8 * (4 + 4) + 4 * (5 * 8 + 4 * 32))),
        ({"gradient_checkpointing": True}, GIB, 2 * 8 * 4 + 2 * 8 * 12 + 4 * (5 * 8 + 4 * 32)),
    ],
    ids=["float32", "bfloat16", "adapters", "checkpointing"],
)
def test_memory_of_activations(changes: dict[str, Any], trained: int, expected: float) -> None:
    found = estimate_memory(
        Parameters(GIB, trained), Qwen3Config(**WIDE), arguments(**changes), torch.float32, 2**20
    )
    assert found["activations"] == pytest.approx(expected * ROWS / GIB, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 4,096 tokens at once, wide as a tile on a GPU, as the vocabulary on a CPU; the gradient of 50 × 8 weights.
        ({}, 4096 * 32768 * 4),
        ({"bf16": True}, 4096 * 32768 * 2),
        ({"use_cpu": True}, 4096 * 50 * 33),
    ],
    ids=["gpu", "bfloat16", "cpu"],
)
def test_memory_of_logits(changes: dict[str, Any], expected: int) -> None:
    sized = (Parameters(GIB, GIB), Qwen3Config(**CONFIG), arguments(**changes), torch.float32, 2**20)
    assert estimate_memory(*sized)["logits"] == pytest.approx((expected + 4 * 50 * 8) / GIB, abs=1e-3)
    assert estimate_memory(*sized, writes=False)["logits"] == 0


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, lambda memory: max(memory["activations"] + memory["logits"], 0.25 + memory["activations"] / 2)),
        (
            {"gradient_accumulation_steps": 2},
            lambda memory: 0.25 + memory["activations"] + memory["logits"],
        ),
    ],
    ids=["one-pass", "accumulated"],
)
def test_gradients_come_while_activations_go(changes: dict[str, Any], held: Any) -> None:
    """The logits go before the first gradient comes; under accumulation gradients of earlier passes are there."""
    memory = estimate_memory(
        Parameters(GIB // 16, GIB // 16), Qwen3Config(**CONFIG), arguments(**changes), torch.float32, 2**18
    )
    whole = memory["weights"] + memory["optimizer"] + memory["libraries"] + held(memory)
    assert memory["total"] == pytest.approx(whole, abs=3e-3)
