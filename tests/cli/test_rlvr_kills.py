"""`reasrm rlvr` killed or stopped at random moments: the same command goes on and ends bit for bit the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from reasrm.cli.app import app
from tests.commands import run, send, start, stop_after, summary
from tests.training.letters import write_letters_stage

pytestmark = pytest.mark.slow

STEPS = 40
TIMES = {"step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letters_stage(
        tmp_path_factory.mktemp("stage"), trainer={"max_steps": STEPS, "save_steps": 2, "logging_steps": 1}
    )


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> dict[str, bytes]:
    folder = config.parent / "undisturbed"
    app(["rlvr", "--config", str(config), "--run-dir", str(folder), "--quiet"], standalone_mode=False)
    kept = what_counts(folder)
    steps = [line for line in map(json.loads, kept["metrics.jsonl"].splitlines()) if "loss" in line]
    assert len({line["grad_norm"] for line in steps}) > STEPS / 2, "there is something to learn"
    assert len(steps) == STEPS
    return kept


def what_counts(folder: Path) -> dict[str, bytes]:
    """Weights, optimizer, logged numbers, samples, canary and the choice of a finished run; not seconds and speeds."""
    last = folder / "checkpoints" / f"checkpoint-{STEPS}"
    kept = {path.name: path.read_bytes() for path in last.glob("*.safetensors")}
    kept |= {name: (folder / name).read_bytes() for name in ("samples.jsonl", "canary.jsonl", "best.json")}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    numbers = [
        {key: value for key, value in line.items() if key not in TIMES}
        for line in lines
        if "final" not in line
    ]
    metrics = "".join(json.dumps(line, sort_keys=True) + "\n" for line in numbers)
    best = folder / "checkpoints" / f"checkpoint-{json.loads(kept['best.json'])['step']}"
    chosen = (best / "model.safetensors").read_bytes()
    return {**kept, "metrics.jsonl": metrics.encode(), "the best": chosen}


def kill_until_done(config: Path, folder: Path, kills: int, draw: random.Random) -> int:
    """Start the command, kill it some time after it took a step, and again; let it end. Return how often it died."""
    command = ["rlvr", "--config", config, "--run-dir", folder, "--resume"]
    metrics = folder / "metrics.jsonl"
    died = 0
    for _ in range(kills):
        process = start(*command)
        before = metrics.read_bytes() if metrics.exists() else b""
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and len(metrics.read_bytes()) > len(before):
                break
            time.sleep(0.01)
        try:
            process.communicate(timeout=draw.uniform(0.0, 2.0))
        except subprocess.TimeoutExpired:
            died += 1
            send(process, draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
    result = run(*command, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert summary(result)["steps"] == STEPS
    return died


def test_two_kills_change_nothing(config: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert kill_until_done(config, tmp_path / "run", 2, random.Random(0)) > 0
    assert_same(what_counts(tmp_path / "run"), undisturbed)


def test_a_signal_ends_training_with_a_checkpoint(
    config: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = ["rlvr", "--config", config, "--run-dir", folder, "--set", "trainer.save_steps=500"]
    said = stop_after(folder / "metrics.jsonl", signal.SIGTERM, *command)
    assert 0 < said["steps"] < STEPS
    assert (folder / "checkpoints" / f"checkpoint-{said['steps']}" / "model.safetensors").is_file()
    result = run("rlvr", "--config", config, "--run-dir", folder, "--resume", timeout=300)
    assert result.returncode == 0, result.stderr
    assert_same(what_counts(folder), undisturbed)


@pytest.mark.soak
def test_twenty_kills_change_nothing(config: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    runs = [tmp_path / f"run-{n}" for n in range(7)]
    assert sum(kill_until_done(config, folder, 4, random.Random(n)) for n, folder in enumerate(runs)) >= 20
    for folder in runs:
        assert_same(what_counts(folder), undisturbed)


def assert_same(killed: dict[str, bytes], undisturbed: dict[str, bytes]) -> None:
    assert set(killed) == set(undisturbed)
    assert [name for name in killed if killed[name] != undisturbed[name]] == []
