"""`reasrm configs` and `reasrm specs`: what ships is in the wheel, readable, and the same as in the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reasrm.protocol.spec import builtin_specs
from tests.commands import ROOT, run, summary

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


@pytest.mark.slow
def test_the_wheel_holds_every_config_once(tmp_path: Path) -> None:
    """Some seconds: the wheel is built by the project's own backend, from a copy of what it needs."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("reasrm", "configs"):
        shutil.copytree(
            ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('out'))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(tmp_path / "out" / built.stdout.splitlines()[-1]) as wheel:
        names = wheel.namelist()
        prefix = "reasrm/configs/"
        assert sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix)) == CONFIGS
        for name in CONFIGS:
            assert wheel.read(prefix + name) == (ROOT / "configs" / name).read_bytes()
        wheel.extractall(tmp_path / "site")
    listed = subprocess.run(
        [sys.executable, "-m", "reasrm", "configs"],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(listed.stdout.splitlines()[-1])["configs"] == CONFIGS
