"""Two processes train what one process trains, through `train/sft.py` as a user starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.commands import ROOT, environment, rows_of
from tests.training.stages import sft_row, write_stage

STEPS = 5
SCRIPT = ROOT / "train" / "sft.py"
# Compiling DeepSpeed's own operator for processes of one machine takes a minute; without it gloo is used.
WITHOUT_OPERATOR = """\
import runpy, sys
import deepspeed
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
sys.path[0] = {folder!r}
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage of five steps of four rows in full precision, whose last step begins a second epoch."""
    trainer = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    folder = tmp_path_factory.mktemp("stage")
    return write_stage(
        folder, rows=[sft_row(n) for n in range(16)], model={"dtype": "float32"}, trainer=trainer
    )


@pytest.fixture(scope="module")
def alone(stage: Path) -> dict[str, Any]:
    """The run of one process."""
    return train(stage, "alone", [sys.executable, str(SCRIPT)])


def train(stage: Path, name: str, command: list[str], *overrides: str, **extra: str) -> dict[str, Any]:
    """Train to the end in a run folder of that name, and return the summary."""
    folder = stage.parent / name
    sets = [word for override in overrides for word in ("--set", override)]
    result = subprocess.run(
        [*command, "--config", str(stage), "--run-dir", str(folder), *sets],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
        env=environment(PYTHONPATH=python_path(), **extra),
    )
    assert result.returncode == 0, result.stderr[-4000:]
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("{"))  # one speaks for all
    trained: dict[str, Any] = json.loads(line)
    assert trained["steps"] == STEPS
    return trained


def python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def launcher(config: str) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = ROOT / "configs" / "accelerate" / f"{config}.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    return [*launch, "--main_process_port", str(port)]


def logged(run: dict[str, Any], name: str) -> list[float]:
    return [row[name] for row in rows_of(Path(run["run"]) / "metrics.jsonl") if name in row]


def weights(run: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(load_file(Path(run["checkpoint"]) / "model.safetensors"))


def assert_alike(run: dict[str, Any], alone: dict[str, Any]) -> None:
    """Losses and final weights within 1e-4, tokens exactly; and there was something to learn."""
    losses = logged(alone, "loss")
    assert len(losses) == STEPS
    assert losses[0] - losses[-1] > 0.1
    assert logged(run, "loss") == pytest.approx(losses, abs=1e-4)
    assert run["trained_tokens"] == alone["trained_tokens"]
    assert run["processed_tokens"] == alone["processed_tokens"]
    assert logged(run, "grad_norm") == pytest.approx(logged(alone, "grad_norm"), abs=1e-3)
    theirs, ours = weights(alone), weights(run)
    assert theirs.keys() == ours.keys()
    start = load_file(Path(alone["run"]).parent / "model" / "model.safetensors")
    for name, weight in theirs.items():
        assert (weight - ours[name]).abs().max() < 1e-4, name
    moved = max(float((weight - start[name]).abs().max()) for name, weight in theirs.items())
    assert moved > 1e-3


def test_two_processes_with_ddp_are_one(stage: Path, alone: dict[str, Any]) -> None:
    command = [*launcher("cpu-2"), str(SCRIPT)]
    assert_alike(train(stage, "ddp", command, "trainer.per_device_train_batch_size=2"), alone)


def test_two_processes_with_zero_2_are_one(stage: Path, alone: dict[str, Any]) -> None:
    pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    wrapper = stage.parent / "without_operator.py"
    wrapper.write_text(WITHOUT_OPERATOR.format(folder=str(SCRIPT.parent), script=str(SCRIPT)))
    command = [*launcher("cpu-2-zero2"), str(wrapper)]
    run = train(stage, "zero", command, "trainer.per_device_train_batch_size=2", DS_ACCELERATOR="cpu")
    assert_alike(run, alone)
