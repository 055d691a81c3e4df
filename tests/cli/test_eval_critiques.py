"""`reasrm eval` on rows with critiques, as docs/evaluation.md says it: a model reads the critiques, once."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT, rows_of, summary, write_rows
from tests.commands import here as run
from tests.fakes import Endpoint, Reply, chat

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ARGUMENT = {"about": "B", "stance": "against", "text": "The response is too short.", "fatal": False}


def answers(payload: dict[str, Any]) -> Reply:
    """An extractor that finds one argument in any critique, and a judge that likes what it sees first."""
    if "core arguments" in payload["messages"][0]["content"]:
        return chat(json.dumps([ARGUMENT]))
    return chat("<eval>Chatbot B is too short.</eval>\n<answer>[[A]]</answer>")


def documented(folder: Path, url: str) -> tuple[list[str], Path]:
    """The documented command on files of this test, and its output folder."""
    (folder / "critiques.yaml").write_text(
        re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0].replace("http://localhost:8000/v1", url)
    )
    (line,) = [line for line in PAGE.splitlines() if "--critiques critiques.yaml" in line]
    rows = write_rows(folder / "rows.jsonl", 3, critique="Response B is much too short.")
    names = {"rows.jsonl": rows, "critiques.yaml": folder / "critiques.yaml", "runs/mine": folder / "mine"}
    words = shlex.split(line.replace("http://localhost:8000/v1", url))
    return [str(names.get(word, word)) for word in words[1:]], folder / "mine"


def test_the_documented_command_and_again(tmp_path: Path) -> None:
    with Endpoint(answers) as endpoint:
        command, out = documented(tmp_path, endpoint.base_url)
        first, again = run(*command), run(*command)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    said, stored = summary(first), json.loads((out / "result.json").read_bytes())
    assert all(said[key] == value for key, value in stored.items() if key != "critique_costs")
    # In the row's order the critique is the reference's; shown the other way it faults the other response.
    metrics = {name: estimate["value"] for name, estimate in said["metrics"].items()}
    assert (metrics["critique_f1"], metrics["inconsistency"], metrics["critique_coverage"]) == (0.5, 0, 1)
    assert said["policy"]["critiques"]["extractor"] == "model"
    assert "critique_f1" in first.stderr
    assert "critiques: extractor = model, similarity = rouge_l, threshold = 0.4" in first.stderr
    assert len(rows_of(out / "critiques.jsonl")) == 6
    # One text of the judge and one reference, each asked once, and nothing the second time.
    assert said["critique_costs"]["extractor"]["calls"] == 2
    assert summary(again)["critique_costs"]["extractor"]["calls"] == 0
    assert summary(again)["metrics"] == said["metrics"]
    assert {path.name for path in out.iterdir()} >= {"critique-replies", "critiques.jsonl", "result.json"}


def test_a_section_that_cannot_work_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 1, critique="Response B is too short.")
    section = tmp_path / "critiques.yaml"
    section.write_text("least_f2: 0.5\n")
    args = ["--judge", "openai:x@http://127.0.0.1:9/v1", "--input", rows, "--output", tmp_path / "out"]
    result = run("eval", "pairs", *args, "--critiques", section)
    assert result.returncode == 2
    assert "least_f2" in result.stderr
    assert "least_f1" in result.stderr
    assert not (tmp_path / "out").exists()
    section.write_text(f"similarity: sentence_encoder\nencoder: {tmp_path}\n")
    result = run("eval", "pairs", *args, "--critiques", section)
    assert (result.returncode, "has no weights" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
