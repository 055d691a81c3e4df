"""What a checkpoint keeps comes back bit for bit: optimizer states, random generators, the loss scale; and metrics."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from reasrm.errors import InternalError
from reasrm.training.safety.checkpoints import MetricsWriter
from reasrm.training.safety.states import load_state, random_states, restore_random_states, save_state
from tests.training.toy import build_toy, logged


def test_states_come_back_bit_for_bit(tmp_path):
    tensor = torch.tensor([1.0, float("nan"), -0.0, 1e-40])
    state = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": tensor}, 1: {}},
        "param_groups": [{"betas": (0.9, 0.999), "lr": 0.1 + 0.2, "foreach": None, "fused": True}],
        "big": 2**70,
        "limits": [float("inf"), -float("inf")],
        "$odd": {"$tuple": "a name, not a tag"},
        "view": tensor[1:3],
        "lr": np.float64(0.1),
    }
    save_state(tmp_path, "state", state, shard_bytes=8)
    assert len(list(tmp_path.glob("state-*.safetensors"))) > 1
    found = load_state(tmp_path, "state")
    assert str(found) == str({**state, "lr": 0.1})
    assert found["state"][0]["exp_avg"].numpy().tobytes() == tensor.numpy().tobytes()
    with pytest.raises(InternalError, match=r"object at \.a\.1"):
        save_state(tmp_path, "bad", {"a": [1, object()]})


def test_random_generators_go_on_where_they_were(tmp_path):
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(())), float(np.random.randn())

    cpu = torch.device("cpu")
    np.random.randn()
    save_state(tmp_path, "rng", random_states(cpu))
    expected = [draw() for _ in range(3)]
    restore_random_states(load_state(tmp_path, "rng"), cpu)
    assert [draw() for _ in range(3)] == expected


def test_the_generator_of_a_device_is_kept_too(tmp_path, monkeypatch):
    class Module:
        state = torch.tensor([1, 255, 0], dtype=torch.uint8)

        def get_rng_state(self):
            return self.state

        def set_rng_state(self, state):
            self.state = state

    module = Module()
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    gpu = torch.device("cuda")
    save_state(tmp_path, "rng", random_states(gpu))
    module.state = torch.zeros(3, dtype=torch.uint8)
    restore_random_states(load_state(tmp_path, "rng"), gpu)
    assert module.state.tolist() == [1, 255, 0]


def test_the_loss_scale_is_kept(tmp_path):
    trainer = build_toy(tmp_path / "run")
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    expected = trainer.accelerator.scaler.state_dict()
    trainer._save_scaler(str(tmp_path))
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    assert trainer.accelerator.scaler.state_dict() != expected
    trainer._load_scaler(str(tmp_path))
    assert trainer.accelerator.scaler.state_dict() == expected
    trainer.run.close()


def test_numbers_that_are_not_finite_are_named(tmp_path):
    trainer = build_toy(tmp_path / "run")
    writer = MetricsWriter(trainer.run)
    trainer.state.is_world_process_zero = True
    logs = {"loss": float("nan"), "grad_norm": np.float32("inf"), "lr": torch.tensor(0.5), "table": [1]}
    writer.on_log(trainer.args, trainer.state, trainer.control, logs)
    trainer.run.close()
    assert logged(tmp_path / "run") == [
        {"step": 0, "loss": None, "grad_norm": None, "lr": 0.5, "not_finite": ["loss", "grad_norm"]}
    ]
