"""What cannot be exported is refused, by name and with a remedy; protocols of every kind can be."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.export import export_judge
from reasrm.judging.judge import open_judge
from reasrm.protocol.spec import load_spec
from tests.export.runs import SPEC, make_run, nothing_beside
from tests.refusals import refused
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow


def test_a_damaged_checkpoint_is_passed_over_and_never_exported_by_name(tmp_path):
    run = make_run(tmp_path, steps=(3, 7))
    newest = run / "checkpoints" / "checkpoint-7"
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    assert export_judge(tmp_path / "judge", run=run)["checkpoint_step"] == 3
    with pytest.raises(EnvironmentProblem, match="not what was written"):
        export_judge(tmp_path / "other", run=run, checkpoint=7)
    (run / "checkpoints" / "checkpoint-3" / "checkpoint.json").unlink()
    (newest / "checkpoint.json").unlink()
    with pytest.raises(ConfigError, match="no checkpoint is complete"):
        export_judge(tmp_path / "other", run=run)


def test_another_base_than_the_adapters_is_refused(tmp_path):
    run = make_run(tmp_path, lora=True)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(ConfigError, match="is not there"):
        export_judge(tmp_path / "judge", run=run)
    build_tiny_model(tmp_path / "base", seed=9)
    with pytest.raises(ConfigError, match="not the model that the run was trained on"):
        export_judge(tmp_path / "judge", run=run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "kind 'IA3'"),
        ({"megatron_config": {"x": 1}}, "'megatron_config' is set"),
        ({"init_lora_weights": "pissa"}, "changes the base"),
        ({"use_qalora": True}, "'use_qalora' is set"),
        ({"r": 5}, "does not fit the base model"),
        ({"target_modules": ["q_proj"]}, "unknown or missing|does not fit"),
        ({"target_modules": ["q_proj", "no_such"]}, "unknown or missing|does not fit"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_adapters_that_cannot_be_merged_are_refused(lora_run, tmp_path, changes, said):
    adapter = shutil.copytree(lora_run / "checkpoints" / "checkpoint-7", tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ConfigError, match=said):
        export_judge(tmp_path / "judge", model=lora_run.parent / "base", adapter=adapter, spec=SPEC)
    assert nothing_beside(tmp_path / "judge")


def test_an_adapter_that_is_a_pickle_is_refused(lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "checkpoints" / "checkpoint-7", tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with refused(ConfigError, "adapter_model.safetensors"):
        export_judge(tmp_path / "judge", model=lora_run.parent / "base", adapter=adapter, spec=SPEC)


def test_weights_that_would_be_made_up_are_refused(full_run, tmp_path):
    base = shutil.copytree(full_run.parent / "base", tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with refused(ConfigError, "model.layers.1.mlp"):
        export_judge(tmp_path / "judge", model=base, spec=SPEC)


def test_weights_too_large_for_the_number_format_are_refused(lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "checkpoints" / "checkpoint-7", tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    weights = {name: weight * 1e25 for name, weight in weights.items()}
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match="not finite in float32"):
        export_judge(tmp_path / "judge", model=lora_run.parent / "base", adapter=adapter, spec=SPEC)


def test_a_context_too_short_for_the_spec_is_said(tmp_path):
    base = build_tiny_model(tmp_path / "base", context=24)
    with refused(ConfigError, "24"):
        export_judge(tmp_path / "judge", model=base, spec=SPEC)


@pytest.mark.parametrize("name", ["pointwise-10", "principle-list", "rubric"])
def test_every_protocol_can_be_exported(full_run, tmp_path, name):
    base = build_tiny_model(tmp_path / "base", context=8000)
    spec = load_spec(name)
    spec = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"max_tokens": 8})})
    said = export_judge(tmp_path / "judge", model=base, spec=spec)
    assert (said["spec"], said["greedy_tokens"]) == (name, 8)
    assert open_judge(str(tmp_path / "judge")).spec.hash == said["spec_hash"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either a run or a model"),
        ({"run": "r", "model": "m"}, "either a run or a model"),
        ({"run": "r", "spec": SPEC}, "brings its own"),
        ({"run": "r", "adapter": "a"}, "brings its own"),
        ({"run": "no/such"}, "holds no run"),
        ({"model": "m", "checkpoint": "3"}, "goes with --run"),
        ({"model": "m"}, "does not say how it is asked"),
        ({"model": "no/such", "spec": SPEC}, "no folder"),
        ({"model": "no/such", "spec": "mt-bnch"}, "mt-bench"),
    ],
    ids=["nothing", "both", "spec", "adapter", "no run", "checkpoint", "no spec", "no model", "typo"],
)
def test_arguments_that_do_not_go_together(tmp_path, arguments, said):
    with pytest.raises(ConfigError, match=said):
        export_judge(tmp_path / "judge", **arguments)
    assert not list(tmp_path.iterdir())


def test_wrong_values_are_said(full_run, tmp_path):
    for arguments, said in (
        ({"dtype": "int8"}, "no such dtype"),
        ({"device": "toaster"}, "no such device"),
        ({"checkpoint": "4"}, "has no checkpoint '4'.*checkpoint-3, checkpoint-7"),
        ({"checkpoint": str(full_run)}, "has no checkpoint"),
    ):
        with pytest.raises(ConfigError, match=said):
            export_judge(tmp_path / "judge", run=full_run, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_a_gpu_that_is_not_there_is_said(full_run, tmp_path):
    with pytest.raises(ConfigError, match="finds no GPU"):
        export_judge(tmp_path / "judge", run=full_run, device="cuda")
