"""What `reasrm sft` says to a stage that cannot be run: an exit code, and one line that ends in a remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from reasrm.cli import console
from reasrm.cli.app import app
from reasrm.training.stage.arguments import optimizer_package
from tests.training.stages import write_stage

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def sft(config, tmp_path, monkeypatch, capfd):
    """Run `reasrm sft` in this process; return its exit code, its lines on stderr, and its summary."""

    def leave(code):
        raise SystemExit(code)

    def call(*overrides, path=config, run_dir=tmp_path / "run"):
        sets = [word for override in overrides for word in ("--set", override)]
        arguments = ["sft", "--config", str(path), "--run-dir", str(run_dir), *sets]
        with pytest.raises(SystemExit) as caught:
            app(arguments, standalone_mode=False)
        out, err = capfd.readouterr()
        return caught.value.code, err.splitlines(), json.loads(out.splitlines()[-1])

    monkeypatch.setattr(console, "exit_with", leave)
    return call


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("trainer.learning_rat=1", 2, "did you mean 'learning_rate'?"),
        ("modle.path=x", 2, "did you mean 'model'?"),
        ("trainer.max_steps=soon", 2, "expected int, got 'soon'"),
        ("seed=-1", 2, "seed"),
        ("model.path=no/such/model", 2, "no/such/model"),
        ("data.train=no.jsonl", 4, "pass the path of an existing file"),
        ("data.max_tokens=20", 4, "raise data.max_tokens"),
        ("trainer.optim=adamw_8bit", 5, "pip install bitsandbytes"),
        ("trainer.optim=stable_adamw", 5, "pip install torch-optimi"),
        ("trainer.use_liger_kernel=true", 5, "pip install liger-kernel"),
        pytest.param("trainer.use_cpu=false", 2, "torch finds no GPU; leave it out", marks=needs_no_gpu),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)
def test_a_wrong_config(sft, override: str, code: int, words: str) -> None:
    returned, (*_, line), said = sft(override)
    assert (returned, said["exit_code"]) == (code, code)
    assert line == f"error: {said['message']}"
    assert words in line


def test_a_config_that_is_not_there(sft, tmp_path: Path) -> None:
    returned, (line,), said = sft(path=tmp_path / "no.yaml")
    assert (returned, said["error"]) == (2, "ConfigError")
    assert "no.yaml" in line


def test_a_folder_that_is_read_only(sft, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    returned, (*_, line), _ = sft(run_dir=tmp_path / "locked")
    assert returned == 5
    assert line.endswith("the folder is read-only; name a folder with --run-dir that you may write to")


def test_a_full_disk(sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("reasrm.training.safety.checkpoints.save_state", full)
    returned, (*_, line), _ = sft()
    assert returned == 5
    assert "No space left on device; free space, and run again with --resume" in line


def test_it_is_known_what_every_optimizer_needs() -> None:
    from transformers.training_args import OptimizerNames

    alone = {str(name.value) for name in OptimizerNames if optimizer_package(name.value) is None}
    assert alone == {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}
    assert optimizer_package("adamw_torch_8bit") == "torchao"
    assert optimizer_package("galore_adamw_8bit") == "galore_torch"
