"""docs/tutorial.md, command by command: a file of one's own, a teacher behind an endpoint, the real model trained."""

from __future__ import annotations

import ast
import csv
import inspect
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv as tables
from pyarrow import parquet

import reasrm
from tests.commands import ROOT, here, rows_of, summary
from tests.fakes import Endpoint, Reply, chat

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
ADDRESS = "http://localhost:8000/v1"
SHORT = {  # what a command gets behind its words, and how it ends
    "sft": (0, "--set", "trainer.max_steps=1", "--set", "trainer.gradient_accumulation_steps=1"),
    "judge my-judge": (3, "--limit", "1", "--max-tokens", "12"),
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def teacher(payload: dict[str, Any]) -> Reply:
    """It knows which answers of the file are good."""
    text = payload["messages"][-1]["content"]
    first = text.split("Response A: ")[1].split("Response B: ")[0].strip()
    good = {row["good"] for row in csv.DictReader(blocks("csv")[0].splitlines())}
    side = "A" if first in good else "B"
    return chat(f"<eval>\n{side} answers the question.\n</eval>\n<answer>[[{side}]]</answer>")


@pytest.mark.timeout(900)  # half a minute of one idle core; a busy machine is no failure
def test_every_command_of_the_tutorial_runs(
    smollm2: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (table,) = blocks("csv")
    Path("pairs.csv").write_text(table)
    (config,) = blocks("yaml")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    others = ["pip install '.[models]'", f"reasrm models fetch {smollm2}", "python reward.py"]
    assert [line for line in lines if line in others] == others
    said = {}
    with Endpoint(teacher) as endpoint:
        Path("distill.yaml").write_text(config.replace(ADDRESS, endpoint.base_url))
        for line in [line for line in lines if line not in others]:
            words = shlex.split(line.replace(ADDRESS, endpoint.base_url))[1:]
            name = "judge my-judge" if "my-judge" in words and words[0] == "judge" else words[0]
            code, *more = SHORT.get(name, (0,))
            done = here(*words, *more)
            assert done.returncode == code, done.stderr
            said[name] = summary(done)
    assert list(said) == ["data", "judge", "show", "distill", "sft", "export", "judge my-judge"]
    assert (said["data"]["kept"], said["judge"]["rows"], said["distill"]["sft_rows"]) == (8, 8, 16)
    assert all(row["correct"] and row["consistent"] for row in rows_of(Path("judged.jsonl")))
    assert (said["sft"]["rows"], said["export"]["merged_adapter"]) == (16, True)
    assert rows_of(Path("mine.jsonl"))[0]["judge"]["spec"] == "english"

    parquet.write_table(tables.read_csv("pairs.csv"), "pairs.parquet")
    words = next(shlex.split(line)[1:] for line in lines if " import " in line)
    other = [{"pairs.csv": "pairs.parquet", "pairs.jsonl": "other.jsonl"}.get(word, word) for word in words]
    assert here(*other).returncode == 0
    assert [row["prompt"] for row in rows_of(Path("other.jsonl"))] == [
        row["prompt"] for row in rows_of(Path("pairs.jsonl"))
    ]

    program = blocks("python")[0]
    for long, short in (
        ("max_steps=2", "max_steps=1"),
        ("max_tokens=64", "max_tokens=4"),
        ("num_generations=4", "num_generations=2"),
        ("batch_size=4", "batch_size=2"),
        ("length=32", "length=8"),
    ):
        assert program.count(long) == 1
        program = program.replace(long, short)
    Path("reward.py").write_text(program)
    trainer = runpy.run_path("reward.py")["trainer"]
    (entry,) = [entry for entry in trainer.state.log_history if "judge/coverage" in entry]
    assert (entry["step"], entry["judge/failed"]) == (1, 0)


def test_the_functions_of_the_tutorial_take_what_it_gives_them() -> None:
    called = []
    for node in ast.walk(ast.parse(blocks("python")[1])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            taken = inspect.signature(getattr(reasrm, node.func.attr))
            taken.bind(*node.args, **{str(key.arg): key.value for key in node.keywords})
            called.append(node.func.attr)
    assert sorted(called) == ["distil", "evaluate", "export_judge", "train"]
