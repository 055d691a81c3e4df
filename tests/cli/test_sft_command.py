"""`reasrm sft` and `train/sft.py` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ENVELOPE, ROOT, environment, here, run, summary
from tests.training.stages import sft_row, write_stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sft_row(0), sft_row(1, "no verdict"), *(sft_row(n) for n in range(2, 8))]
    return write_stage(tmp_path_factory.mktemp("stage"), rows=rows)


def test_a_stage_trains_and_says_what_became_of_it(config: Path, tmp_path: Path) -> None:
    result = run("sft", "--config", config, "--run-dir", tmp_path / "run", "--set", "trainer.max_steps=3")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    told = summary(result)
    assert set(told) >= ENVELOPE
    assert (told["verb"], told["progress"]["done"], told["output"]) == ("sft", 3, told["run"])
    assert (told["steps"], told["rows"], told["dropped"]) == (3, 7, {"unreadable": 1})
    assert told["checkpoint"] == str(tmp_path / "run" / "checkpoints" / "checkpoint-3")
    assert "warning: 1 training rows dropped (1 unreadable), 7 kept" in result.stderr
    assert "step 3/3" in result.stderr


def test_the_script_takes_the_same_flags_and_a_dry_run_writes_nothing(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train" / "sft.py"), "--config", str(config), "--dry-run"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment(), check=False, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert (plan["dry_run"], plan["rows"], plan["batches"]["total_steps"]) == (True, 7, 2)
    assert "4 per process × 1 passes × 1 processes = 4 rows per step" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_is_a_usage_error_in_one_line(config: Path, tmp_path: Path) -> None:
    result = here("sft", "--config", config, "--run-dir", tmp_path / "run", "--set", "trainer.learning_rat=1")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(
        "trainer.learning_rat: SFTConfig of TRL has no argument 'learning_rat'; did you mean 'learning_rate'?"
    )
    assert not (tmp_path / "run").exists()
