"""Two processes train what one process trains, started as a user starts them: `-m reasrm sft`, `train/rlvr.py`."""

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
import yaml
from safetensors.torch import load_file

from reasrm.metarm.model import MetaRM
from reasrm.sources.importing import pair_to_json
from reasrm.training.rlvr import stage as rlvr
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.world.pairs import World
from tests.commands import ROOT, environment, rows_of
from tests.training.meta_runs import write_meta_stage
from tests.training.stages import SANDBOX_MODEL, sft_row, write_rlvr_stage, write_stage

pytestmark = pytest.mark.slow

STEPS = 5
SFT, RLVR = ROOT / "train" / "sft.py", ROOT / "train" / "rlvr.py"
# Compiling DeepSpeed's own operator for processes of one machine takes a minute; without it gloo is used.
WITHOUT_OPERATOR = """\
import runpy, sys
import deepspeed
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
sys.path[0] = {folder!r}
runpy.run_path({script!r}, run_name="__main__")
"""
# Accelerate shards weights on GPUs only; a process that is said to have one, and is on the CPU, shards them there.
FSDP_ON_CPU = """\
import runpy, sys
import torch
from accelerate.state import DistributedType, PartialState

def on_cpu(state):
    state.device, state.distributed_type = torch.device("cpu"), DistributedType.MULTI_GPU

PartialState.set_device = on_cpu
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
    return train(stage, "alone", [sys.executable, str(SFT)])


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


def launcher(config: str | Path) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = config if isinstance(config, Path) else ROOT / "configs" / "accelerate" / f"{config}.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    return [*launch, "--main_process_port", str(port)]


def logged(run: dict[str, Any], name: str) -> list[float]:
    return [row[name] for row in rows_of(Path(run["run"]) / "metrics.jsonl") if name in row]


def weights(run: dict[str, Any]) -> dict[str, torch.Tensor]:
    (file,) = Path(run["checkpoint"]).glob("*model.safetensors")
    return dict(load_file(file))


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


def wrapped(wrapper: str, folder: Path, script: Path) -> str:
    """A program that does something first, and then is another."""
    program = folder / f"wrapped_{script.name}"
    program.write_text(wrapper.format(folder=str(script.parent), script=str(script)))
    return str(program)


def without_operator(folder: Path, script: Path) -> str:
    return wrapped(WITHOUT_OPERATOR, folder, script)


def test_two_processes_with_ddp_are_one(stage: Path, alone: dict[str, Any]) -> None:
    command = [*launcher("cpu-2"), "-m", "reasrm", "sft"]
    assert_alike(train(stage, "ddp", command, "trainer.per_device_train_batch_size=2"), alone)


def test_two_processes_with_zero_2_are_one(stage: Path, alone: dict[str, Any]) -> None:
    pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    command = [*launcher("cpu-2-zero2"), without_operator(stage.parent, SFT)]
    run = train(stage, "zero", command, "trainer.per_device_train_batch_size=2", DS_ACCELERATOR="cpu")
    assert_alike(run, alone)


@pytest.fixture(scope="module")
def rlvr_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five steps of the sandbox judge, three prompts of four rollouts each; the fourth step begins a second epoch.

    With two processes the second group of each batch is divided between them, and the held-out pairs are odd.
    """
    folder = tmp_path_factory.mktemp("rlvr")
    write_rlvr_stage(folder, pairs=[pair_to_json(pair) for pair in World().pairs("iid", 3)])
    (folder / "pairs.jsonl").rename(folder / "held-out.jsonl")
    return write_rlvr_stage(
        folder,
        pairs=[pair_to_json(pair) for pair in World().pairs("train", 10)],
        model={"path": str(SANDBOX_MODEL)},
        validation={"splits": {"held_out": str(folder / "held-out.jsonl")}, "every": 5},
        rollouts={"refill": 1},
        watch={"samples": 12, "samples_every": 1},
        trainer={
            "max_steps": STEPS,
            "per_device_train_batch_size": 12,
            "max_completion_length": 60,
            "learning_rate": 1e-4,
        },
    )


def assert_same_rollouts(stage: Path, run: dict[str, Any], *overrides: str) -> None:
    """The same texts, rewards and accuracies; losses within 1e-4; weights as near as the optimizer keeps them."""
    alone = rlvr.train(load_rlvr_stage(stage, overrides), str(stage), Path(run["run"] + "-alone"))
    for log in ("samples", "canary"):
        theirs, ours = (rows_of(Path(found["run"]) / f"{log}.jsonl") for found in (alone, run))
        assert len(theirs) == len(ours) > 0
        for one, other in zip(theirs, ours, strict=True):
            exact = {"advantage": None, "reward": None, "parts": None}
            assert {**one, **exact} == {**other, **exact}
            # A MetaRM's numbers are as near as its weights.
            near = 1e-4 if "metarm" in one.get("parts", {}) else 1e-9
            for name in ("advantage", "reward", "parts"):
                assert one.get(name) == pytest.approx(other.get(name), abs=near)
    for name in ("loss", "reward/mean", "rollouts/accuracy", "groups/dead", "eval/held_out/accuracy"):
        expected = logged(alone, name)
        assert len(expected) == (2 if name.startswith("eval") else STEPS)
        assert logged(run, name) == pytest.approx(expected, abs=1e-4), name
    assert logged(run, "grad_norm") == pytest.approx(logged(alone, "grad_norm"), abs=1e-3)
    assert len(set(logged(alone, "reward/mean"))) > 1
    for name in ("generated_tokens", "prompt_tokens", "accuracy", "validation"):
        assert run[name] == alone[name]
    theirs_w, ours_w = weights(alone), weights(run)
    for name, weight in theirs_w.items():
        assert (weight - ours_w[name]).abs().max() < 1e-4, name
    start = load_file(SANDBOX_MODEL / "model.safetensors")  # of an adapter, lora_B is 0
    moved = [
        (weight - start.get(name, 0)).abs().max() for name, weight in theirs_w.items() if "lora_A" not in name
    ]
    assert max(moved) > 1e-4


def test_two_processes_with_ddp_draw_and_learn_what_one_does(rlvr_stage: Path) -> None:
    """Without KL, so that rows without an advantage are left out."""
    command = [*launcher("cpu-2"), "-m", "reasrm", "rlvr"]
    run = train(rlvr_stage, "ddp", command, "trainer.per_device_train_batch_size=6", "trainer.beta=0")
    assert_same_rollouts(rlvr_stage, run, "trainer.beta=0")


def test_two_processes_with_zero_2_draw_and_learn_what_one_does(rlvr_stage: Path) -> None:
    """With KL, so that DeepSpeed holds the reference, too."""
    pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    command = [*launcher("cpu-2-zero2"), without_operator(rlvr_stage.parent, RLVR)]
    overrides = ("trainer.per_device_train_batch_size=6", "trainer.beta=0.05")
    run = train(rlvr_stage, "zero", command, *overrides, DS_ACCELERATOR="cpu")
    assert_same_rollouts(rlvr_stage, run, "trainer.beta=0.05")


def test_adapters_under_fsdp2_draw_and_learn_what_one_process_does(rlvr_stage: Path) -> None:
    """Rollouts go through the wrapper that gathers weights; the checkpoint holds whole ones."""
    config = yaml.safe_load((ROOT / "configs" / "accelerate" / "8gpu-fsdp2.yaml").read_text())
    two = rlvr_stage.parent / "fsdp2.yaml"
    two.write_text(yaml.safe_dump({**config, "num_processes": 2, "use_cpu": True}))
    command = [*launcher(two), wrapped(FSDP_ON_CPU, rlvr_stage.parent, RLVR)]
    overrides = ("lora.r=4", "rollouts.refill=0", "trainer.learning_rate=1e-2")
    run = train(rlvr_stage, "fsdp2", command, *overrides, "trainer.per_device_train_batch_size=6")
    assert json.loads((Path(run["checkpoint"]) / "checkpoint.json").read_text())["format"] == "fsdp"
    assert_same_rollouts(rlvr_stage, run, *overrides)


@pytest.fixture(scope="module")
def meta_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five steps of two prompts, with a MetaRM that learns along; of some, one process has nothing to teach it."""
    folder = tmp_path_factory.mktemp("meta")
    return write_meta_stage(
        folder,
        validation={"splits": {"held_out": str(folder / "pairs.jsonl")}, "every": 5, "limit": 3},
        watch={"samples": 8, "samples_every": 1},
        metarm={"bonus_scale": "calibrated"},
        trainer={"max_steps": STEPS, "save_steps": STEPS, "num_iterations": 1},
    )


@pytest.mark.soak
@pytest.mark.parametrize("launch", ["cpu-2", "cpu-2-zero2"])
def test_two_processes_teach_a_metarm_what_one_does(launch: str, meta_stage: Path) -> None:
    """As a user starts them; `test_meta_reward_runs` has the same in forks, in seconds."""
    if launch == "cpu-2-zero2":
        pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    script = without_operator(meta_stage.parent, RLVR) if launch == "cpu-2-zero2" else str(RLVR)
    overrides = ("trainer.per_device_train_batch_size=4", "trainer.beta=0.05")
    command = [*launcher(launch), script]
    run = train(meta_stage, f"meta-{launch}", command, *overrides, DS_ACCELERATOR="cpu")
    assert_same_rollouts(meta_stage, run, "trainer.beta=0.05")
    alone = {**run, "run": run["run"] + "-alone"}
    losses = logged(alone, "metarm/loss")
    assert len(losses) > 1
    assert logged(run, "metarm/loss") == pytest.approx(losses, abs=1e-4)
    theirs, ours = (dict(MetaRM.open(Path(r["run"]) / "metarm").named_parameters()) for r in (alone, run))
    for name, weight in theirs.items():
        assert (weight - ours[name]).abs().max() < 1e-4, name
