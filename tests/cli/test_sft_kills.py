"""`reasrm sft` killed or stopped at random moments: the same command goes on and ends bit for bit the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import here, run, send, start, stop_after, summary
from tests.training.stages import sft_row, write_stage

pytestmark = pytest.mark.slow

STEPS = 30


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(
        tmp_path_factory.mktemp("stage"),
        rows=[sft_row(n) for n in range(24)],
        trainer={"max_steps": STEPS, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1},
    )


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> dict[str, bytes]:
    folder = config.parent / "undisturbed"
    result = here("sft", "--config", config, "--run-dir", folder)
    assert result.returncode == 0, result.stderr
    return what_counts(folder)


def what_counts(folder: Path) -> dict[str, bytes]:
    """Weights, optimizer and logged numbers of a finished run; seconds and speeds differ from run to run."""
    last = folder / "checkpoints" / f"checkpoint-{STEPS}"
    kept = {path.name: path.read_bytes() for path in last.glob("*.safetensors")}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    steps = [{key: line.get(key) for key in ("step", "loss", "grad_norm", "learning_rate")} for line in lines]
    return {**kept, "metrics": json.dumps(steps).encode()}


def kill_until_done(config: Path, folder: Path, kills: int, draw: random.Random) -> int:
    """Start the command, kill it somewhere, and again; then let it end. Return how often it was killed."""
    command = ["sft", "--config", config, "--run-dir", folder, "--resume"]
    done = 0
    for _ in range(kills):
        process = start(*command)
        deadline = time.monotonic() + 60
        while (
            process.poll() is None and not list(folder.glob("checkpoints/*")) and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        try:
            process.communicate(timeout=draw.uniform(0.0, 0.8))
        except subprocess.TimeoutExpired:
            done += 1
            send(process, draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert summary(result)["steps"] == STEPS
    return done


def test_two_kills_change_nothing(config: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert kill_until_done(config, tmp_path / "run", 2, random.Random(0)) > 0
    assert what_counts(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_training_with_a_checkpoint(
    config: Path, undisturbed: dict[str, bytes], tmp_path: Path, signum: int
) -> None:
    """And with the JSON line; the checkpoint is that of the step, not of the last multiple of save_steps."""
    folder = tmp_path / "run"
    command = ["sft", "--config", config, "--run-dir", folder, "--set", "trainer.save_steps=500"]
    said = stop_after(folder / "metrics.jsonl", signum, *command)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    assert (folder / "checkpoints" / f"checkpoint-{said['steps']}" / "model.safetensors").is_file()
    assert 0 < said["steps"] == max(steps) < STEPS
    result = run("sft", "--config", config, "--run-dir", folder, "--resume")
    assert result.returncode == 0, result.stderr
    assert what_counts(folder) == undisturbed


@pytest.mark.soak
def test_forty_kills_change_nothing(config: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    total = sum(kill_until_done(config, tmp_path / f"run-{n}", 4, random.Random(n)) for n in range(10))
    assert total >= 20
    for n in range(10):
        assert what_counts(tmp_path / f"run-{n}") == undisturbed
