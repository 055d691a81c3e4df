"""Adapters merged on the way out of a model: rounded once, and the model stays as it was."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.generation.vllm_generation import VLLMGeneration

from reasrm.generation.adapters import merge_on_the_way, merged_weights
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture
def adapted(tmp_path: Path) -> Any:
    """A frozen bfloat16 model with adapters that do something, and its norm trained whole."""
    plain = AutoModelForCausalLM.from_pretrained(build_tiny_model(tmp_path / "model"), dtype=torch.bfloat16)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", modules_to_save=["norm"])
    model = get_peft_model(plain, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return model


def generation_of(model: Any, **shards: bool) -> Any:
    """TRL's way to vLLM, without an engine at its end."""
    made = VLLMGeneration.__new__(VLLMGeneration)
    made.model = model
    known = {"is_fsdp": False, "is_zero3": False, "gather_params": lambda _: nullcontext(), **shards}
    made._dist = SimpleNamespace(**known)
    return made


def copies(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def test_adapters_are_added_in_float32_and_rounded_once(adapted: Any) -> None:
    found = dict(merged_weights(adapted))
    checked = 0
    for name, layer in adapted.get_base_model().named_modules():
        if hasattr(layer, "lora_A"):
            change_OI = 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            exact_OI = (layer.base_layer.weight.double() + change_OI.double()).bfloat16()
            assert torch.equal(found[f"{name}.weight"], exact_OI), name
            checked += 1
    assert checked >= 7
    trained = adapted.get_base_model().model.norm.modules_to_save["default"].weight
    assert torch.equal(found["model.norm.weight"], trained)


def test_vllm_gets_the_names_that_trl_would_send_and_the_policy_stays(adapted: Any) -> None:
    """TRL merges into the weights and out again, which moves frozen ones in bfloat16."""
    before = copies(adapted)
    generation = generation_of(adapted)
    merge_on_the_way(generation)
    found = dict(generation._iter_named_params())
    assert all(torch.equal(weight, before[name]) for name, weight in copies(adapted).items())
    theirs = [name for name, _ in generation_of(adapted)._iter_named_params()]
    assert sorted(found) == sorted(theirs)
    assert any(not torch.equal(weight, before[name]) for name, weight in copies(adapted).items())


@pytest.mark.parametrize("kind", ["is_fsdp", "is_zero3"])
def test_sharded_weights_have_their_own_way(kind: str, adapted: Any) -> None:
    generation = generation_of(adapted, **{kind: True})
    merge_on_the_way(generation)
    assert "_iter_named_params" not in vars(generation)
    whole = generation_of(adapted.get_base_model())
    merge_on_the_way(whole)
    assert "_iter_named_params" not in vars(whole)
