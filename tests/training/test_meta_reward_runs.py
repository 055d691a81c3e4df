"""RLVR with a MetaRM in the loop: when it learns, what a run keeps of it, kills, two processes, the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reasrm.cli import console
from reasrm.cli.app import app
from reasrm.metarm.learner import Learner
from reasrm.metarm.model import MetaRM
from reasrm.training.rlvr.meta_reward import Completed, MetaReward
from reasrm.training.rlvr.trainer import JudgeGRPOTrainer
from reasrm.training.rlvr.validation import validate
from reasrm.training.safety.states import load_state
from tests.commands import ROOT, environment, rows_of
from tests.metarm.models import build_metarm, differing, weights
from tests.training.meta_runs import GROUP, STEPS, write_meta_stage
from tests.training.stages import SANDBOX_MODEL, rlvr_trainer

pytestmark = pytest.mark.slow

TIMES = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def without_times(path: Path) -> list[dict[str, Any]]:
    """The logged numbers; the last record, of the whole training, is lost where a kill comes between it and its end."""
    rows = [row for row in rows_of(path) if "final" not in row]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def batches(folder: Path) -> list[dict[str, Any]]:
    """The logged numbers of the steps that began with new rollouts."""
    return [row for row in rows_of(folder / "metrics.jsonl") if "metarm/routed" in row]


# In a trainer of this process


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JudgeGRPOTrainer]:
    """Before its first step; groups without variance are replaced, and each batch is learned from four times."""
    folder = tmp_path_factory.mktemp("online")
    write_meta_stage(folder)
    trainer = rlvr_trainer(
        folder / "stage.yaml",
        folder / "run",
        "rollouts.refill=2",
        "trainer.max_steps=8",
        "trainer.save_steps=8",
        "trainer.steps_per_generation=2",
        "trainer.generation_batch_size=null",
        f"trainer.per_device_train_batch_size={GROUP}",
        f"validation={{splits: {{own: {folder / 'pairs.jsonl'}}}, every: 8, limit: 3}}",
    )
    yield trainer
    trainer.run.close()


def meta_of(trainer: JudgeGRPOTrainer) -> tuple[MetaReward, Learner]:
    meta = trainer.meta
    assert meta is not None
    assert meta.learner is not None
    return meta, meta.learner


def test_the_metarm_reads_the_prompt_of_the_rollouts(trainer: JudgeGRPOTrainer) -> None:
    meta, _ = meta_of(trainer)
    for prompt in trainer.rollouts.prompts.values():
        found = meta.metarm.encoder.encode(prompt.comparison, "must count two A three bad B two ok")
        assert found is not None
        assert list(found.ids[: found.start]) == prompt.ids.tolist()


def test_evaluation_leaves_it_untouched(trainer: JudgeGRPOTrainer) -> None:
    """Neither validation nor a pass of TRL in evaluation mode teaches it or is remembered; in training one does."""
    meta, learner = meta_of(trainer)
    keys = [key for key in trainer.rollouts.train_keys if meta_has_critique(trainer, key)][:2]
    inputs = [{"prompt": key} for key in keys for _ in range(GROUP)]
    before, window = weights(meta.metarm), meta.window()
    section = trainer.stage.validation
    assert section is not None
    assert validate(trainer, {"own": keys}, section)["eval/own/coverage"] > 0
    trainer.model.eval()
    output = trainer._generate_and_score_completions(inputs)
    assert output["advantages"].shape == (2 * GROUP,)
    assert differing(before, weights(meta.metarm)) == []
    assert learner.state()["optimizer"]["state"] == {}
    assert meta.window() == window == []
    trainer.model.train()
    state = learner.state()
    kept = {name: tensor.clone() for name, tensor in state["weights"].items()}
    trainer._generate_and_score_completions(inputs)
    assert differing(before, weights(meta.metarm)) != []
    learner.load_state({**state, "weights": kept, "optimizer": {**state["optimizer"], "state": {}}})
    assert differing(before, weights(meta.metarm)) == []
    meta.load_window([])
    trainer._metrics["train"].clear()


def meta_has_critique(trainer: JudgeGRPOTrainer, key: str) -> bool:
    return trainer.rollouts.prompts[key].comparison.critique is not None


def test_it_learns_once_per_generation_batch(
    trainer: JudgeGRPOTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the batch is learned from, refilled, or the policy validated."""
    looks: list[bool] = []
    updates: list[dict[str, torch.Tensor]] = []
    complete, update = MetaReward.complete, Learner.update

    def watched(self: MetaReward, *positional: Any, learn: bool) -> Completed:
        looks.append(learn)
        return complete(self, *positional, learn=learn)

    def counted(self: Learner, steps: Any) -> Any:
        updates.append(weights(self.metarm))
        return update(self, steps)

    monkeypatch.setattr(MetaReward, "complete", watched)
    monkeypatch.setattr(Learner, "update", counted)
    trainer.train()
    meta, _ = meta_of(trainer)
    assert trainer._generate_every == 4  # two passes, twice
    assert len(updates) == looks.count(True) == len(batches(trainer.run.path)) == 2
    assert looks.count(False) > 0  # groups were replaced
    assert differing(updates[0], weights(meta.metarm)) != []
    for row in batches(trainer.run.path):
        shares = [row[f"metarm/{name}"] for name in ("routed", "withheld", "unread")]
        assert all(
            share in [n / (2 * GROUP) for n in range(2 * GROUP + 1)] for share in shares
        )  # of one look


def test_a_finished_run_has_a_metarm(trainer: JudgeGRPOTrainer) -> None:
    meta, _ = meta_of(trainer)
    opened = MetaRM.open(trainer.run.path / "metarm")
    assert differing(weights(opened), weights(meta.metarm)) == []
    assert opened.card == meta.metarm.card


# Killed, and in two processes


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `meta_runs` leaves behind: `whole`, `two` and `killed-*`, also in `lora`, with adapters; and `learned`."""
    return run_program(tmp_path_factory.mktemp("program"), "0.35", "0.8")


def run_program(folder: Path, *shares: str) -> Path:
    write_meta_stage(folder)
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.meta_runs", str(folder), *shares],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    assert result.returncode == 0, result.stderr[-4000:]
    report = json.loads(result.stdout.splitlines()[-1])
    assert len(report["killed"]) == len(shares) + 1
    assert {end["died_of"] for end in report["killed"]} == {9}
    return folder


def state_of(folder: Path) -> Mapping[str, Any]:
    """What the last checkpoint keeps of a process, less what a clock measured."""
    state = load_state(folder / "checkpoints" / f"checkpoint-{STEPS}", "rank-0")
    del state["progress"]["seconds"]
    state["progress"]["metrics"].pop("step_time", None)
    return dict(state)


def assert_same_end(killed: Path, whole: Path) -> None:
    last = f"checkpoints/checkpoint-{STEPS}"
    names = [f"{last}/{path.name}" for path in (whole / last).iterdir() if path.suffix == ".safetensors"]
    names += [f"{last}/metarm.json", "samples.jsonl"]
    names += [str(path.relative_to(whole)) for path in (whole / "metarm").rglob("*") if path.is_file()]
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert {"model.safetensors", "metarm-0.safetensors", "optimizer-0.safetensors"} <= {
        Path(n).name for n in names
    }
    assert state_of(killed) == state_of(whole)
    assert without_times(killed / "metrics.jsonl") == without_times(whole / "metrics.jsonl")


@pytest.mark.parametrize("kind", ["", "lora"])
def test_kills_change_nothing(kind: str, program: Path) -> None:
    """Weights and optimizers of policy and MetaRM, window, logs and samples are those of an undisturbed run."""
    killed = sorted((program / kind).glob("killed-*"))
    assert len(killed) == (1 if kind else 2)
    for folder in killed:
        assert_same_end(folder, program / kind / "whole")
    assert state_of(program / kind / "whole")["progress"]["metarm"]  # there is a window


def test_a_checkpoint_keeps_adapters_and_the_head_only(program: Path) -> None:
    """And the folder at the end is a plain model that has learned."""
    whole = program / "lora" / "whole"
    state = load_state(whole / "checkpoints" / f"checkpoint-{STEPS}", "metarm")
    assert all("lora_" in name or ".readout." in name for name in state["weights"])
    start, end = (weights(MetaRM.open(folder / "metarm")) for folder in (program, whole))
    assert any("q_proj" in name for name in differing(start, end))
    assert not any("embed_tokens" in name for name in differing(start, end))


@pytest.mark.soak
def test_many_kills_change_nothing(tmp_path: Path) -> None:
    folder = run_program(tmp_path, *(str(n / 14) for n in range(1, 14)))
    for killed in folder.glob("killed-*"):
        assert_same_end(killed, folder / "whole")


def test_a_run_keeps_what_it_learned(program: Path) -> None:
    """The folder at its end is what its last checkpoint keeps, and not what it began with."""
    end = weights(MetaRM.open(program / "whole" / "metarm"))
    state = load_state(program / "whole" / "checkpoints" / f"checkpoint-{STEPS}", "metarm")
    assert all(torch.equal(end[name], weight) for name, weight in state["weights"].items())
    assert state["weights"].keys() == end.keys()
    assert differing(weights(MetaRM.open(program / "metarm")), end) != []
    pickles = [
        path for path in (program / "whole").rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")
    ]
    assert pickles == []


def test_every_batch_is_logged(program: Path) -> None:
    rows = batches(program / "whole")
    assert [row["step"] for row in rows] == [1, 3, 5]
    for row in rows:
        assert {
            f"metarm/{name}" for name in ("routed", "withheld", "unread", "learned_rows", "skipped_steps")
        } <= set(row)
        assert {"metarm/heldout_rows", "metarm/heldout_mse", "metarm/heldout_calibration"} <= set(row)
        assert ("metarm/loss" in row) is (row["metarm/learned_rows"] > 0)
    assert sum("metarm/loss" in row for row in rows) >= 2
    assert {row["metarm/routed"] for row in rows} >= {0.0, 0.5}


def test_samples_show_the_parts(program: Path) -> None:
    """A critique's own value or the MetaRM's number, and the reward that came of it, by hand."""
    samples = rows_of(program / "whole" / "samples.jsonl")
    assert {frozenset(row["parts"]) for row in samples} == {
        frozenset(("outcome", "format", "critique", "metarm"))
    }
    routed = 0
    for row in samples:
        parts = row["parts"]
        known, said = parts["critique"], parts["metarm"]
        bonus = known if known is not None else 0.0 if said is None else max(0.0, said - 1.0)
        expected = -1.0 if parts["format"] == 0 else parts["outcome"] + 0.5 * bonus * (parts["outcome"] > 0)
        assert row["reward"] == pytest.approx(expected, abs=1e-6)
        routed += known is None and said is not None
    assert routed
    assert len({row["reward"] for row in samples}) > 3


@pytest.mark.parametrize("kind", ["", "lora"])
def test_two_processes_learn_what_one_does(kind: str, program: Path) -> None:
    """Also where one of them has no rows to learn from: the losses, the texts, the rewards, the weights."""
    whole, two = program / kind / "whole", program / kind / "two"
    theirs, ours = (rows_of(folder / "samples.jsonl") for folder in (whole, two))
    for one, other in zip(theirs, ours, strict=True):
        for name in ("step", "id", "order", "verdict", "text", "num_tokens"):
            assert one[name] == other[name]
        for name in ("reward", "advantage"):
            assert one[name] == pytest.approx(other[name], abs=1e-4)
        assert one["parts"] == pytest.approx(other["parts"], abs=1e-4)
    for one, other in zip(
        without_times(whole / "metrics.jsonl"), without_times(two / "metrics.jsonl"), strict=True
    ):
        assert one.keys() == other.keys()
        for name in ("metarm/loss", "metarm/heldout_mse"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-5), name
        for name in ("loss", "reward/mean"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-4), name
    ends = [weights(MetaRM.open(folder / "metarm")) for folder in (whole, two)]
    assert max(float((ends[0][name] - ends[1][name]).abs().max()) for name in ends[0]) < 1e-5
    last = f"checkpoints/checkpoint-{STEPS}/model.safetensors"
    policies = [load_file(folder / last) for folder in (whole, two)]
    assert max(float((policies[0][name] - policies[1][name]).abs().max()) for name in policies[0]) < 1e-4
    # of some batch, all rows that teach are in the first process
    teaching = [row["parts"]["critique"] is not None for row in theirs]
    halves = [teaching[n : n + GROUP] for n in range(0, len(teaching), GROUP)]
    learned = [row["metarm/learned_rows"] for row in batches(whole)]
    pairs = zip(halves[::2], halves[1::2], learned, strict=True)
    assert any(any(first) and not any(second) and rows for first, second, rows in pairs)


@pytest.mark.parametrize("kind", ["", "lora-"])
def test_where_rows_lie_changes_no_step(kind: str, program: Path) -> None:
    """Steps with all rows in one process, with one row, with none, with rows in both; summed in several buckets."""
    alone, *ranks = (load_state(program / "learned", kind + name) for name in ("alone", "rank-0", "rank-1"))
    for found in ranks:
        assert found["done"] == {k: pytest.approx(v, rel=1e-5) for k, v in alone["done"].items()}
        for name, weight in alone["weights"].items():
            assert torch.allclose(found["weights"][name], weight, atol=1e-5, rtol=0), name
    assert (alone["done"]["rows"], alone["done"]["steps"]) == (13, 3)
    assert differing(ranks[0]["weights"], ranks[1]["weights"]) == []
    start = weights(MetaRM.open(program / "metarm"))
    moved = [float((start[n] - weight).abs().max()) for n, weight in alone["weights"].items() if n in start]
    assert max(moved) > 1e-3


def test_unequal_weights_are_noticed_by_both_processes(program: Path) -> None:
    for rank in range(2):
        assert "differ between processes" in (program / "learned" / f"noticed-rank-{rank}").read_text()


# The command


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    build_metarm(SANDBOX_MODEL, target="process").save(folder / "process")
    build_metarm(SANDBOX_MODEL, spec=other_spec()).save(folder / "other-spec")
    return write_meta_stage(folder, readout="last_token")


def other_spec() -> Any:
    from reasrm.protocol.spec import load_spec

    return load_spec("rm-nlhf")


@pytest.mark.parametrize("mode", ["frozen", "online"])
def test_the_command_trains_with_a_metarm(mode: str, config: Path, tmp_path: Path, capfd: Any) -> None:
    sets = ("trainer.max_steps=2", "trainer.num_iterations=1", "metarm.holdout=0", f"metarm.mode={mode}")
    words = [word for change in sets for word in ("--set", change)]
    folder = tmp_path / "run"
    app(["rlvr", "--config", str(config), "--run-dir", str(folder), *words], standalone_mode=False)
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (told["stage"], told["steps"], told["run"]) == ("rlvr", 2, str(folder))
    opened = MetaRM.open(folder / "metarm")
    start = MetaRM.open(config.parent / "metarm")
    moved = differing(weights(start), weights(opened))
    assert (moved == []) is (mode == "frozen")
    assert (opened.card, opened.score([]).shape) == (start.card, (0, 1))
    checkpoint = folder / "checkpoints" / "checkpoint-2"
    assert (checkpoint / "metarm.json").exists() is (mode == "online")
    assert all(("metarm/learned_rows" in row) is (mode == "online") for row in batches(folder))
    assert len(batches(folder)) == 2


def test_a_plan_needs_no_weights(config: Path, tmp_path: Path, capfd: Any) -> None:
    app(
        ["rlvr", "--config", str(config), "--run-dir", str(tmp_path / "run"), "--dry-run"],
        standalone_mode=False,
    )
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (told["dry_run"], told["rows"]) == (True, 8)
    meta = told["metarm"]
    assert (meta["mode"], meta["dtype"], meta["lora"]) == ("online", "float32", False)
    assert meta["parameters"]["trained"] == meta["parameters"]["total"] > 0
    assert told["memory_gib"]["metarm"] == meta["memory_gib"]["total"]
    assert list(told["memory_gib"])[-1] == "total"
    assert not (tmp_path / "run").exists()


# What is wrong → words of the line; all are exit code 2.
WRONG = {
    "metarm.path=nowhere": ("nowhere: the folder has no metarm.json", "reasrm metarm"),
    "metarm.fills=format": ("metarm.fills 'format' is no reward part of the kind critique",),
    "metarm.fills=critic": ("metarm.fills 'critic' is no reward part",),
    "metarm.path=process": ("metarm.bonus_scale: bonus_scale is 'published'", "set it to calibrated"),
    "metarm.max_variance=0.1": (
        "metarm.max_variance: the MetaRM has one member",
        "metarm.members of at least 2",
    ),
    "rewards.parts.critique.weight=1.0": ("metarm.path: the MetaRM learned with a weight of 0.5", "has 1"),
    "metarm.path=other-spec": (
        "metarm.path: the MetaRM knows critiques under spec 'rm-nlhf'",
        "train a MetaRM",
    ),
    "spec=mt-bench": ("metarm: spec 'mt-bench' marks no critique", "such as rm-nlhf"),
    "metarm.bonus_scale=half": ("metarm.bonus_scale", "use one of published, calibrated"),
    "metarm.lora={target_modules: [q_prj]}": ("metarm: lora.target_modules", "did you mean 'q_proj'?"),
    "metarm.lora={dropout: 0.1}": ("metarm.lora.dropout is 0.1",),
    "metarm.learning_rat=1": ("did you mean 'learning_rate'?",),
    "critique=null": ("rewards.parts.critique asks what the section `critique` sets up",),
}


@pytest.mark.parametrize("change", WRONG)
def test_what_does_not_fit_is_refused(
    change: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(console, "exit_with", leave)
    monkeypatch.chdir(config.parent)
    command = ["rlvr", "--config", str(config), "--run-dir", str(tmp_path / "run"), "--set", change]
    with pytest.raises(SystemExit) as caught:
        app(command, standalone_mode=False)
    out, err = capfd.readouterr()
    said = json.loads(out.splitlines()[-1])
    assert (caught.value.code, said["exit_code"], said["error"]) == (2, 2, "ConfigError")
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    for words in WRONG[change]:
        assert words in line
    assert not (tmp_path / "run").exists()
