"""Runs that go wrong, stop, go on, and what they leave behind."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trl.trainer.grpo_trainer import GRPOTrainer

from reasrm.cli import console, main
from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.rewards.base import Part, RewardProblem, Rollout, each_row
from reasrm.training.rlvr import comparisons
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.stage import train
from reasrm.training.stage.listening import Listener
from tests.commands import ROOT, rows_of
from tests.refusals import refused
from tests.training.stages import BREVITY, preference, rlvr_trainer, write_rlvr_stage

pytestmark = pytest.mark.slow

OUTCOME = {"parts": {"outcome": {"kind": "outcome"}}}


def start(
    config: Path,
    name: str,
    *overrides: str,
    resume: bool = False,
    parts: Mapping[str, Part] | None = None,
    **listeners: Any,
) -> dict[str, Any]:
    stage, folder = load_rlvr_stage(config, overrides), config.parent / name
    return train(stage, str(config), folder, resume=resume, listener=Listener(**listeners), parts=parts)


def weights(folder: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    path = folder / "model" if step is None else folder / "checkpoints" / f"checkpoint-{step}"
    return dict(load_file(path / "model.safetensors"))


def are_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def poison(monkeypatch: pytest.MonkeyPatch, steps: Sequence[int]) -> None:
    """Make the loss of some steps NaN."""
    loss = GRPOTrainer._compute_loss

    def broken(self: Any, model: Any, inputs: Any) -> Any:
        return loss(self, model, inputs) * (torch.nan if self.state.global_step + 1 in steps else 1.0)

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", broken)


def test_a_step_without_a_finite_loss_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, [2])
    config = write_rlvr_stage(tmp_path, trainer={"max_steps": 3, "save_steps": 1})
    summary = start(config, "run", "checkpoints.keep=3", "rollouts.refill=3")
    assert (summary["steps"], summary["skipped_steps"]) == (3, 1)
    states = [weights(tmp_path / "run", step) for step in (1, 2, 3)]
    assert are_equal(states[0], states[1])
    assert not are_equal(states[1], states[2])
    rows = [row for row in rows_of(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert [row["skipped_steps"] for row in rows] == [0, 1, 1]


def test_three_such_steps_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, range(2, 9))
    config = write_rlvr_stage(tmp_path, trainer={"max_steps": 9, "save_steps": 1})
    with pytest.raises(EnvironmentProblem, match="not finite in 3 steps in a row, up to step 4"):
        start(config, "run")
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "checkpoint-2",
        "checkpoint-3",
    ]


def test_equal_rewards_move_nothing(tmp_path: Path) -> None:
    """No judgment of a random model can be read, so all earn −1: no group has a difference to learn from."""
    config = write_rlvr_stage(tmp_path, rewards=OUTCOME, trainer={"beta": 0.0, "max_steps": 3})
    said: list[str] = []
    summary = start(config, "run", say=said.append)
    assert are_equal(weights(tmp_path), weights(tmp_path / "run", 3))
    rows = [row for row in rows_of(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    for row in rows:
        assert row["loss"] == row["grad_norm"] == row["rollouts/coverage"] == row["rollouts/accuracy"] == 0
        assert (row["groups/dead"], row["reward/mean"], row["reward/std"]) == (1, -1, 0)
        statuses = {name: value for name, value in row.items() if name.startswith("rollouts/status/")}
        assert sum(statuses.values()) == 1
        assert "not_finite" not in row
    assert said[-1] == "alarm at step 3: rollouts/coverage is 0, below 0.5 3 times in a row"
    assert (summary["reward"], summary["accuracy"], summary["skipped_steps"]) == (-1, 0, 0)


def test_rewards_that_all_abstain_move_nothing(tmp_path: Path) -> None:
    silent = {"kind": "outcome", "statuses": dict.fromkeys(("truncated", "no_verdict"))}
    config = write_rlvr_stage(tmp_path, rewards={"parts": {"outcome": silent}}, trainer={"beta": 0.0})
    summary = start(config, "run")
    assert are_equal(weights(tmp_path), weights(tmp_path / "run", 2))
    (first, _) = (row for row in rows_of(tmp_path / "run" / "metrics.jsonl") if "loss" in row)
    assert (first["reward/abstaining"], first["groups/dead"]) == (1, 1)
    assert "reward/mean" not in first
    assert summary["reward"] is None


def test_equal_responses_of_a_group_are_counted(tmp_path: Path) -> None:
    """At a temperature of next to nothing all rollouts of a prompt are the same."""
    config = write_rlvr_stage(tmp_path, trainer={"temperature": 1e-4, "beta": 0.0, "max_steps": 1})
    start(config, "run")
    row = rows_of(tmp_path / "run" / "metrics.jsonl")[0]
    assert (row["rollouts/duplicates"], row["groups/dead"], row["loss"]) == (0.75, 1, 0)


def test_a_reward_that_throws_names_its_row(tmp_path: Path) -> None:
    """And what was saved before is whole: with the reward corrected, the run goes on."""

    def reward(rollout: Rollout) -> float:
        if rollout.comparison.id == "q3":
            raise ZeroDivisionError("no words to divide by")
        return float(rollout.num_tokens)

    config = write_rlvr_stage(tmp_path, rewards=OUTCOME, trainer={"max_steps": 4, "save_steps": 1})
    with pytest.raises(RewardProblem) as caught:
        start(config, "run", parts={"outcome": each_row(reward)})
    assert caught.value.row_id == "q3"
    assert "row 'q3', order" in str(caught.value)
    assert "'outcome' failed: ZeroDivisionError: no words to divide by" in str(caught.value)
    assert start(config, "run", resume=True)["steps"] == 4


def test_a_part_handed_in_takes_the_weight_of_the_config(tmp_path: Path) -> None:
    """A name that the config does not have is refused before a model is opened."""
    rewards = {"parts": {"outcome": {"kind": "outcome", "weight": 0.5}, "brevity": BREVITY}}
    config = write_rlvr_stage(tmp_path, rewards=rewards, watch={"samples_every": 1})
    own = {"outcome": each_row(lambda rollout: float(len(rollout.judgment.text)))}
    start(config, "run", parts=own)
    for row in rows_of(tmp_path / "run" / "samples.jsonl"):
        assert row["parts"]["outcome"] == len(row["text"])
        assert row["reward"] == pytest.approx(0.5 * len(row["text"]) + row["parts"]["brevity"])
    with refused(ConfigError, "rewards.parts", "'outcom'", "brevity, outcome"):
        start(config, "other", "model.path=nowhere", parts={"outcom": own["outcome"]})


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a config of the same name whose model is tiny."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "rlvr.md").read_text(), re.DOTALL)
    folder = tmp_path / "configs" / "sandbox"
    folder.mkdir(parents=True)
    write_rlvr_stage(folder, watch={"samples_every": 1}).rename(folder / "rlvr.yaml")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - our own page
    rows = rows_of(tmp_path / "runs" / "sandbox" / "rlvr-short" / "samples.jsonl")
    assert all(row["parts"]["short"] == -row["num_tokens"] / 100 for row in rows)


def test_a_completion_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rollouts, of groups that are drawn anew, of validation and of the canary."""
    read: list[str] = []
    parse = comparisons.parse

    def counting(spec: Any, completion: Any) -> Any:
        read.append(completion.request_id)
        return parse(spec, completion)

    monkeypatch.setattr(comparisons, "parse", counting)
    config = write_rlvr_stage(
        tmp_path,
        rewards=OUTCOME,  # a random model earns −1 each time, so all groups are drawn anew
        rollouts={"refill": 1},
        validation={"splits": {"own": str(tmp_path / "pairs.jsonl")}, "every": 1},
        watch={"canary": {"rows": 1, "every": 1}},
        trainer={"max_steps": 1},
    )
    summary = start(config, "run")
    assert summary["steps"] == 1
    assert len(read) == 2 * 8 + 2 * 8 + 2 * 1


def test_a_reward_out_of_range_ends_the_command_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a config can bring about: a gate below 0."""
    rewards = {
        "parts": {"gate": {"kind": "length", "soft_limit": 0}, "outcome": {"kind": "outcome"}},
        "combine": {"kind": "multiplicative", "outcome": "gate"},
    }
    config = write_rlvr_stage(tmp_path, rewards=rewards)
    command = ["reasrm", "rlvr", "--config", str(config), "--run-dir", str(tmp_path / "run"), "--quiet"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(console, "exit_with", sys.exit)  # the real one ends the process at once
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        console.set_quiet(False)
    assert end.value.code == 3
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert said["error"] == "RewardProblem"
    assert "row 'q" in said["message"]
    assert "this combinator needs a value in [0, 1]" in said["message"]


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


class Stopped(Exception):
    """A training was stopped by the test."""


@pytest.mark.parametrize("kind", ["all", "adapters", "orders drawn anew"])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    """Stopped in its second epoch: weights, logs, alarms, samples, canary and the choice are those of a whole run."""
    write_rlvr_stage(tmp_path, pairs=[preference(n) for n in range(20, 23)])
    (tmp_path / "pairs.jsonl").rename(tmp_path / "held-out.jsonl")
    config = write_rlvr_stage(
        tmp_path,
        pairs=[preference(n) for n in range(4)],  # an epoch lasts four steps
        lora={"r": 4} if kind == "adapters" else None,
        data={"orders": "each_epoch" if kind == "orders drawn anew" else "random"},
        validation={"splits": {"held_out": str(tmp_path / "held-out.jsonl")}, "every": 2},
        selection={},
        watch={"samples_every": 2, "canary": {"rows": 1, "every": 3}},
        trainer={"max_steps": 8, "save_steps": 2, "beta": 0.05, "num_iterations": 2, "logging_steps": 3},
    )
    whole = start(config, "whole")

    def stop(done: int, total: int, logs: Mapping[str, Any]) -> None:
        if done == 8:
            raise Stopped

    with pytest.raises(Stopped):
        start(config, "cut", steps=stop)
    assert {path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()} == {
        f"checkpoint-{step}" for step in (2, 4, 6)
    }
    resumed = start(config, "cut", resume=True)
    names = {"run", "checkpoint"}
    assert {k: v for k, v in resumed.items() if k not in names} == {
        k: v for k, v in whole.items() if k not in names
    }
    folders = [tmp_path / name / "checkpoints" for name in ("whole", "cut")]
    found = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert found[0] == found[1] == ["checkpoint-2", "checkpoint-6", "checkpoint-8"]
    file = "adapter_model.safetensors" if kind == "adapters" else "model.safetensors"
    for name in found[0]:
        files = {path.suffix for path in (folders[1] / name).iterdir()}
        assert files <= {".json", ".safetensors", ".jinja", ".md"}
        assert (folders[0] / name / file).read_bytes() == (folders[1] / name / file).read_bytes()
    for log in ("metrics", "samples", "canary"):
        logs = [without_time(rows_of(tmp_path / name / f"{log}.jsonl")) for name in ("whole", "cut")]
        assert logs[0] == logs[1]
        assert logs[0]
    assert (tmp_path / "whole" / "best.json").read_bytes() == (tmp_path / "cut" / "best.json").read_bytes()


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    """What was measured before the first step stands there once."""
    config = write_rlvr_stage(tmp_path, trainer={"max_steps": 2, "save_steps": 2})
    validation = f"validation.splits={{own: {tmp_path / 'pairs.jsonl'}}}"

    def stop(done: int, total: int, logs: Mapping[str, Any]) -> None:
        if done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        start(config, "run", validation, steps=stop)
    start(config, "run", validation, resume=True)
    rows = rows_of(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 2, 2]
    assert [row["step"] for row in rows_of(tmp_path / "run" / "canary.jsonl")] == [0] * 4 + [2] * 4


def test_adapters_learn_and_leave_the_rest_alone(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path, lora={"r": 4}, trainer={"beta": 0.1, "max_steps": 3})
    trainer = rlvr_trainer(config, tmp_path / "run")
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    trainer.run.close()
    moved = {n for n, parameter in trainer.model.named_parameters() if not torch.equal(parameter, before[n])}
    assert moved
    assert all("lora_" in name for name in moved)


def test_a_checkpoint_within_a_generation_batch_is_refused(tmp_path: Path) -> None:
    trainer = rlvr_trainer(write_rlvr_stage(tmp_path), tmp_path / "run", "trainer.num_iterations=2")
    trainer.state.global_step = 1
    with pytest.raises(InternalError, match="would lose the rest of one"):
        trainer.progress()
    trainer.run.close()
