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
    with refused(EnvironmentProblem, newest, "model.safetensors"):
        export_judge(tmp_path / "other", run=run, checkpoint=7)
    (run / "checkpoints" / "checkpoint-3" / "checkpoint.json").unlink()
    (newest / "checkpoint.json").unlink()
    with refused(ConfigError, run):
        export_judge(tmp_path / "other", run=run)


def test_another_base_than_the_adapters_is_refused(tmp_path):
    run = make_run(tmp_path, lora=True)
    shutil.rmtree(tmp_path / "base")
    with refused(ConfigError, tmp_path / "base"):
        export_judge(tmp_path / "judge", run=run)
    build_tiny_model(tmp_path / "base", seed=9)
    with refused(ConfigError, tmp_path / "base"):
        export_judge(tmp_path / "judge", run=run)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"megatron_config": {"x": 1}}, "'megatron_config'"),
        ({"init_lora_weights": "pissa"}, "adapter"),
        ({"use_qalora": True}, "'use_qalora'"),
        ({"r": 5}, "adapter"),
        ({"target_modules": ["q_proj"]}, "adapter"),
        ({"target_modules": ["q_proj", "no_such"]}, "adapter"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_adapters_that_cannot_be_merged_are_refused(lora_run, tmp_path, changes, named):
    adapter = shutil.copytree(lora_run / "checkpoints" / "checkpoint-7", tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with refused(ConfigError, named, remedy=False):
        export_judge(tmp_path / "judge", model=lora_run.parent / "base", adapter=adapter, spec=SPEC)
    assert nothing_beside(tmp_path / "judge")


def test_an_adapter_that_is_a_pickle_is_refused(lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "checkpoints" / "checkpoint-7", tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with refused(ConfigError, "adapter_model.safetensors", remedy=False):
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
    with refused(ConfigError, "float32"):
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
    ("arguments", "named"),
    [
        ({}, "--run"),
        ({"run": "r", "model": "m"}, "--run"),
        ({"run": "r", "spec": SPEC}, "--spec"),
        ({"run": "r", "adapter": "a"}, "--adapter"),
        ({"run": "no/such"}, "no/such"),
        ({"model": "m", "checkpoint": "3"}, "--checkpoint"),
        ({"model": "m"}, "--spec"),
        ({"model": "no/such", "spec": SPEC}, "no/such"),
        ({"model": "no/such", "spec": "mt-bnch"}, "mt-bench"),
    ],
    ids=["nothing", "both", "spec", "adapter", "no run", "checkpoint", "no spec", "no model", "typo"],
)
def test_arguments_that_do_not_go_together(tmp_path, arguments, named):
    with refused(ConfigError, named):
        export_judge(tmp_path / "judge", **arguments)
    assert not list(tmp_path.iterdir())


def test_wrong_values_are_said(full_run, tmp_path):
    for arguments, named in (
        ({"dtype": "int8"}, ("'int8'",)),
        ({"device": "toaster"}, ("'toaster'",)),
        ({"checkpoint": "4"}, ("'4'", "checkpoint-3, checkpoint-7")),
        ({"checkpoint": str(full_run)}, (full_run, "checkpoint-3, checkpoint-7")),
    ):
        with refused(ConfigError, *named):
            export_judge(tmp_path / "judge", run=full_run, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_a_gpu_that_is_not_there_is_said(full_run, tmp_path):
    with refused(ConfigError, "GPU"):
        export_judge(tmp_path / "judge", run=full_run, device="cuda")
