"""`reasrm rlvr`, `reasrm grpo` and `train/rlvr.py` as a user runs them, and the judge that comes out."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from reasrm.cli.app import app
from tests.commands import ENVELOPE, ROOT, rows_of
from tests.training.letters import write_letters_stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letters_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def reasrm(capfd):
    """Run a command in this process; return its summary and its lines on stderr."""

    def call(*words: str | Path) -> tuple[dict[str, Any], list[str]]:
        capfd.readouterr()
        app([str(word) for word in words], standalone_mode=False)
        out, err = capfd.readouterr()
        (line,) = out.splitlines()
        return json.loads(line), err.splitlines()

    return call


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    app(["rlvr", "--config", str(config), "--run-dir", str(folder), "--quiet"], standalone_mode=False)
    return folder


def test_a_stage_trains_and_says_what_became_of_it(reasrm, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told, err = reasrm(
        "rlvr", "--config", config, "--run-dir", folder, "--set", "trainer.max_steps=2", "--set", "seed=1"
    )
    assert set(told) >= ENVELOPE
    assert set(told) - ENVELOPE == {
        *("stage", "run", "checkpoint", "rows", "dropped", "steps", "skipped_steps", "reward", "accuracy"),
        *("validation", "best", "generated_tokens", "prompt_tokens", "processed_tokens"),
    }
    assert (told["stage"], told["steps"], told["rows"], told["dropped"]) == ("rlvr", 2, 24, {})
    assert told["run"] == str(folder)
    assert told["checkpoint"] == str(folder / "checkpoints" / "checkpoint-2")
    assert set(told["validation"]) == {"eval/seen/accuracy", "eval/more/accuracy"}
    assert told["best"]["splits"] == ["seen"]
    assert any("step 2/2" in line and "reward" in line and "coverage" in line for line in err)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["seed"] == 1


def test_the_numbers_of_every_step_are_kept(run: Path) -> None:
    lines = rows_of(run / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "eval/seen/accuracy" in line] == [0, 2, 4, 6]
    for line in steps:
        shares = [line[name] for name in line if name.startswith("rollouts/status/")]
        assert line["rollouts/coverage"] + sum(shares) == pytest.approx(1)
        assert 1 <= line["rollouts/tokens"] <= line["rollouts/tokens_max"] <= 6
        # right 1, wrong -1, unreadable -2
        right, readable = line["rollouts/accuracy"], line["rollouts/coverage"]
        assert line["reward/mean"] == pytest.approx(right - (readable - right) - 2 * (1 - readable))
        assert {"kl", "entropy", "groups/dead", "rollouts/duplicates", "reward/outcome/mean"} <= set(line)
    assert any(line["grad_norm"] > 0 for line in steps)


def test_samples_and_canary_show_text(run: Path) -> None:
    samples, canary = rows_of(run / "samples.jsonl"), rows_of(run / "canary.jsonl")
    assert [row["step"] for row in samples] == [n for n in range(1, 7) for _ in range(2)]
    assert [row["step"] for row in canary] == [n for n in (0, 4, 6) for _ in range(2)]
    assert {row["reward"] for row in samples} <= {1, -1, -2}
    assert all(row["reward"] == row["parts"]["outcome"] for row in samples)
    assert len({(row["id"], row["order"]) for row in canary}) == 2, "the same pairs each time"


def test_a_finished_run_is_left_alone(reasrm, config: Path, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*.json*")}
    told, err = reasrm("rlvr", "--config", config, "--run-dir", run, "--resume")
    assert any(line.endswith("is finished; nothing is left to do") for line in err)
    assert told["steps"] == 6
    after = {path: path.read_bytes() for path in run.rglob("*.json*")}
    assert {path for path in before if before[path] != after[path]} <= {run / "manifest.json"}


def test_the_script_takes_the_same_flags_and_a_dry_run_writes_nothing(
    config: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    script = ROOT / "train" / "rlvr.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--config", str(config), "--dry-run"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    out, err = capfd.readouterr()
    plan = json.loads(out)
    assert left.value.code in (0, None)
    assert (plan["dry_run"], plan["rows"], plan["validation_rows"]) == (True, 24, {"seen": 8, "more": 8})
    assert plan["batches"]["prompts_per_generation_batch"] == 4
    assert plan["targets"]["A"] + plan["targets"]["B"] == 24
    assert "generation batch: 4 prompts × 4 rollouts = 16, learned from in 1 passes" in err
    assert (
        "16 per process × 1 passes × 1 processes = 16 rollouts per step; 6 steps per epoch, 6 in all" in err
    )
    assert list(tmp_path.iterdir()) == []


def test_grpo_is_another_name_for_it(reasrm, config: Path) -> None:
    plan, _ = reasrm("grpo", "--config", config, "--dry-run", "--set", "data.orders=both")
    assert (plan["stage"], plan["rows"], plan["targets"]) == ("rlvr", 48, {"A": 24, "B": 24})


def test_the_exported_judge_is_the_best_checkpoint_and_judges(reasrm, run: Path, tmp_path: Path) -> None:
    best = json.loads((run / "best.json").read_text(encoding="utf-8"))
    told, _ = reasrm("export", "--run", run, "--output", tmp_path / "judge")
    assert told["checkpoint_step"] == best["step"]
    kept = json.loads((tmp_path / "judge" / "judge.json").read_text(encoding="utf-8"))
    assert kept["spec"]["name"] == "letters"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({"id": "q", "prompt": "question 10", "response_a": "yes 10", "response_b": "no 10"})
        + "\n",
        encoding="utf-8",
    )
    judged, _ = reasrm(
        "judge", "--judge", tmp_path / "judge", "--input", rows, "--output", tmp_path / "out.jsonl"
    )
    assert judged["rows"] == 1
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert row["judge"]["spec_hash"] == kept["spec_hash"]
