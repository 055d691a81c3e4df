"""What docs/rubrics.md tells a user to type about writing, judging under rubrics and training a writer runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.distillation.config import DistillConfig
from reasrm.rubrics.config import Checks
from reasrm.training.rlvr.config import ComparisonSection
from reasrm.world.config import WorldConfig
from tests.commands import ROOT, here, rows_of, summary, write_rows
from tests.fakes import Endpoint, Reply, chat
from tests.training.stages import SANDBOX_MODEL

PAGE = (ROOT / "docs" / "rubrics.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """A section of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def commands(title: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for block in blocks(title, "sh") for line in block.splitlines()]


def answer(payload: dict[str, Any]) -> Reply:
    """A writer and a judge in one."""
    writes = payload["messages"][0]["content"].startswith("You write the rubric")
    rubric = "1. The response says yes. [Hard Rule]"
    return chat(rubric if writes else "--- Analysis ---\n-\n--- Final Judgment ---\nWinner: Response A")


@pytest.mark.slow
def test_the_documented_ways_of_writing_and_judging_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(Path("rows.jsonl"), 2)
    with Endpoint(answer) as endpoint:
        model = f"openai:m@{endpoint.base_url}"
        names = {"writer": model, "judge": model, "write:writer": f"write:{model}"}
        for words in commands("Writing") + commands("Judging under rubrics"):
            verb, flags = words[:2] if words[0] in ("rubrics", "eval") else words[:1], words
            typed = [names.get(word, word) if n >= len(verb) else word for n, word in enumerate(flags)]
            typed = [word.replace("http://localhost:8000/v1", endpoint.base_url) for word in typed]
            result = here(*typed)
            assert result.returncode == 0, (words, result.stderr)
    (shown,) = map(json.loads, blocks("Writing", "json"))
    line = rows_of(Path("pair-rubrics.jsonl"))[0]
    assert set(line) - {"row_digest", "crc32"} == set(shown)
    assert set(line["provenance"]) == set(shown["provenance"])
    one, other = (rows_of(Path(f"{name}-rubrics.jsonl")) for name in ("pair", "swapped"))
    assert {row["id"]: row["order"] for row in one} != {row["id"]: row["order"] for row in other}


@pytest.mark.slow
def test_the_documented_way_with_own_pairs_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(Path("pairs.jsonl"), 3)
    write_rows(Path("test.jsonl"), 2)
    rubric = "1. The response says yes. [Hard Rule]"

    def every(payload: dict[str, Any]) -> Reply:
        prompt = payload["messages"][-1]["content"]
        if payload["model"] != "my-judge":
            return chat(rubric)
        right = "A" if prompt.rfind("yes") < prompt.rfind("no") else "B"
        written = "--- Final Judgment ---" in payload["messages"][0]["content"]
        said = f"--- Analysis ---\n-\n--- Final Judgment ---\nWinner: Response {right}"
        return chat(said if written else f"<answer>[[{right}]]</answer>")

    with Endpoint(every) as endpoint:
        said = []
        for words in commands("Your own pairs"):
            result = here(*(word.replace("http://localhost:8000/v1", endpoint.base_url) for word in words))
            assert result.returncode == 0, (words, result.stderr)
            said.append(summary(result))
            if len(said) == 1:
                assert endpoint.calls == []
    planned, made, written, none, arm, report = said
    assert (planned["outcome"], made["rows"], made["writer_rows"]) == ("planned", {"kept": 3}, 3)
    assert (written["written"], report["num_rubrics"], report["saw_own_labels"]["value"]) == (2, 2, 0.0)
    assert [one["headline"]["accuracy"] for one in (none, arm)] == [1.0, 1.0]
    assert here("configs", "rubrics/openrubrics").returncode == 0


def test_the_documented_keys_are_read():
    (checks,) = map(yaml.safe_load, blocks("Synthesis", "yaml"))
    assert Checks.model_validate(checks["checks"]).relate is not None
    distill, rlvr = map(yaml.safe_load, blocks("Training under rubrics", "yaml"))
    assert set(distill) <= set(DistillConfig.model_fields)
    assert ComparisonSection.model_validate(rlvr["data"]).rubrics == "rubrics.jsonl"


@pytest.mark.slow
def test_the_documented_way_from_rows_to_a_writer_and_a_judge_under_its_rubrics_runs(tmp_path, monkeypatch):
    """Four rows are learned by heart, so that the writer's rubrics are the world's own."""
    monkeypatch.chdir(tmp_path)
    assert WorldConfig().principle_share > 0
    Path("runs/sandbox").mkdir(parents=True)
    pairs, sft, export, write, judge, _ = commands("Training a writer")
    pairs[pairs.index("--rows") + 1] = "4"
    assert here(*pairs).returncode == 0
    (snippet,) = blocks("Training a writer", "python")
    exec(compile(snippet, "docs/rubrics.md", "exec"), {})  # noqa: S102 - our own page
    sft[sft.index("--config") + 1] = str(ROOT / sft[sft.index("--config") + 1])
    short = {"model.path": SANDBOX_MODEL, "trainer.max_steps": 30, "trainer.learning_rate": 2e-3}
    short |= {"trainer.per_device_train_batch_size": 4, "trainer.lr_scheduler_type": "constant"}
    for name, value in short.items():
        sft += ["--set", f"{name}={value}"]
    for words in (sft, export, write, judge):
        result = here(*words)
        assert result.returncode == 0, (words, result.stderr)
    assert summary(result)["rubrics"] == {"with": 4, "without": 0}
    taught = [row["completion"][0]["content"] for row in rows_of(Path("runs/sandbox/writer-sft.jsonl"))]
    written = [
        "\n".join(f"{c['text']}" for c in row["criteria"])
        for row in rows_of(Path("runs/sandbox/rubrics.jsonl"))
    ]
    learned = ["\n".join(re.findall(r"^\d+\. (.*?) \[", text, re.MULTILINE)) for text in taught]
    assert sorted(written) == sorted(set(learned))
    refused = here(
        "judge", "--judge", "runs/sandbox/writer", "--input", "runs/sandbox/pairs.jsonl", "--output", "x"
    )
    assert refused.returncode == 2
    card = Path("runs/sandbox/writer/README.md").read_text()
    assert "reasrm rubrics write --writer . --input rows.jsonl" in card
