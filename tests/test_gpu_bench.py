"""`benchmarks/gpu.py`: what it says where a step fails or time is out; all of it, on a CPU, in the soak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from reasrm.demo.stages import write_pairs
from reasrm.world.pairs import World
from tests.commands import ROOT, environment, here
from tests.export.runs import make_run


class Steps(gpu.Bench):
    """A bench whose steps are no commands."""

    def __init__(self, folder: Path, budget_s: float = 60) -> None:
        super().__init__(folder, "tiny", budget_s, on_gpu=False)

    def sft(self) -> dict:
        return {"peak_gib": 1.0}

    def rlvr(self, name: str, **sections: object) -> dict:
        if name == "rlvr-lora":
            raise RuntimeError("out of memory")
        seal = self.folder / name / "checkpoints" / "one" / "checkpoint.json"
        seal.parent.mkdir(parents=True)
        seal.write_text('{"format": "safe"}')
        return {"name": name, "launch": "launch" in sections}

    def metarm(self) -> dict:
        raise ValueError("no judgment")

    def export(self) -> dict:
        raise AssertionError("needs what failed")

    judge = export


@pytest.fixture(autouse=True)
def _nothing_to_prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "prepare", lambda bench: None)


def test_a_failed_step_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    found = gpu.run(Steps(tmp_path), [])
    assert {name: step["ok"] for name, step in found.items()} == {
        "sft": True,
        "rlvr-full": True,
        "rlvr-lora": False,
        "rlvr-fsdp2": True,
        "metarm": False,
        "rlvr-metarm": False,
        "export": False,
        "judge": False,
    }
    assert found["rlvr-lora"]["error"] == "RuntimeError: out of memory"
    assert "it needs rlvr-lora" in found["export"]["error"]
    assert "it needs export" in found["judge"]["error"]
    assert "it needs metarm" in found["rlvr-metarm"]["error"]
    assert found["rlvr-fsdp2"]["launch"]
    assert all("wall_s" in step for step in found.values())


def test_a_step_brings_what_it_needs(tmp_path: Path) -> None:
    assert list(gpu.run(Steps(tmp_path), ["judge"])) == ["rlvr-lora", "export", "judge"]


def test_commands_fail_with_the_end_of_their_stderr_and_stop_with_the_budget(tmp_path: Path) -> None:
    bench = Steps(tmp_path)
    assert bench.call([sys.executable, "-c", "print('noise'); print('{\"a\": 1}')"], "well") == {"a": 1}
    with pytest.raises(RuntimeError, match=r"exit 3: .*the cause"):
        bench.call(
            [sys.executable, "-c", "import sys; print('the cause', file=sys.stderr); sys.exit(3)"], "ill"
        )
    with pytest.raises(RuntimeError, match="budget is spent"):
        Steps(tmp_path, 0.3).call([sys.executable, "-c", "import time; time.sleep(60)"], "slow")
    with pytest.raises(RuntimeError, match="not run"):
        Steps(tmp_path, -1).call([sys.executable, "-c", "pass"], "late")


@pytest.mark.slow
def test_a_judge_of_random_weights_judges_every_row_though_nothing_can_be_read(tmp_path: Path) -> None:
    bench = gpu.Bench(tmp_path, "tiny", 300, on_gpu=False)
    write_pairs(World().pairs("iid", 2), tmp_path / "few.jsonl")
    exported = here("export", "--run", make_run(tmp_path), "--output", tmp_path / "judge")
    assert exported.returncode == 0, exported.stderr
    found = bench.judge()
    assert {name: (part["rows"], part["errors"]) for name, part in found.items()} == {
        "random": (2, 0),
        "embedded": (2, 0),
    }
    assert (found["random"]["coverage"], found["embedded"]["coverage"]) == (0, 1)


@pytest.mark.soak
def test_every_step_goes_through_on_a_cpu(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--shape",
            "tiny",
            "--budget",
            "1500",
            "--output",
            str(output),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == json.loads(output.read_text())
    assert done.returncode == 0, found
    assert all(step["ok"] for step in found["steps"].values())
    for name in ("sft", "rlvr-full", "rlvr-lora", "metarm"):
        assert found["steps"][name]["estimated_gib"] > 0
        assert found["steps"][name]["peak_gib"] > 0
