"""Training killed, a training row mended, and continued: refused by the file's name, never done; given back, exact."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import here, run, send, start, stop_after, summary
from tests.training.letters import write_letters_stage
from tests.training.metarm_stages import write_metarm_stage
from tests.training.stages import sft_row, write_stage

pytestmark = pytest.mark.slow

STEPS = 60  # enough that a signal comes before the end on a busy machine, too
TRAINER = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 4, "logging_steps": 1}


def sft(folder: Path) -> Path:
    return write_stage(folder, rows=[sft_row(n) for n in range(24)], trainer=TRAINER)


def rlvr(folder: Path) -> Path:
    return write_letters_stage(folder, trainer=TRAINER)


def metarm(folder: Path) -> Path:
    return write_metarm_stage(folder, count=4, trainer=TRAINER)


stages = pytest.mark.parametrize("stage", [sft, rlvr, metarm], ids=lambda stage: stage.__name__)
Stage = Callable[[Path], Path]


def weights(folder: Path) -> dict[str, bytes]:
    last = folder / "checkpoints" / f"checkpoint-{STEPS}"
    return {path.name: path.read_bytes() for path in last.glob("*.safetensors")}


def refuse_mended(command: list[Any], rows: Path) -> None:
    """Change a word of a row, be refused, and give the row back."""
    before = rows.read_bytes()
    lines = before.decode().splitlines(keepends=True)
    changed = json.loads(lines[-1])
    changed["meta"] = {**changed.get("meta", {}), "mended": True}
    rows.write_text("".join([*lines[:-1], json.dumps(changed) + "\n"]))
    result = here(*command)
    assert result.returncode == 4, result.stderr
    assert str(rows) in summary(result)["message"]
    rows.write_bytes(before)


def kill_mend_continue(stage: Stage, folder: Path, kills: int, draw: random.Random) -> int:
    """Kill somewhere, mend a row, and again; let it end. Return how often a mended row was refused."""
    config = stage(folder)
    verb = yaml.safe_load(config.read_text())["stage"]
    rows = Path(yaml.safe_load(config.read_text())["data"]["train"][0])
    assert here(verb, "--config", config, "--run-dir", folder / "undisturbed").returncode == 0
    path, refused = folder / "run", 0
    command: list[Any] = [verb, "--config", config, "--run-dir", path, "--resume"]
    for _ in range(kills):
        process = start(*command)
        metrics = path / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and metrics.stat().st_size > size:
                break
            time.sleep(0.01)
        try:
            process.communicate(timeout=draw.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            send(process, draw.choice((signal.SIGKILL, signal.SIGTERM)))
        refuse_mended(command, rows)
        refused += 1
    result = run(*command, timeout=300)
    assert result.returncode == 0, result.stderr
    assert summary(result)["steps"] == STEPS
    assert weights(path) == weights(folder / "undisturbed")
    refuse_mended(command, rows)  # a finished run, too
    return refused


@pytest.mark.parametrize("stage", [sft], ids=lambda stage: stage.__name__)
def test_a_mended_row_is_no_part_of_a_run(stage: Stage, tmp_path: Path) -> None:
    assert kill_mend_continue(stage, tmp_path, 1, random.Random(0)) == 1


@stages
@pytest.mark.soak
def test_twenty_kills_between_mended_rows(stage: Stage, tmp_path: Path) -> None:
    total = 0
    for n in range(4):
        (tmp_path / str(n)).mkdir()
        total += kill_mend_continue(stage, tmp_path / str(n), 5, random.Random(n))
    assert total == 20


@stages
def test_training_takes_no_rows_from_a_pipe(stage: Stage, tmp_path: Path) -> None:
    """A resumed run reads them again."""
    config = stage(tmp_path)
    os.mkfifo(tmp_path / "rows.fifo")
    words = [
        "--config",
        config,
        "--run-dir",
        tmp_path / "run",
        "--set",
        f"data.train={tmp_path / 'rows.fifo'}",
    ]
    for more in ([], ["--dry-run"]):
        result = here(yaml.safe_load(config.read_text())["stage"], *words, *more)
        assert result.returncode == 4, result.stderr
        assert "rows.fifo" in summary(result)["message"]
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_cold_start_with_a_checkpoint(signum: int, tmp_path: Path) -> None:
    """And with the JSON line; resumed, it ends as if nobody had come."""
    config, folder = metarm(tmp_path), tmp_path / "run"
    assert here("metarm", "--config", config, "--run-dir", tmp_path / "undisturbed").returncode == 0
    command = ["metarm", "--config", config, "--run-dir", folder]
    said = stop_after(folder / "metrics.jsonl", signum, *command, "--set", "trainer.save_steps=500")
    assert 0 < said["steps"] < STEPS
    assert (folder / "checkpoints" / f"checkpoint-{said['steps']}" / "checkpoint.json").is_file()
    assert not (folder / "metarm").exists()
    assert summary(here(*command, "--resume"))["steps"] == STEPS
    assert weights(folder) == weights(tmp_path / "undisturbed")


def test_a_second_signal_ends_the_cold_start_at_once(tmp_path: Path) -> None:
    """Without a checkpoint of its own and without the JSON line; the checkpoints so far are whole."""
    config, folder = metarm(tmp_path), tmp_path / "run"
    command = ["metarm", "--config", config, "--run-dir", folder]
    process = start(*command, "--set", "trainer.save_steps=3")
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*/checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert out == ""
    assert summary(here(*command, "--resume"))["steps"] == STEPS
