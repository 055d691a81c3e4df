"""`reasrm configs` and `reasrm specs`: what ships is in the wheel, readable, and the same as in the repository."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm.protocol.spec import builtin_specs
from tests.commands import ROOT, environment, run, summary

DEMO = "reasrm demo --output runs/demo"

CONFIGS = sorted(
    path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*") if path.is_file()
)


@pytest.mark.slow
def test_configs_are_listed_printed_and_copied(tmp_path: Path) -> None:
    listed = run("configs")
    assert summary(listed)["configs"] == CONFIGS
    assert "sandbox/sft.yaml: The embedded world" in listed.stdout
    text = (ROOT / "configs/qwen2.5/sft-7b-lora-1gpu.yaml").read_text(encoding="utf-8")
    for name in ("qwen2.5/sft-7b-lora-1gpu", "configs/qwen2.5/sft-7b-lora-1gpu.yaml"):
        printed = run("configs", name)
        assert printed.stdout.startswith(text)
        assert summary(printed)["text"] == text
    copied = run("configs", "--copy", tmp_path / "configs")
    assert copied.returncode == 0
    for name in CONFIGS:
        assert (tmp_path / "configs" / name).read_bytes() == (ROOT / "configs" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["configs", "sandbox/sfy"], 2, "sandbox/sft.yaml"),
        (["configs", "sandbox/sft", "--copy", "elsewhere"], 2, "leave the name out"),
        (["configs", "--copy", "."], 2, "exists already"),
        (["specs", "rm-r1", "answers.txt"], 2, "test SPEC FILE"),
        (["specs", "test", "rm-r1"], 2, "test SPEC FILE"),
        (["specs", "test", "rm-r2", "answers.txt"], 2, "rm-r1"),
        (["specs", "test", "rm-r1", "no-such-file.txt"], 4, "no-such-file.txt"),
    ],
)
def test_refusals(words: list[str], code: int, said: str) -> None:
    done = run(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert summary(done)["exit_code"] == code


@pytest.mark.slow
def test_a_spec_is_shown_for_people_and_for_programs() -> None:
    for name in builtin_specs():
        shown = run("specs", name)
        assert summary(shown)["spec"]["name"] == name
        assert shown.stdout.startswith(f"{name} (")
        for message in summary(shown)["spec"]["messages"]:
            assert message["text"].rstrip("\n") in shown.stdout
    menu = run("specs", "arena-hard").stdout
    assert "'A>>B' → A" in menu


@pytest.mark.slow
def test_a_grammar_is_tried_on_answers(tmp_path: Path) -> None:
    texts = ["<eval>B cites more.</eval>\n<answer>[[A]]</answer>", "no idea", "<answer>[[C]]</answer>"]
    plain, lines = tmp_path / "answers.txt", tmp_path / "answers.jsonl"
    plain.write_text("\n====\n".join(texts), encoding="utf-8")
    lines.write_text("".join(json.dumps(t) + "\n" for t in texts[:2]) + json.dumps({"text": texts[2]}) + "\n")
    for path in (plain, lines):
        tried = run("specs", "test", "rm-r1", path)
        told = summary(tried)
        assert told["read"] == ["A", None, None]
        assert told["statuses"] == {"ok": 1, "no_verdict": 1, "off_menu": 1}
        assert "critique: B cites more." in tried.stdout
    scores = tmp_path / "scores.txt"
    scores.write_text("Good.\n[[7]]", encoding="utf-8")
    assert summary(run("specs", "test", "pointwise-10", scores))["read"] == [7.0]


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [("a.txt", " \n", "a.txt"), ("a.jsonl", '"x"\n7\n', "a.jsonl:2"), ("a.jsonl", '"x"\n{\n', "a.jsonl:2")],
)
def test_files_without_answers_are_refused(tmp_path: Path, name: str, text: str, place: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = run("specs", "test", "rm-r1", tmp_path / name)
    assert done.returncode == 4
    assert place in done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by pip from a copy of what it needs and installed into a folder of its own; no network."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("reasrm", "configs"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    alone = ["--no-index", "--no-deps"]
    for words in (
        ["wheel", *alone, "--no-build-isolation", "--wheel-dir", "out", "."],
        ["install", *alone, "--no-compile", "--target", "site", "--find-links", "out", "reasrm"],
    ):
        done = subprocess.run([*pip, *words], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return copy / "site"


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a command of the installed package in an empty folder, and return its summary."""
    path = os.pathsep.join([str(site / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    env = environment(PYTHONPATH=str(site), PATH=path, ACCELERATE_USE_CPU="1")

    def call(line: str) -> dict[str, Any]:
        done = subprocess.run(
            shlex.split(line), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return call


@pytest.mark.slow
def test_the_wheel_holds_every_config_once(site: Path) -> None:
    folder = site / "reasrm" / "configs"
    assert not folder.is_symlink()
    held = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert sorted(held) == CONFIGS
    for name, path in held.items():
        assert path.read_bytes() == (ROOT / "configs" / name).read_bytes()


@pytest.mark.slow
def test_the_wheel_judges_evaluates_trains_and_demonstrates_in_an_empty_folder(
    installed: Callable[..., dict[str, Any]], site: Path, tmp_path: Path
) -> None:
    assert installed("reasrm env")["package_folder"] == str(site / "reasrm")
    assert installed("reasrm configs --copy configs")["configs"] == CONFIGS
    rows = "runs/sandbox/pairs.jsonl"
    assert installed(f"reasrm sandbox pairs --rows 30 --output {rows}")["rows"] == 30
    assert installed("reasrm sandbox pairs --world english --rows 3 --output english.jsonl")["rows"] == 3
    judged = installed(f"reasrm judge --judge sandbox --input {rows} --limit 4 --output judged.jsonl")
    assert judged["rows"] == 4
    scored = installed(f"reasrm eval pairs --judge sandbox --input {rows} --limit 4 --output runs/eval")
    assert scored["suite"] == "pairs"
    installed(f"reasrm sandbox traces --input {rows} --output runs/sandbox/traces.jsonl")
    base = site / "reasrm" / "sandbox_judge" / "model"
    short = f"--set model.path={base} --set trainer.max_steps=1 --set trainer.per_device_train_batch_size=2"
    launch = "accelerate launch --config_file configs/accelerate/cpu-2.yaml --num_processes 1"
    trained = installed(
        f"{launch} -m reasrm sft --config configs/sandbox/sft.yaml --run-dir runs/sft {short}"
    )
    assert trained["steps"] == 1
    shown = installed(f"{DEMO} --config sandbox/demo-tiny")
    assert len(shown["results"]) == 9
