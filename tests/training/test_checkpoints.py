"""Checkpoints of a real Trainer: no pickles, resumed to the same bits, whole or absent whatever happens."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.files import file_sha256
from reasrm.runs import RunFolder, latest_checkpoint, seal_checkpoint, verify_checkpoint
from reasrm.training.safety.checkpoints import find_resume
from reasrm.training.safety.states import load_state
from tests.commands import ROOT
from tests.sealed import complete_checkpoints
from tests.training.toy import NUM_STEPS, build_toy, logged, weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _still_heap():
    """Every training collects garbage; that of the imported libraries need not be looked at each time."""
    gc.freeze()
    yield
    gc.unfreeze()


class StopAfter(TrainerCallback):
    """Interrupts a training once a step is saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def train_whole(folder: Path, *, adapters: bool):
    trainer = build_toy(folder, adapters=adapters)
    trainer.train()
    trainer.run.close()
    return folder, weights(trainer), adapters


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run that was never stopped: its folder, last weights, and whether they are adapters."""
    return train_whole(tmp_path_factory.mktemp("full") / "run", adapters=False)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """The same of LoRA adapters."""
    return train_whole(tmp_path_factory.mktemp("adapters") / "run", adapters=True)


@pytest.fixture(params=["full", "adapters"])
def whole(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(full, tmp_path) -> Path:
    """A finished run, to be broken."""
    return shutil.copytree(full[0], tmp_path / "run")


def refuse(*args, **kwargs):
    raise AssertionError("torch.load was called")


# Resuming


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_resumed_run_equals_one_that_was_never_stopped(whole, tmp_path, monkeypatch, step):
    folder, expected, adapters = whole
    first = build_toy(tmp_path / "run", adapters=adapters)
    first.add_callback(StopAfter(step))
    with pytest.raises(KeyboardInterrupt):
        first.train()
    first.run.close()
    monkeypatch.setattr(torch, "load", refuse)
    second = build_toy(tmp_path / "run", adapters=adapters, resume=True)
    second.train(resume_from_checkpoint=True)
    second.run.close()
    assert second.state.global_step == NUM_STEPS
    found = weights(second)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert logged(tmp_path / "run") == logged(folder)
    for name in ("optimizer", "scheduler"):
        ends = [
            load_state(run / "checkpoints" / f"checkpoint-{NUM_STEPS}", name)
            for run in (folder, tmp_path / "run")
        ]
        assert str(ends[0]) == str(ends[1])


def test_a_run_that_trained_learned_something_and_logged_it(whole):
    folder, expected, _ = whole
    fresh = weights_of_a_new_toy(whole)
    assert any(not torch.equal(fresh[name], expected[name]) for name in expected)
    assert [record["step"] for record in logged(folder)] == [3, 6, NUM_STEPS]


def weights_of_a_new_toy(whole):
    folder, _, adapters = whole
    return weights(build_toy(folder, adapters=adapters, run=RunFolder.join(folder)))


def test_a_checkpoint_holds_safetensors_and_json_only(whole):
    folder, expected, adapters = whole
    info = latest_checkpoint(folder)
    assert info is not None
    assert (info.step, info.world_size, info.format) == (NUM_STEPS, 1, "safe")
    suffixes = {Path(name).suffix for name in info.files}
    assert suffixes <= {".safetensors", ".json", ".md"}
    assert {"optimizer-0.safetensors", "optimizer.json", "scheduler.json", "rank-0.json"} <= set(info.files)
    weights_file = "adapter_model.safetensors" if adapters else "model.safetensors"
    assert weights_file in info.files
    if not adapters:
        saved = load_file(info.path / weights_file)
        assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_a_finished_run_is_not_trained_further(copy):
    trainer = build_toy(copy, resume=True)
    trainer.train(resume_from_checkpoint=True)
    trainer.run.close()
    assert trainer.state.global_step == NUM_STEPS
    assert [record["step"] for record in logged(copy)] == [3, 6, NUM_STEPS]


def test_a_run_without_checkpoints_begins(tmp_path):
    run = RunFolder.open(tmp_path / "run", stage="toy", config={}, inputs={}, seed=0, resume=True)
    assert find_resume(run) is None
    run.close()


# Damage


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damage_to_any_file_is_found_and_the_one_before_is_used(copy):
    newest = copy / "checkpoints" / f"checkpoint-{NUM_STEPS}"
    names = sorted(path.name for path in newest.iterdir())
    assert len(names) > 5
    damages = {
        "flipped": flip,
        "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "deleted": Path.unlink,
    }
    unseen = []
    for name in names:
        for kind, damage in damages.items():
            content = (newest / name).read_bytes()
            damage(newest / name)
            found = latest_checkpoint(copy)
            unseen += [] if found is not None and found.step == NUM_STEPS - 2 else [(name, kind)]
            (newest / name).write_bytes(content)
    assert unseen == []
    assert verify_checkpoint(newest).step == NUM_STEPS


def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(full, copy):
    flip(copy / "checkpoints" / f"checkpoint-{NUM_STEPS}" / "optimizer-0.safetensors")
    trainer = build_toy(copy, resume=True)
    trainer.train(resume_from_checkpoint=True)
    trainer.run.close()
    assert all(torch.equal(tensor, full[1][name]) for name, tensor in weights(trainer).items())
    assert logged(copy) == logged(full[0])
    names = sorted(path.name for path in (copy / "checkpoints").iterdir())
    assert names == ["checkpoint-6", "checkpoint-8", "checkpoint-8.damaged"]


def test_a_strict_run_refuses_damage(copy):
    flip(copy / "checkpoints" / f"checkpoint-{NUM_STEPS}" / "rank-0.json")
    trainer = build_toy(copy, resume=True, options={"strict_checkpoints": True})
    with pytest.raises(EnvironmentProblem, match=r"rank-0\.json") as caught:
        trainer.train(resume_from_checkpoint=True)
    trainer.run.close()
    assert caught.value.exit_code == 5


def run_killed(root: Path, shares: list[str]) -> dict:
    """Runs killed at shares of all moments, and one left alone."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.toy", str(root), *shares],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def check_killed(report: dict) -> None:
    whole = Path(report["whole"])
    assert report["num_events"] > 50
    for end in report["ends"]:
        folder = Path(end["folder"])
        assert end["died_of"] == 9, end
        assert logged(folder) == logged(whole), end
        last = f"checkpoints/checkpoint-{NUM_STEPS}/model.safetensors"
        assert file_sha256(folder / last) == file_sha256(whole / last), end
        assert [info.step for info in complete_checkpoints(folder)] == [NUM_STEPS - 2, NUM_STEPS], end
        assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == [
            "checkpoint-6",
            "checkpoint-8",
        ], end


def test_a_killed_run_is_resumed_without_a_person(tmp_path):
    check_killed(run_killed(tmp_path, ["0.05", "0.5", "0.9"]))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_killed_at_any_moment_is_resumed_without_a_person(tmp_path):
    check_killed(run_killed(tmp_path, []))


def launch(processes: int, root: Path) -> dict:
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    script = ROOT / "tests" / "training" / "two_processes.py"
    result = subprocess.run(
        [sys.executable, *command, str(script), str(root)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.soak
def test_two_processes_resume_and_agree_on_what_to_skip(tmp_path):
    report = launch(2, tmp_path)
    assert report == {"differs": [], "logs_equal": True, "skipped": 2, "agreed": True}
    info = latest_checkpoint(tmp_path / "stopped")
    assert info is not None
    assert {"rank-0.json", "rank-1.json"} <= set(info.files)
    assert "written by 2 processes, and this run has 1" in launch(1, tmp_path)["refused"]


# What is refused


def test_another_number_of_processes_is_refused_with_both_numbers(copy):
    trainer = build_toy(copy, resume=True)
    info = latest_checkpoint(copy)
    assert info is not None
    seal = json.loads((info.path / "checkpoint.json").read_text())
    seal_checkpoint(info.path, info.step, 2, seal["format"])
    with pytest.raises(ConfigError, match="written by 2 processes, and this run has 1"):
        trainer.train(resume_from_checkpoint=True)
    trainer.run.close()


def test_weights_of_another_model_are_refused(tmp_path):
    trainer = build_toy(tmp_path / "run")
    trainer._issue_warnings_after_load(torch.nn.modules.module._IncompatibleKeys(["lm_head.weight"], []))
    for missing, unexpected in (["transformer.ln_f.weight"], []), ([], ["other.weight"]):
        keys = torch.nn.modules.module._IncompatibleKeys(missing, unexpected)
        with pytest.raises(ConfigError, match=(missing + unexpected)[0]):
            trainer._issue_warnings_after_load(keys)
    trainer.run.close()


@pytest.mark.parametrize(
    "setting",
    [
        {"save_total_limit": 3},
        {"save_only_model": True},
        {"save_on_each_node": True},
        {"ignore_data_skip": True},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_arguments_that_break_the_promise_are_refused(tmp_path, setting):
    run = RunFolder.open(tmp_path / "run", stage="toy", config={}, inputs={}, seed=0, resume=False)
    with pytest.raises(ConfigError, match=next(iter(setting))):
        build_toy(tmp_path / "run", run=run, **setting)
    with pytest.raises(ConfigError, match="at least 2"):
        build_toy(tmp_path / "run", run=run, options={"keep_checkpoints": 1})
    with pytest.raises(InternalError, match="output_dir"):
        build_toy(tmp_path / "run", run=run, output_dir=str(tmp_path))
    run.close()


def test_a_full_disk_ends_in_one_sentence(tmp_path, monkeypatch):
    trainer = build_toy(tmp_path / "run")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reasrm.training.safety.checkpoints.save_state", full)
    with pytest.raises(EnvironmentProblem, match=r"No space left on device.*--resume") as caught:
        trainer.train()
    trainer.run.close()
    assert caught.value.exit_code == 5
    assert complete_checkpoints(tmp_path / "run") == []
