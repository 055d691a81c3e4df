"""Runs of the MetaRM's cold start: stopped and resumed, killed, with two processes, begun by an older version."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reasrm.cli.app import app
from reasrm.errors import ConfigError
from reasrm.runs.identity import hash_config
from reasrm.training.metarm.config import load_metarm_stage
from reasrm.training.metarm.stage import METARM, train
from reasrm.training.stage.listening import Listener
from tests.commands import ROOT, environment, rows_of, run, start, summary
from tests.training.metarm_stages import write_metarm_stage
from tests.training.stages import SANDBOX_MODEL

pytestmark = pytest.mark.slow

TRAINER = {
    "max_steps": 6,
    "per_device_train_batch_size": 6,
    "save_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 3,
}


class Stopped(Exception):
    """What a listener raises in the middle of a run."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_metarm_stage(
        tmp_path_factory.mktemp("stage"),
        count=6,
        data={"holdout": 0.3},
        metarm={"members": 2},
        trainer=TRAINER,
    )


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> Path:
    folder = config.parent / "undisturbed"
    train(load_metarm_stage(config), str(config), folder)
    return folder


def what_counts(folder: Path) -> dict[str, Any]:
    """Weights and logged numbers of a finished run."""
    kept = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "metarm").rglob("*.safetensors")
    }
    last = folder / "checkpoints" / "checkpoint-6"
    kept |= {path.name: path.read_bytes() for path in last.glob("*.safetensors")}
    names = ("step", "loss", "grad_norm", "eval_mse", "eval_right_auc", "eval_doubt")
    steps = [{name: row.get(name) for name in names} for row in rows_of(folder / "metrics.jsonl")]
    assert len([step for step in steps if step["eval_mse"] is not None]) == 2
    return {**kept, "metrics": steps, "best": json.loads((folder / "best.json").read_bytes())}


def stop_at_five(done: int, total: int, logs: Mapping[str, Any]) -> None:
    if done == 5 and "loss" in logs:
        raise Stopped


def test_a_stopped_run_ends_bit_for_bit_the_same(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    stage, folder = load_metarm_stage(config), tmp_path / "run"
    with pytest.raises(Stopped):
        train(stage, str(config), folder, listener=Listener(steps=stop_at_five))
    assert not (folder / "metarm").exists()
    with pytest.raises(ConfigError, match="pass --resume"):
        train(stage, str(config), folder)
    targets = (folder / "targets.jsonl").stat().st_mtime_ns
    told = train(stage, str(config), folder, resume=True)
    assert (folder / "targets.jsonl").stat().st_mtime_ns == targets, "what was made before is read"
    assert what_counts(folder) == what_counts(undisturbed)
    assert told["steps"] == 6


def test_adapters_over_half_precision_end_the_same_and_merged(config: Path, tmp_path: Path) -> None:
    """A checkpoint holds adapters and heads, in float32; the folder a bfloat16 body and a float32 head."""
    changes = ["lora={r: 2}", "model.dtype=bfloat16", "trainer.gradient_checkpointing=true"]
    stage = load_metarm_stage(config, changes)
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train(stage, str(config), whole)
    with pytest.raises(Stopped):
        train(stage, str(config), folder, listener=Listener(steps=stop_at_five))
    train(stage, str(config), folder, resume=True)
    assert what_counts(folder) == what_counts(whole)
    kept = load_file(folder / "checkpoints" / "checkpoint-6" / "model.safetensors")
    assert {weight.dtype for weight in kept.values()} == {torch.float32}
    assert all("lora_" in name or ".score." in name for name in kept)
    written = load_file(folder / "metarm" / "member-1" / "model.safetensors")
    assert {name for name, weight in written.items() if weight.dtype == torch.float32} == {"score.weight"}
    base = load_file(SANDBOX_MODEL / "model.safetensors")
    assert any(
        "q_proj" in n and not torch.equal(w, base[n].bfloat16()) for n, w in written.items() if n in base
    )


def test_a_finished_run_without_its_folder_makes_it(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    before = what_counts(undisturbed)
    (undisturbed / "metarm").rename(tmp_path / "metarm")
    train(load_metarm_stage(config), str(config), undisturbed, resume=True)
    assert what_counts(undisturbed) == before


LEGACY = {
    "judgments": [],
    "policy": None,
    "per_row": 4,
    "temperature": 0.7,
    "top_p": 1.0,
    "max_tokens": None,
    "seed": None,
    "backend": "hf",
    "batch_size": 8,
    "concurrency": 16,
    "timeout_s": 600.0,
    "attempts": 5,
    "extra_body": None,
    "follow_redirects": False,
}
"""The section `rollouts` of runs that read their judgments, when there was one."""
WITHOUT_MEANING = {
    f"rollouts.{name}"
    for name in (
        *("backend", "batch_size", "concurrency", "timeout_s", "attempts", "headers", "follow_redirects"),
    )
}


@pytest.mark.parametrize("per_row", [4, 5])
def test_a_run_of_a_version_that_could_draw_goes_on(
    config: Path, undisturbed: Path, tmp_path: Path, per_row: int
) -> None:
    """Its targets too, to the same end; one that meant something else is refused."""
    stage, folder = load_metarm_stage(config), tmp_path / "run"
    with pytest.raises(Stopped):
        train(stage, str(config), folder, listener=Listener(steps=stop_at_five))
    old = json.loads((folder / "config.json").read_bytes())
    old["data"]["orders"] = "random"
    old["rollouts"] = {**LEGACY, "judgments": old["data"].pop("judgments"), "per_row": per_row}
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["config_hash"] = hash_config(old, METARM.volatile | WITHOUT_MEANING)
    for name, value in (("config", old), ("manifest", manifest)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    if per_row != 4:
        with pytest.raises(ConfigError, match="per_row was 5"):
            train(stage, str(config), folder, resume=True)
        return
    train(stage, str(config), folder, resume=True)
    assert what_counts(folder) == what_counts(undisturbed)
    assert train(stage, str(config), folder, resume=True)["steps"] == 6


def test_judgments_of_several_files_are_learned_from(tmp_path: Path) -> None:
    """What `reasrm judge` draws of the pairs, in both orders, beside judgments by hand."""
    config = write_metarm_stage(tmp_path, count=3, trainer={"max_steps": 1})
    judged = tmp_path / "drawn.jsonl"
    args = ["--votes", "2", "--temperature", "1", "--seed", "5", "--max-tokens", "40", "--spec", "sandbox"]
    files = ["--input", str(tmp_path / "pairs.jsonl"), "--output", str(judged), "--quiet"]
    app(["judge", "--judge", str(SANDBOX_MODEL), *files, *args], standalone_mode=False)
    both = f"data.judgments={[str(judged), str(tmp_path / 'judged.jsonl')]}"
    counted: list[tuple[str, int, int]] = []
    listener = Listener(counts=lambda name, done, total: counted.append((name, done, total)))
    folder = tmp_path / "run"
    told = train(load_metarm_stage(config, [both]), str(config), folder, listener=listener)
    assert told["judgments"] == 12 + 24
    assert told["lessons"] == 36 - sum(told["left_out"].values())
    assert ("critiques scored", 36, 36) in counted
    votes = {row["vote"] for row in rows_of(folder / "targets.jsonl")}
    assert votes <= set(range(6))
    assert votes & {0, 1}
    assert {2, 3, 4} <= votes, "those by hand come after two that were drawn"


@pytest.mark.soak
def test_kills_change_nothing(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    draw, folder, killed = random.Random(0), tmp_path / "run", 0
    command = ["metarm", "--config", config, "--run-dir", folder, "--resume"]
    for _ in range(6):
        process = start(*command)
        deadline = time.monotonic() + 300
        while (
            process.poll() is None and not list(folder.glob("checkpoints/*")) and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        try:
            process.communicate(timeout=draw.uniform(0.0, 2.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
    assert killed
    assert run(*command, timeout=600).returncode == 0
    assert what_counts(folder) == what_counts(undisturbed)


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["cpu-2", "cpu-2-zero2"])
def test_two_processes_are_one(tmp_path: Path, launcher: str) -> None:
    trainer = {"max_steps": 4, "per_device_train_batch_size": 6, "eval_strategy": "steps", "eval_steps": 4}
    config = write_metarm_stage(tmp_path, count=8, data={"holdout": 0.3}, trainer=trainer)
    alone = summary(run("metarm", "--config", config, "--run-dir", tmp_path / "alone", timeout=500))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    engine = ROOT / "configs" / "accelerate" / f"{launcher}.yaml"
    program = ROOT / "train" / "metarm.py"
    if "zero" in launcher:
        from tests.training.test_distributed import without_operator

        program = Path(without_operator(tmp_path, program))
    words = ["--config_file", engine, "--main_process_port", port, program, "--config", config]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            *map(str, words),
            "--run-dir",
            str(tmp_path / "two"),
            "--set",
            "trainer.per_device_train_batch_size=3",
        ],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=ROOT,
        env=environment(PYTHONPATH=os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))),
    )
    assert result.returncode == 0, result.stderr[-4000:]
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("{"))
    both = json.loads(line)
    for name in ("lessons", "left_out", "held_out", "steps"):
        assert both[name] == alone[name]
    assert both["quality"] == pytest.approx(alone["quality"], abs=1e-4)
    logged = [
        [r["loss"] for r in rows_of(Path(t["run"]) / "metrics.jsonl") if "loss" in r] for t in (alone, both)
    ]
    assert logged[1] == pytest.approx(logged[0], abs=1e-4)
    weights = [load_file(Path(told["metarm"]) / "member-0" / "model.safetensors") for told in (alone, both)]
    base = load_file(SANDBOX_MODEL / "model.safetensors")
    assert max(float((w - weights[1][n]).abs().max()) for n, w in weights[0].items()) < 1e-4
    moved = [float((w - base[n]).abs().max()) for n, w in weights[0].items() if n in base]
    assert max(moved) > 1e-3
    assert all(torch.isfinite(w).all() for w in weights[1].values())
