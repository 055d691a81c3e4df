"""What is seen of a run: numbers by hand, alarms, samples, the canary, validation, the best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasrm.export.source import from_run
from reasrm.generation.hf import HFBackend
from reasrm.judging.aggregate import RowResult
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.intervals import wilson
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Judgment, Message, Order, ParseStatus, Verdict
from reasrm.rewards.advantages import compute_advantages
from reasrm.rewards.base import Rollout
from reasrm.rewards.build import Scored
from reasrm.rewards.config import AdvantageSection
from reasrm.sources.importing import pair_to_json
from reasrm.training.rlvr.config import Alarm, load_rlvr_stage
from reasrm.training.rlvr.stage import train
from reasrm.training.rlvr.validation import accuracy_interval
from reasrm.training.rlvr.watch import Alarms, describe_batch, describe_verdicts, sample_record
from reasrm.training.stage.listening import Listener
from reasrm.world.pairs import World
from tests.commands import rows_of
from tests.training.stages import SANDBOX_MODEL, preference, write_rlvr_stage

pytestmark = pytest.mark.slow


def rollout(
    group: str, said: str | None, text: str, tokens: int, *, target: str = "A", subset: str | None = None
) -> Rollout:
    """A judgment in the words of a test; `said` None was cut off."""
    comparison = Comparison(
        id=group,
        prompt=(Message("user", "q"),),
        response_a="yes",
        response_b="no",
        target=Verdict(target),  # type: ignore[arg-type]
        subset=subset,
    )
    judgment = Judgment(
        text=text,
        verdict=None if said is None else Verdict(said),  # type: ignore[arg-type]
        status=ParseStatus.TRUNCATED if said is None else ParseStatus.OK,
        critique=text if text.startswith("because") else None,
    )
    return Rollout(comparison, judgment, group, tokens)


BATCH = [
    rollout("p", "A", "because", 10, subset="easy"),
    rollout("p", "A", "because", 12, subset="easy"),
    rollout("p", "B", "bare", 14, subset="easy"),
    rollout("p", None, "cut", 30, subset="easy"),
    rollout("q", "A", "bare", 8, target="B", subset="hard"),
    rollout("q", "A", "because", 9, target="B", subset="hard"),
    rollout("q", "A", "bare", 8, target="B", subset="hard"),
    rollout("q", "A", "because it is", 5, target="B", subset="hard"),
]
REWARDS: list[float | None] = [1.0, 1.0, -1.0, None, -1.0, -1.0, -1.0, -1.0]


def test_the_numbers_of_a_batch_by_hand() -> None:
    scored = Scored(REWARDS, {"outcome": REWARDS, "silent": [None] * 8})
    advantages = compute_advantages(scored.array(), [r.group for r in BATCH], AdvantageSection())
    numbers = describe_batch(BATCH, scored, advantages, has_critique=True)
    known = [1, 1, -1, -1, -1, -1, -1]
    assert numbers == pytest.approx(
        {
            "rollouts/accuracy": 2 / 8,
            "rollouts/accuracy/easy": 2 / 4,
            "rollouts/accuracy/hard": 0.0,
            "rollouts/coverage": 7 / 8,
            "rollouts/status/truncated": 1 / 8,
            "rollouts/share_a": 6 / 7,
            "rollouts/no_evaluation": 3 / 7,
            "rollouts/tokens": 96 / 8,
            "rollouts/tokens_max": 30,
            "rollouts/duplicates": 2 / 8,  # one more "because" of p, one more "bare" of q
            "reward/mean": -3 / 7,
            "reward/std": float(np.std(known, ddof=1)),
            "reward/outcome/mean": -3 / 7,
            "reward/outcome/std": float(np.std(known, ddof=1)),
            "reward/abstaining": 1 / 8,
            "groups/dead": 1 / 2,
            "advantages/outliers": 0.0,
        }
    )
    deviation = float(np.std([1, 1, -1], ddof=1)) + 1e-4
    record = sample_record(7, BATCH[2], scored, advantages, 2)
    assert record == {
        "step": 7,
        "id": "p",
        "order": "AB",
        "target": "A",
        "verdict": "B",
        "status": "ok",
        "reward": -1.0,
        "parts": {"outcome": -1.0, "silent": None},
        "num_tokens": 14,
        "text": "bare",
        "advantage": pytest.approx((-1 - 1 / 3) / deviation),
    }


def test_a_share_over_nothing_is_left_out() -> None:
    numbers = describe_verdicts([rollout("p", None, "cut", 30)], "eval/x")
    assert numbers == {"eval/x/accuracy": 0.0, "eval/x/coverage": 0.0, "eval/x/status/truncated": 1.0}


def test_the_two_orders_of_a_pair_are_no_independent_trials() -> None:
    said = {"p": "A", "q": "A", "r": "B", "s": "A"}  # in both orders
    orders = [rollout(pair, verdict, "because", 1) for pair, verdict in said.items() for _ in "ab"]
    assert accuracy_interval(orders, 0) == replace(wilson(3, 4), n=8)


def test_an_alarm_sounds_once_per_streak() -> None:
    low, high = Alarm(metric="x", below=0.5, patience=2), Alarm(metric="kl", above=1.0, patience=1)
    alarms = Alarms([low, high])

    def sounding(**numbers: Any) -> list[tuple[str, float]]:
        return [(alarm.metric, value) for alarm, value in alarms.check(numbers)]

    assert [sounding(x=value) for value in (0.4, 0.4, 0.4, 0.5, 0.1)] == [[], [("x", 0.4)], [], [], []]
    assert sounding(kl=2.0) == [("kl", 2.0)]  # and x, not among the numbers, keeps its streak
    assert sounding(x=0.2, kl=None) == [("x", 0.2)]
    assert sounding(kl=1.0) == []
    ((name, value),) = sounding(kl=math.nan)
    assert name == "kl"
    assert math.isnan(value)
    other = Alarms([Alarm(metric="new", above=0), low])
    other.resume(alarms.streaks())
    assert other.check({"x": 0.1, "new": -1}) == []  # the third in a row
    assert sorted(other.streaks().values()) == [0, 3]


def run(
    config: Path, name: str, *overrides: str, resume: bool = False
) -> tuple[dict[str, Any], list[str], Path]:
    """Train; return the summary, what was said, and the folder."""
    said: list[str] = []
    folder = config.parent / name
    listener = Listener(say=said.append)
    summary = train(load_rlvr_stage(config, overrides), str(config), folder, resume=resume, listener=listener)
    return summary, [text for text in said if "encoding" not in text], folder


def alarm(**named: Any) -> Mapping[str, Any]:
    return {"alarms": [named], "canary": None}


def test_an_alarm_stops_training_where_nothing_is_lost(tmp_path: Path) -> None:
    """It sounds after step 1; step 2 is learned from the same rollouts, and the checkpoint comes after it."""
    watch = alarm(metric="kl", above=-1.0, patience=1, action="stop")
    config = write_rlvr_stage(
        tmp_path, watch=watch, trainer={"num_iterations": 2, "max_steps": 6, "beta": 0.1, "save_steps": 6}
    )
    summary, said, folder = run(config, "run")
    assert said == ["alarm at step 1: kl is 0, above -1.0"]
    assert summary["steps"] == 2
    assert Path(summary["checkpoint"]).name == "checkpoint-2"
    assert [row["step"] for row in rows_of(folder / "metrics.jsonl")] == [1, 2, 2]
    summary, said, _ = run(config, "run", resume=True)  # whoever goes on has been warned
    assert (summary["steps"], said) == (6, [])


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str], Path]:
    """The sandbox judge, trained for three steps, validated on two splits."""
    folder = tmp_path_factory.mktemp("validated")
    for split, count in (("iid", 8), ("hard", 4)):
        rows = [pair_to_json(pair) for pair in World().pairs(split, count)]  # type: ignore[arg-type]
        write_rlvr_stage(folder, pairs=rows)
        (folder / "pairs.jsonl").rename(folder / f"{split}.jsonl")
    config = write_rlvr_stage(
        folder,
        pairs=[pair_to_json(pair) for pair in World().pairs("train", 4)],
        model={"path": str(SANDBOX_MODEL)},
        validation={
            "splits": {name: str(folder / f"{name}.jsonl") for name in ("iid", "hard")},
            "every": 2,
            "batch_size": 3,
        },
        selection={"split": "iid"},
        watch={"samples": 3, "samples_every": 2, "canary": {"rows": 2, "every": 2}},
        trainer={"max_steps": 3, "max_completion_length": 80, "learning_rate": 1e-4, "save_steps": 1},
    )
    return run(config, "run")


def test_validation_is_what_judging_measures(validated: tuple[dict[str, Any], list[str], Path]) -> None:
    """The accuracy of the best checkpoint is that of a judge made of it: same rows, same orders, greedy."""
    summary, _, folder = validated
    source = from_run(folder)
    spec = load_spec("sandbox")
    judge = Judge(spec=source.spec, backend=HFBackend(source.model.path, device="cpu"))
    assert source.spec.hash == spec.hash
    options = JudgingOptions(orders="random", seed=0, sampling=judge.sampling())
    step = source.provenance.step if source.provenance else None
    (logged,) = (
        row for row in rows_of(folder / "metrics.jsonl") if row["step"] == step and "eval/iid/accuracy" in row
    )
    for split, count in (("iid", 8), ("hard", 4)):
        rows = list(World().pairs(split, count))  # type: ignore[arg-type]
        results = list(judge.judge(rows, options))
        right = sum(isinstance(result, RowResult) and result.correct is True for result in results)
        interval = wilson(right, count)
        assert logged[f"eval/{split}/accuracy"] == right / count
        assert logged[f"eval/{split}/accuracy_low"] == interval.ci_low
        assert logged[f"eval/{split}/accuracy_high"] == interval.ci_high
    assert 0 < logged["eval/iid/accuracy"] <= 1
    assert summary["best"]["score"] == logged["eval/iid/accuracy"]


def test_validation_comes_first_in_between_and_last(
    validated: tuple[dict[str, Any], list[str], Path],
) -> None:
    """And the numbers of a step stay its own where it is validated, too."""
    _, _, folder = validated
    rows = rows_of(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if "eval/hard/accuracy" in row] == [0, 2, 3]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    canary = rows_of(folder / "canary.jsonl")
    assert [row["step"] for row in canary] == [0, 0, 2, 2, 3, 3]
    assert {row["id"] for row in canary} == {"hard-0", "hard-1"}  # of the first split
    assert all(row["readable"] == (row["status"] == "ok") and row["text"] for row in canary)
    samples = rows_of(folder / "samples.jsonl")
    assert [row["step"] for row in samples] == [1, 1, 1, 3, 3, 3]
    assert all(set(row["parts"]) == {"outcome", "brevity"} for row in samples)
    assert all(row["reward"] == pytest.approx(sum(row["parts"].values())) for row in samples)
    assert all(row["order"] in (Order.AB, Order.BA) for row in samples)


def test_the_best_checkpoint_stays_and_is_the_result(tmp_path: Path) -> None:
    """Nothing is ever read, so the first validated step stays best; it outlives rotation, and export takes it."""
    held_out = tmp_path / "held-out.jsonl"
    write_rlvr_stage(tmp_path, pairs=[preference(n) for n in range(10, 13)])
    (tmp_path / "pairs.jsonl").rename(held_out)
    config = write_rlvr_stage(
        tmp_path,
        validation={"splits": {"held_out": str(held_out)}, "every": 1, "orders": "both"},
        selection={"patience": 3},
        watch={"canary": None, "alarms": []},
        trainer={"max_steps": 9, "save_steps": 1},
    )
    summary, _, folder = run(config, "run")
    assert summary["steps"] == 4  # three validations without a better one
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        f"checkpoint-{n}" for n in (1, 3, 4)
    }
    (best,) = rows_of_json(folder / "best.json")
    assert best == {"step": 1, "score": 0.0, "splits": ["held_out"], "validations_since": 3, "start": 0.0}
    assert Path(summary["checkpoint"]).name == "checkpoint-1"
    source = from_run(folder)
    assert source.provenance is not None
    assert source.provenance.step == 1
    (logged,) = (row for row in rows_of(folder / "metrics.jsonl") if row["step"] == 0)
    assert "eval/held_out/consistency" not in logged  # of pairs readable in both orders, and there are none
    again, said, _ = run(config, "run", resume=True)
    assert said == [f"{folder} is finished; nothing is left to do"]
    assert again == summary


def rows_of_json(path: Path) -> list[dict[str, Any]]:
    import orjson

    return [orjson.loads(path.read_bytes())]
