"""What a dry run says of a MetaRM's memory, by hand-computed numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen2Config

from reasrm.metarm.card import CARD, MetaCard
from reasrm.protocol.spec import load_spec
from reasrm.training.rlvr.config import MetaRewardSection
from reasrm.training.rlvr.meta_memory import beside, plan_metarm
from tests.refusals import refused
from tests.training.test_planning import arguments

BODY = 7_070_619_136
"""Weights of Qwen2.5-7B without its output head; the regression head has 3,584 more."""
ADAPTERS = 32 * 28 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944))
"""Rank 32 in 28 layers: q and o, k and v, and the three of the MLP, each its input's and its output's width."""
GIB = 2**30


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MetaRM's folder of the 7B shape, without its weights."""
    folder = tmp_path_factory.mktemp("seven")
    config = Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        max_position_embeddings=131072,
        num_labels=1,
    )
    config.save_pretrained(folder / "member-0")
    save_file({"none": torch.zeros(1)}, folder / "member-0" / "model.safetensors")
    card = MetaCard(spec=load_spec("rm-nlhf"), form="plain")
    (folder / CARD).write_text(json.dumps(card.model_dump(mode="json")))
    return folder


def on_gpus(**changes: Any) -> SimpleNamespace:
    return arguments(
        **{"world_size": 8, "bf16": True, "use_cpu": False, "activation_checkpointing": True, **changes}
    )


def plan(folder: Path, args: Any = None, **section: Any) -> dict[str, Any]:
    said = MetaRewardSection(path=str(folder), batch_size=2, **section)
    return plan_metarm(said, args or on_gpus(), longest=9600, longest_critique=8192)


def test_all_weights_in_float32_need_what_no_gpu_has(seven: Path) -> None:
    """4 + 4 + 8 bytes for each; one flat copy of all gradients would be 26.3 GiB more, a bucket is 1/16."""
    told = plan(seven, dtype="float32")
    weights = BODY + 3584
    assert told["parameters"] == {"total": weights, "trained": weights}
    memory = told["memory_gib"]
    assert memory["weights"] == memory["gradients"] == round(4 * weights / GIB, 3) == 26.34
    assert (memory["optimizer"], memory["bucket"]) == (52.68, 0.062)
    assert memory["total"] == pytest.approx(sum(v for k, v in memory.items() if k != "total"), abs=0.01)


@pytest.mark.slow
def test_adapters_over_a_frozen_bfloat16_body_fit_beside_a_policy(seven: Path) -> None:
    told = plan(seven, lora={"r": 32, "alpha": 64})
    assert (told["dtype"], told["lora"]) == ("bfloat16", True)  # `auto`, on a GPU
    trained = told["parameters"]["trained"]
    assert trained == ADAPTERS + 3584
    memory = told["memory_gib"]
    assert memory["weights"] == pytest.approx((2 * BODY + 4 * trained) / GIB, abs=0.02)
    assert memory["gradients"] == pytest.approx(4 * trained / GIB, abs=0.001)
    assert memory["optimizer"] == pytest.approx(8 * trained / GIB, abs=0.001)
    assert 14 < memory["total"] - memory["activations"] < 15


def test_half_precision_that_is_trained_has_a_float32_copy(seven: Path) -> None:
    memory = plan(seven, dtype="bfloat16")["memory_gib"]
    assert (memory["weights"], memory["gradients"]) == (13.17, 26.34)
    assert memory["optimizer"] == round(12 * (BODY + 3584) / GIB, 3)


def test_a_frozen_one_is_its_weights(seven: Path) -> None:
    told = plan(seven, mode="frozen")
    assert told["parameters"]["trained"] == 0
    assert told["memory_gib"] == {
        **dict.fromkeys(("gradients", "optimizer", "activations", "bucket"), 0.0),
        **dict.fromkeys(("weights", "total"), 13.17),
    }


def test_activations_follow_its_own_batch_and_checkpointing(seven: Path) -> None:
    again = plan(seven, dtype="bfloat16")["memory_gib"]["activations"]
    kept = plan(seven, dtype="bfloat16", gradient_checkpointing=False)["memory_gib"]["activations"]
    assert kept > 5 * again > 5
    alone = plan(seven, on_gpus(world_size=1), dtype="bfloat16")["memory_gib"]
    assert (alone["activations"], alone["bucket"]) == (again, 0.0)


def test_what_is_not_held_at_once_is_not_added() -> None:
    """The policy's passes take 3 + 4; the MetaRM's learning 6 + 5 + 1, which is 5 more, beside its 9 that stay."""
    policy = {"weights": 1.0, "gradients": 3.0, "optimizer": 2.0, "activations": 4.0, "total": 10.0}
    metarm = {
        "weights": 7.0,
        "gradients": 6.0,
        "optimizer": 2.0,
        "activations": 5.0,
        "bucket": 1.0,
        "total": 21.0,
    }
    assert beside(policy, metarm) == {**policy, "metarm": 21.0, "total": 10 + 9 + 5}
    larger = {**policy, "activations": 40.0, "total": 46.0}
    assert beside(larger, metarm)["total"] == 46 + 9


def test_settings_that_would_do_nothing_are_refused() -> None:
    for changes, words in (
        ({"mode": "frozen", "lora": {}}, "trains nothing"),
        ({"lora": {"dropout": 0.1}}, "without dropout"),
    ):
        with refused(ValueError, words):
            MetaRewardSection(path="metarm", **changes)
