"""The commands of docs/sandbox.md, sft.md, rlvr.md and configs/sandbox/, in the order of these pages, cut short."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from reasrm.cli.app import app
from reasrm.config import read_settings
from tests.commands import ROOT, rows_of, timeless

pytestmark = pytest.mark.slow

# What a command gets behind its words: a base of a few steps, a training of two.
SHORT = {
    "sandbox base": ("--config", "configs/sandbox/demo-tiny.yaml"),
    "sandbox pairs": ("--rows", "30"),
    "sft": ("--set", "trainer.max_steps=2", "--set", "trainer.per_device_train_batch_size=4"),
    "rlvr": (
        *("--set", "trainer.max_steps=2", "--set", "trainer.save_steps=2", "--set", "validation.limit=2"),
        *("--set", "trainer.per_device_train_batch_size=8", "--set", "trainer.num_generations=4"),
        *("--set", "trainer.max_completion_length=8", "--set", "watch.canary=null"),
    ),
}


def commands(path: Path) -> list[list[str]]:
    """The commands of a page's shell blocks, or of a file's head."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    found = re.findall(r"^(?:# (?:  |Launch: ))?(reasrm .*)$", text, re.MULTILINE)
    return [shlex.split(line)[1:] for line in found]


def from_the_embedded_judge(words: list[str]) -> list[str]:
    """The command, but an export takes the embedded judge where the page takes the run that trains one."""
    model = str(ROOT / "reasrm" / "sandbox_judge" / "model")
    return ["export", "--model", model, "--spec", "sandbox", *words[3:]] if words[0] == "export" else words


@pytest.mark.parametrize(
    ("page", "count"), [("configs/sandbox/sft.yaml", 4), ("docs/sft.md", 5), ("docs/sandbox.md", 7)]
)
def test_every_command_runs(page: str, count: int, tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    before = commands(ROOT / "configs" / "sandbox" / "sft.yaml")[:3] if page == "docs/sft.md" else []
    lines = [words for words in commands(ROOT / page) if words[0] != "demo"]  # `make demo` is that one's test
    assert len(lines) == count
    said = []
    for words in [*before, *lines]:
        verb = words[0] if words[0] == "sft" else " ".join(words[:2])
        app([*words, *SHORT.get(verb, ())], standalone_mode=False)
        said.append(json.loads(capfd.readouterr().out.splitlines()[-1]))
    assert len(rows_of(tmp_path / "runs" / "sandbox" / "traces.jsonl")) <= 30
    if page == "docs/sandbox.md":
        assert (tmp_path / "hard.jsonl").is_file()
        traces = rows_of(tmp_path / "runs" / "smollm2" / "traces.jsonl")
        assert {row["meta"]["spec"] for row in traces} == {"english"}
        assert (tmp_path / "runs" / "sandbox" / "base" / "base.json").is_file()
    else:
        assert said[-1]["steps"] == 2
        assert said[-1]["rows"] == len(rows_of(tmp_path / "runs" / "sandbox" / "traces.jsonl"))


def test_the_way_to_rlvr_runs(tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    *before, launch = commands(ROOT / "configs" / "sandbox" / "rlvr.yaml")
    page = commands(ROOT / "docs" / "rlvr.md")
    assert [words[0] for words in page] == ["rlvr", "rlvr", "rlvr", "export"]
    assert launch == page[1]
    said = []
    for words in [*commands(ROOT / "configs" / "sandbox" / "sft.yaml"), *before, *page]:
        verb = " ".join(words[:2]) if words[0] == "sandbox" else words[0]
        app([*words, *SHORT.get(verb, ())], standalone_mode=False)
        said.append(json.loads(capfd.readouterr().out.splitlines()[-1]))
    plan, trained, again, exported = said[-4:]
    assert (plan["dry_run"], plan["rows"], trained["steps"], trained["rows"]) == (True, 30, 2, 30)
    assert timeless(trained) == timeless(again)
    assert set(trained["validation"]) == {"eval/iid/accuracy", "eval/hard/accuracy"}
    assert exported["checkpoint_step"] == trained["best"]["step"]
    assert (tmp_path / "judges" / "sandbox-rlvr" / "judge.json").is_file()


def test_every_command_of_the_demo_by_hand_finds_what_it_reads() -> None:
    section = (ROOT / "docs" / "results" / "sandbox.md").read_text(encoding="utf-8")
    there: set[str] = set()
    verbs = []
    for line in section.split("```")[1].splitlines()[1:]:
        words = shlex.split(line)[1:]
        verbs.append(words[0])
        flags = list(pairwise(words))
        given = {flag: value for flag, value in flags if flag.startswith("--")}
        sets = [value for flag, value in flags if flag == "--set"]
        config = read_settings(ROOT / given["--config"], sets) if "--config" in given else {}
        reads = [given[flag] for flag in ("--input", "--run", "--judge") if flag in given]
        reads += [config[key] for key in ("input",) if key in config]
        if "model" in config:
            reads += [config["model"]["path"], config["data"]["train"]]
            reads += config.get("validation", {}).get("splits", {}).values()
        assert set(reads) <= there, line
        there |= {given[flag] for flag in ("--output", "--run-dir") if flag in given}
        there |= {f"{config['output']}/sft.jsonl"} if words[0] == "distill" else set()
    assert verbs == [*["sandbox"] * 5, "distill", "sft", "rlvr", "export", "eval"]


def test_the_way_to_a_reward_on_critiques_runs(tmp_path: Path, monkeypatch, capfd) -> None:
    """A judge that writes critiques stands for the one that the commands before these train."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "sandbox").mkdir(parents=True)
    for name in ("base", "sft"):
        (tmp_path / "runs" / "sandbox" / name).symlink_to(ROOT / "reasrm" / "sandbox_judge" / "model")
    page = commands(ROOT / "docs" / "process-reward.md")
    assert [words[0] for words in page] == ["sandbox", "export", "judge", "metarm", "rlvr"]
    short = {
        "sandbox": ("--rows", "40"),
        "export": (),
        "judge": ("--votes", "2"),
        "metarm": ("--set", "trainer.max_steps=2"),
        "rlvr": (
            *("--set", "trainer.max_steps=2", "--set", "trainer.save_steps=2"),
            *("--set", "trainer.per_device_train_batch_size=16", "--set", "trainer.num_generations=4"),
        ),
    }
    for words in page:
        app([*from_the_embedded_judge(words), *short[words[0]]], standalone_mode=False)
        done = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert done["steps"] == 2
    assert (tmp_path / "runs" / "sandbox" / "rlvr-metarm" / "metarm" / "metarm.json").is_file()
    logged = rows_of(tmp_path / "runs" / "sandbox" / "rlvr-metarm" / "metrics.jsonl")
    assert any(line.get("metarm/routed", 0) > 0 for line in logged)
