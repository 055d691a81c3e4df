"""The demo from end to end, in small: every stage for real, nothing learnt."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from contextlib import contextmanager

import pytest

from reasrm.cli.distill import open_setup
from reasrm.demo import stages
from reasrm.demo.config import DemoConfig
from reasrm.demo.run import run_demo
from reasrm.demo.stages import distill_config_of, make_traces, write_pairs
from reasrm.errors import ConfigError
from reasrm.judging.judge import open_judge
from reasrm.protocol.spec import load_spec
from reasrm.world.pairs import World
from tests.commands import ENVELOPE, ROOT, rows_of, summary
from tests.commands import here as run
from tests.refusals import refused

pytestmark = pytest.mark.slow

CONFIG = ROOT / "configs" / "sandbox" / "demo-tiny.yaml"
GOLDEN = "77ccc104747b652e5c512ac2603c158fd734bb5f96f54e2ce50455e24f64bd80"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "runs" / "demo"
    result = run("demo", "--config", CONFIG, "--output", folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_every_stage_leaves_what_the_next_one_reads(demo):
    folder, result = demo
    said = summary(result)
    assert set(said) >= ENVELOPE
    assert said.items() >= json.loads((folder / "summary.json").read_bytes()).items()
    assert {(row["judge"], row["split"]) for row in said["results"]} == {
        (judge, split) for judge in ("base", "SFT", "SFT+RLVR") for split in ("iid", "ood", "hard")
    }
    for row in said["results"]:
        assert row["coverage"]["n"] == 6
        assert len(rows_of(ROOT / row["folder"] / "judgments.jsonl")) == 6
    assert len(rows_of(folder / "sft.jsonl")) == 16
    kept, rejected = rows_of(folder / "traces.jsonl"), rows_of(folder / "traces.distill" / "rejected.jsonl")
    assert len(kept) + len(rejected) == 30
    assert all(row["reason"] for row in rejected)
    assert open_judge(said["judge"]).spec.name == "sandbox"
    assert "10 judged rows" in result.stderr or "6 judged rows" in result.stderr
    assert "held-out domain" in result.stderr


def test_the_demos_traces_are_those_of_its_distill_config(demo, tmp_path):
    folder, first = demo
    config = folder / "traces.distill.yaml"
    assert f"reasrm distill --config {config}" in first.stderr
    again = run("distill", "--config", config, "--set", f"output={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "sft.jsonl").read_bytes() == (folder / "traces.jsonl").read_bytes()


def test_the_card_of_the_demos_judge_gives_its_numbers(demo):
    folder, _ = demo
    card = (folder / "judge" / "README.md").read_text()
    for line in ("| `sft` | run `sft`, step 4, seed 0 |", "| `rlvr` | run `rlvr`, step 2, seed 0 |"):
        assert f"\n{line}" in card
    assert re.search(r"^Made from: `base-\w+` → `sft` on 16 rows → `rlvr` on 16 rows\.$", card, re.MULTILINE)
    for split in ("iid", "ood", "hard"):
        assert f"\n| `pairs` on `{split}.jsonl` (" in card
    assert "{}" not in card


def test_a_finished_demo_is_not_done_again(demo):
    folder, first = demo
    again = run("demo", "--config", CONFIG, "--output", folder)
    assert again.returncode == 0, again.stderr
    assert summary(again)["results"] == summary(first)["results"]
    assert "nothing is left to do" in again.stderr


def test_another_demo_in_the_folder_moves_aside(demo, tmp_path):
    folder, _ = demo
    copy = tmp_path / "demo"
    shutil.copytree(folder, copy)
    (copy / "demo.json").write_text("{}")
    result = run("demo", "--config", CONFIG, "--output", copy)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "demo.old-1" / "summary.json").is_file()


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    result = run("demo", "--config", CONFIG, "--output", tmp_path)
    assert result.returncode == 2
    assert "holds no demo, but other files: 'thesis.tex'" in summary(result)["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_teacher_that_was_stopped_teaches_nothing(tmp_path, monkeypatch):
    """And one that goes on teaches what every demo of this configuration ever learnt from: measured numbers stand."""
    config, spec = DemoConfig(), load_spec("sandbox")
    pairs = write_pairs(World().pairs("train", 40), tmp_path / "pairs.jsonl")

    @contextmanager
    def stopping(label):
        yield lambda progress: os.kill(os.getpid(), signal.SIGTERM) if progress.answers == 7 else None

    with monkeypatch.context() as patch:
        patch.setattr(stages, "distilling_progress", stopping)
        with pytest.raises(KeyboardInterrupt):
            make_traces(config, spec, pairs, tmp_path / "traces.jsonl")
    assert not (tmp_path / "traces.jsonl").exists()
    assert 7 <= len(rows_of(tmp_path / "traces.distill" / "calls.jsonl")) < 40
    kept = make_traces(config, spec, pairs, tmp_path / "traces.jsonl")
    assert (kept.kept, kept.reasons) == (36, {"wrong_verdict": 3, "no_verdict": 1})
    learnt = [[row[key] for key in ("id", "prompt", "completion")] for row in rows_of(kept.output)]
    digest = hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()
    assert digest == GOLDEN


def test_traces_under_a_spec_of_ones_own(tmp_path):
    """Its config names a file that holds the spec, so that `reasrm distill` goes by the same one."""
    spec = load_spec("sandbox")
    mine = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"max_tokens": 77})})
    pairs = write_pairs(World().pairs("train", 4), tmp_path / "pairs.jsonl")
    kept = make_traces(DemoConfig(), mine, pairs, tmp_path / "traces.jsonl")
    assert {row["meta"]["spec_hash"] for row in rows_of(kept.output)} == {mine.hash}
    with open_setup(distill_config_of(tmp_path / "traces.jsonl")) as setup:
        assert setup.spec == mine


def test_a_trainer_argument_that_trl_does_not_know_costs_no_base(tmp_path):
    with refused(ConfigError, "'learning_rate'"):
        run_demo(tmp_path / "out", DemoConfig(trainer={"learning_rat": 0.1}))
    assert not (tmp_path / "out").exists()


def test_a_misspelt_key_is_named(tmp_path):
    config = tmp_path / "demo.yaml"
    config.write_text("teacher: {eror_rate: 0.1}\n")
    result = run("demo", "--config", config, "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "did you mean 'error_rate'" in summary(result)["message"]
    assert not (tmp_path / "out").exists()
