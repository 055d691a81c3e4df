"""The commands in the heads of configs/smollm2/, in their order, on a tiny model in the place of the real one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.commands import ROOT, here, rows_of, summary, write_rows
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow

_STEP = ("--set", "trainer.max_steps=1", "--set", "trainer.save_steps=1")
SHORT = {
    "sandbox": ("--rows", "12"),
    "sft": ("--set", "data.limit=8", "--set", "trainer.num_train_epochs=1"),
    "rlvr": _STEP,
    "metarm": ("--dry-run",),  # random weights write no critique that it could learn from
    "judge": ("--limit", "1"),
}


def commands(name: str) -> list[list[str]]:
    """The commands of a config's head; fetching the model has tests of its own."""
    text = (ROOT / "configs" / "smollm2" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = re.findall(r"^# (?:\w+:)? +(reasrm .*)$", text, re.MULTILINE)
    return [words for line in lines if (words := shlex.split(line)[1:])[0] != "models"]


def test_every_command_of_the_heads_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    build_tiny_model(
        tmp_path / "smollm2", context=4096
    )  # a folder of that name comes before the fetched model
    write_rows(tmp_path / "rows.jsonl", 1)
    heads = {
        name: commands(name) for name in ("distill", "sft", "sft-lora", "rlvr", "rlvr-critique", "metarm")
    }
    assert [len(head) for head in heads.values()] == [2, 3, 3, 4, 4, 4]
    done: list[list[str]] = []
    for head in heads.values():
        for words in head:
            if words in done:  # two stages read the same pairs
                continue
            done.append(words)
            (tmp_path / "judged.jsonl").unlink(missing_ok=True)
            ran = here(*words, *SHORT.get(words[0], ()))
            assert ran.returncode in ((0, 3) if words[0] == "judge" else (0,)), ran.stderr
            if words[0] in ("sft", "rlvr"):
                assert summary(ran)["steps"] == 1
            if words[0] == "judge":
                (row,) = rows_of(tmp_path / words[words.index("--output") + 1])
                assert len(row["judgments"]) == (4 if "--votes" in words else 2)
