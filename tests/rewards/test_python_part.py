"""A reward of a user's own: what a function may be, what is said of one that cannot be used, and who runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError
from reasrm.files import file_sha256
from reasrm.rewards.base import RewardProblem
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from tests.commands import here, rows_of, summary, write_rows
from tests.refusals import refused
from tests.rewards.rollouts import rollout
from tests.training.letters import write_letters_stage

SHORT = """from __future__ import annotations
from dataclasses import dataclass
from reasrm.rewards.base import Rollout, each_row

@dataclass
class Price:
    per_token: float = 0.1

def short(rollouts):
    return [-Price().per_token * rollout.num_tokens for rollout in rollouts]

@each_row
def right(rollout: Rollout):
    return None if rollout.comparison.target is None else rollout.judgment.verdict == rollout.comparison.target
"""


def section(file: Path, name: str = "short", **more: Any) -> RewardSection:
    return RewardSection.model_validate(
        {"parts": {"mine": {"kind": "python", "file": str(file), "name": name, **more}}}
    )


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "my_part.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_function_of_rollouts_is_a_part(tmp_path: Path) -> None:
    file = written(tmp_path, SHORT)
    rows = [rollout("A", num_tokens=10), rollout("B", num_tokens=20), rollout("A", target=None)]
    scored = build_reward(section(file, weight=2))(rows)
    assert scored.parts == {"mine": [-1.0, -2.0, -1.0]}
    assert scored.rewards == [-2.0, -4.0, -2.0]
    assert build_reward(section(file, "right"))(rows).rewards == [1.0, 0.0, None]


def test_what_runs_is_what_the_file_says_now(tmp_path: Path) -> None:
    """Two versions within one second and of one size: a compiled file would be taken for fresh."""
    for number in (1, 2):
        file = written(tmp_path, f"def short(rollouts):\n    return [{number}.0] * len(rollouts)\n")
        assert build_reward(section(file))([rollout()]).rewards == [float(number)]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("def shout(rollouts): ...", ["'short'", "'shout'"]),
        ("short = 5", ["'short'"]),
        ("", ["'short'"]),
        ("def short(): ...", ["short(rollouts)"]),
        ("def short(prompts, completions): ...", ["short(rollouts)"]),
        ("def short(rollouts, *, scale): ...", ["short(rollouts)"]),
        ("async def short(rollouts): ...", ["short(rollouts)"]),
        ("x = 1\ndef short(rollouts)\n", ["my_part.py:2", "SyntaxError"]),
        ("x = 1\nx / 0", ["my_part.py:2", "ZeroDivisionError"]),
        ("import no_such_module", ["my_part.py:1", "no_such_module"]),
        ("raise SystemExit(3)", ["my_part.py:1", "SystemExit"]),
        ("\0", ["null bytes"]),
    ],
    ids=lambda value: (value[:24] or "empty") if isinstance(value, str) else "",
)
def test_what_is_no_part_is_refused_before_anything_is_read(
    tmp_path: Path, text: str, named: list[str]
) -> None:
    with refused(ConfigError, "my_part.py", *named):
        build_reward(section(written(tmp_path, text)))


@pytest.mark.parametrize("name", ["absent.py", "."])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with refused(ConfigError, tmp_path / name):
        build_reward(section(tmp_path / name))


@pytest.mark.parametrize("value", ["float('nan')", "float('-inf')", "10**400", "'high'", "[1]", "{}"])
def test_a_value_that_is_no_finite_number_names_the_row(tmp_path: Path, value: str) -> None:
    file = written(
        tmp_path,
        f"def short(rollouts):\n    return [{value} if r.comparison.id == 'q7' else 1 for r in rollouts]",
    )
    with refused(RewardProblem, "'mine'", "'q7'") as caught:
        build_reward(section(file))([rollout(), rollout(row_id="q7")])
    assert caught.value.exit_code == 3


def test_a_function_that_throws_names_the_row(tmp_path: Path) -> None:
    file = written(tmp_path, "def short(rollouts):\n    return [1 / (r.num_tokens - 10) for r in rollouts]")
    with refused(RewardProblem, "'mine'", "'q7'", "ZeroDivisionError"):
        build_reward(section(file))([rollout(num_tokens=9), rollout(row_id="q7")])


def test_reading_a_config_runs_nothing(tmp_path: Path) -> None:
    """So that a run's own config can be read by whoever exports or shows it."""
    file = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\ndef short(rollouts): ...")
    read = section(file)
    assert read.code == {"rewards.parts.mine": file}
    assert RewardSection().code == {}
    assert not (tmp_path / "ran").exists()
    build_reward(read)
    assert (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_run_keeps_the_files_hash_and_no_judge_holds_its_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    text = f"{SHORT}\nopen({str(ran)!r}, 'w')\n"
    file = written(tmp_path, text)
    part = {"kind": "python", "file": str(file), "name": "short", "weight": 0.1}
    rewards = {"parts": {"outcome": {"kind": "outcome"}, "mine": part}}
    config = write_letters_stage(tmp_path, rewards=rewards)
    command = ("rlvr", "--config", config, "--run-dir", tmp_path / "run", "--set", "trainer.max_steps=2")

    planned = here(*command, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    result = here(*command)
    assert result.returncode == 0, result.stderr
    sha256 = file_sha256(file)
    for said in (planned.stderr, result.stderr):
        assert [line for line in said.splitlines() if sha256 in line and str(file) in line]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["inputs"]["rewards.parts.mine"] == {"path": str(file), "sha256": sha256}
    steps = [row for row in rows_of(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert all(-0.6 <= row["reward/mine/mean"] < 0 for row in steps)

    written(tmp_path, text + "\n")
    changed = here(*command, "--resume")
    assert changed.returncode == 4, changed.stderr
    assert "rewards.parts.mine" in changed.stderr

    ran.unlink()
    file.unlink()
    judge = tmp_path / "judge"
    assert here("export", "--run", tmp_path / "run", "--output", judge).returncode == 0
    assert [path for path in judge.rglob("*") if path.suffix == ".py"] == []
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    judged = here("judge", "--judge", judge, "--input", rows, "--output", tmp_path / "out.jsonl")
    assert summary(judged)["rows"] == 1
    assert not ran.exists()
