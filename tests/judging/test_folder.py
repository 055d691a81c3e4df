"""A judge folder is what was exported, or it is refused by name, or opened as changed and said so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reasrm import files
from reasrm.errors import ConfigError, InputError
from reasrm.files import file_sha256, remembered_sha256
from reasrm.generation.checkpoint import Checkpoint
from reasrm.judging import judge as judging
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.protocol.spec import load_spec
from reasrm.training.stage.models import find_model
from tests.commands import rows_of, run, summary, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded judge."""
    return shutil.copytree(judging._EMBEDDED, tmp_path / "judge")


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model" / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model" / "model.safetensors").write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "prompt": (
        lambda f: edit(f, "judge.json", "judge\\n{{ prompt }}", "judge!\\n{{ prompt }}"),
        "spec was edited",
    ),
    "grammar": (lambda f: edit(f, "judge.json", '"tag": "answer"', '"tag": "eval"'), "spec was edited"),
    "weights": (flip_a_bit, "model/model.safetensors was edited"),
    "template": (
        lambda f: edit(f, "model/chat_template.jinja", "{", " {"),
        "model/chat_template.jinja was edited",
    ),
    "config": (lambda f: edit(f, "model/config.json", "{", "{ "), "model/config.json was edited"),
    "tokenizer": (lambda f: (f / "model/tokenizer.json").unlink(), "model/tokenizer.json is gone"),
    "addition": (
        lambda f: (f / "model/added_tokens.json").write_text("{}"),
        "model/added_tokens.json was added",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_by_name_and_taken_only_on_demand(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = open_judge(str(folder))
    assert (whole.changed, "changed" in whole.label, "changed" in whole.identity) == ((), False, False)
    change, said = CHANGES[name]
    change(folder)
    with pytest.raises(InputError, match=f"{said}.*--allow-changed") as caught:
        open_judge(str(folder))
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == 4
    judge = open_judge(str(folder), allow_changed=True)
    assert said in judge.label["changed"]
    assert [said in change for change in judge.identity["changed"]] == [True]
    assert said in caplog.text
    if "spec" not in said:
        with pytest.raises(InputError, match=said):
            find_model(str(folder))


def test_hidden_files_and_the_card_are_nobodys_business(folder: Path) -> None:
    (folder / "model" / ".cache").mkdir()
    (folder / "model" / ".cache" / "x.json").write_text("{}")
    (folder / "README.md").write_text("My judge.")
    assert open_judge(str(folder)).changed == ()


def test_the_spec_of_a_changed_folder_is_refused_for_other_models_too(folder: Path) -> None:
    edit(folder, "judge.json", "judge\\n{{ prompt }}", "judge!\\n{{ prompt }}")
    with pytest.raises(InputError, match="spec was edited"):
        load_spec(str(folder))
    with pytest.raises(InputError, match="spec was edited"):
        open_judge("replay", spec=str(folder))
    assert open_judge("replay", spec=str(folder), allow_changed=True).changed == ("the spec was edited",)


def test_older_folders_are_opened_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    identity = json.loads((folder / "judge.json").read_text())
    (folder / "judge.json").write_text(json.dumps({k: v for k, v in identity.items() if k != "files"}))
    assert open_judge(str(folder)).changed == ()
    assert "no hashes of its tokenizer and config" in caplog.text
    flip_a_bit(folder)
    with pytest.raises(InputError, match=r"model\.safetensors was edited"):
        open_judge(str(folder))


def test_a_hash_of_a_file_elsewhere_is_refused(folder: Path) -> None:
    edit(folder, "judge.json", '"config.json":', '"../judge.json":')
    with pytest.raises(InputError, match="outside the folder"):
        open_judge(str(folder), allow_changed=True)


@pytest.mark.slow
def test_the_command_ends_with_4_or_says_it_in_every_row(folder: Path, tmp_path: Path) -> None:
    flip_a_bit(folder)
    rows, output = write_rows(tmp_path / "rows.jsonl", 1), tmp_path / "out.jsonl"
    arguments = ("judge", "--judge", folder, "--input", rows, "--output", output, "--quiet")
    assert run(*arguments).returncode == 4
    done = run(*arguments, "--allow-changed")
    assert summary(done)["judge_changed"] == ["model/model.safetensors was edited"]
    assert [row["judge"]["changed"] for row in rows_of(output)] == ["model/model.safetensors was edited"]


def test_a_large_file_is_hashed_once_per_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_LARGE", 4)
    read: list[str] = []

    def counting(path: str) -> str:
        read.append(str(path))
        return file_sha256(path)

    monkeypatch.setattr(files, "file_sha256", counting)
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(b"weights")
    wanted = file_sha256(one)
    assert [remembered_sha256(path) for path in (one, one, other, other, one)] == [wanted] * 5
    assert read == [str(one), str(other)]
    before = one.stat()
    one.write_bytes(b"weight5")
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_sha256(one) == file_sha256(one) != wanted, "setting the time back hides nothing"
    small = tmp_path / "small"
    small.write_bytes(b"x")
    for _ in range(2):
        remembered_sha256(small)
    assert read[2:] == [str(one), str(small), str(small)]
    for kept in (tmp_path / "cache").rglob("*"):
        if kept.is_file():
            kept.write_text("rubbish")
    assert remembered_sha256(other) == wanted
    for place in (str(tmp_path / "small" / "no"), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        monkeypatch.setenv("HOME", str(tmp_path / "small"))
        assert remembered_sha256(other) == wanted, "nothing can be kept there"


def test_a_folder_without_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    model = folder / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).unlink()
    with pytest.raises(ConfigError, match=r"no tokenizer.*copy the tokenizer's files"):
        Checkpoint(str(model)).load("AutoTokenizer")
    rows = JudgeInput([write_rows(tmp_path / "rows.jsonl", 1)])
    judge = open_judge(str(model), spec="sandbox")
    with pytest.raises(ConfigError, match="no tokenizer"):
        judge_file(judge, rows, tmp_path / "out.jsonl")
