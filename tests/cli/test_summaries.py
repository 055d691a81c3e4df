"""The last line of stdout has one shape under every verb, whether it did its work or refused; and one headline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from reasrm.cli.app import app
from reasrm.metrics.intervals import wilson
from tests.commands import ENVELOPE, here, summary, write_rows

# What verbs do that work without a model; what the others say is looked at where they run.
WORK: dict[str, str] = {
    "judge": "judge --judge replay:{said} --spec rm-r1 --input {rows} --output {new}",
    "eval": "eval pairs --judge replay:{said} --input {rows} --output {new}",
    "show": "show {judged}",
    "data import": "data import --input {rows} --output {new}",
    "data sources": "data sources",
    "data curate": "data curate --config {curate} --input {rows} --output {new}",
    "distill": "distill --config {distill}",
    "critiques extract": "critiques extract --input {critiques} --output {new}",
    "critiques score": "critiques score --input {judged} --reference {critiques} --output {new}",
    "rubrics synthesize": "rubrics synthesize --config {synthesis}",
    "rubrics report": "rubrics report --rubrics {rubrics} --output {new}",
    "specs": "specs rm-r1",
    "configs": "configs sandbox/sft",
    "sandbox pairs": "sandbox pairs --rows 3 --output {new}",
    "sandbox traces": "sandbox traces --input {world} --output {new}",
    "models list": "models list",
    "env": "env",
}
ELSEWHERE = {
    "sft",
    "rlvr",
    "grpo",
    "metarm",
    "metarm score",
    "rubrics write",
    "export",
    "models fetch",
    "demo",
    "rubrics filter",
    "sandbox base",
    "sandbox judge",
}


def verbs(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Every verb that does something."""
    command = command or typer.main.get_command(app)
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*words, name))
    if not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False):
        yield " ".join(words)


VERBS = sorted(filter(None, verbs()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands read."""
    folder = tmp_path_factory.mktemp("summaries")
    found = {
        name: folder / f"{name}.{kind}"
        for name, kind in {
            **dict.fromkeys(("rows", "said", "judged", "critiques", "world", "rubrics"), "jsonl"),
            **dict.fromkeys(("curate", "distill", "synthesis"), "yaml"),
        }.items()
    }
    write_rows(found["rows"], 4)
    write_rows(found["rubrics"], 4, criteria=[{"text": "is short"}])
    write_rows(found["critiques"], 4, critique="Response A is correct. Response B is wrong.")
    lines = [
        {
            "id": f"q{n}",
            "judge": {},
            "seed": 0,
            # q0 and q1 prefer A in both orders, q2 B, q3 whatever comes first
            "judgments": [
                _said("AB", "B" if n == 2 else "A"),
                _said("BA", "A" if n in (2, 3) else "B"),
            ],
        }
        for n in range(4)
    ]
    found["said"].write_text("".join(json.dumps(line) + "\n" for line in lines))
    found["curate"].write_text("input: [x]\noutput: y\n")
    result = here("sandbox", "pairs", "--rows", "3", "--output", found["world"])
    assert result.returncode == 0, result.stderr
    found["distill"].write_text(
        f"stage: distill\ninput: {found['world']}\noutput: {folder / 'distilled'}\nspec: sandbox\n"
        "teacher: {judge: scripted}\n"
    )
    found["synthesis"].write_text(
        f"stage: rubrics\ninput: {found['world']}\noutput: {folder / 'rubrics'}\nauthor: {{judge: scripted}}\n"
    )
    result = here(*_words("judge", found, found["judged"]))
    assert result.returncode == 0, result.stderr
    return found


def _said(order: str, letter: str) -> dict[str, Any]:
    text = f"<eval>Response {letter} is right.</eval><answer>[[{letter}]]</answer>"
    return {"order": order, "vote": 0, "verdict": None, "status": "no_verdict", "text": text}


def _words(verb: str, files: dict[str, Path], new: Path) -> list[str]:
    return [word.format(**files, new=new) for word in WORK[verb].split()]


def test_every_verb_is_known_here() -> None:
    assert set(VERBS) == set(WORK) | ELSEWHERE


@pytest.mark.parametrize("verb", WORK)
def test_what_was_done_is_said_in_one_shape(verb: str, files: dict[str, Path], tmp_path: Path) -> None:
    new = tmp_path / "new.jsonl"
    words = _words(verb, files, new)
    result = here(*words)
    assert result.returncode == 0, result.stderr
    said = summary(result)
    assert set(said) >= ENVELOPE
    assert (said["verb"], said["command"], said["outcome"], said["exit_code"]) == (verb, verb, "done", 0)
    assert said["output"] == (str(new) if str(new) in words else said["output"])
    assert said["progress"] is None or set(said["progress"]) == {"unit", "total", "done", "failed"}
    assert said["seconds"] >= 0


@pytest.mark.parametrize("verb", VERBS)
def test_a_usage_error_has_the_same_shape(verb: str) -> None:
    result = here(*verb.split(), "--no-such-flag")
    said = summary(result)
    assert set(said) >= ENVELOPE
    assert (result.returncode, said["exit_code"], said["outcome"]) == (2, 2, "refused")
    assert said["verb"] == verb.replace("grpo", "rlvr")


def test_a_refusal_and_an_incomplete_run_have_the_same_shape(files: dict[str, Path], tmp_path: Path) -> None:
    refused = summary(here("show", tmp_path / "none"))
    assert set(refused) >= ENVELOPE
    assert (refused["verb"], refused["outcome"], refused["error"]) == ("show", "refused", "ConfigError")
    more = write_rows(tmp_path / "rows.jsonl", 5)
    words = ("judge", "--judge", f"replay:{files['said']}", "--spec", "rm-r1", "--input", more)
    short = summary(here(*words, "--output", tmp_path / "out.jsonl"))
    assert (short["outcome"], short["exit_code"]) == ("incomplete", 3)
    assert short["progress"] == {"unit": "rows", "total": 5, "done": 5, "failed": 1}
    planned = summary(here(*words, "--output", tmp_path / "other.jsonl", "--dry-run"))
    assert (planned["outcome"], planned["output"]) == ("planned", None)


def test_judge_and_eval_end_with_the_same_headline(files: dict[str, Path], tmp_path: Path) -> None:
    lines, said = [], []
    for verb in ("judge", "eval"):
        result = here(*_words(verb, files, tmp_path / verb))
        said.append(summary(result)["headline"])
        lines.append(result.stderr.splitlines()[-1])
    interval = wilson(2, 3).as_dict()
    assert said[0] == said[1]
    assert said[0] == {
        **{name: interval[name] for name in ("ci_low", "ci_high", "n")},
        "accuracy": interval["value"],
        "splits": 1,
        "coverage": 1.0,
    }
    assert lines[0] == lines[1]
    bounds = f"[{interval['ci_low']:.3f}, {interval['ci_high']:.3f}]"
    assert lines[0] == f"headline: accuracy 0.667 {bounds}, n 3, splits 1, coverage 1.000"
    stored = json.loads((tmp_path / "eval" / "result.json").read_text())
    assert stored["headline"] == said[0]


def test_a_headline_without_labels_has_no_accuracy(files: dict[str, Path], tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 4, label=None)
    words = ("judge", "--judge", f"replay:{files['said']}", "--spec", "rm-r1", "--input", rows)
    result = here(*words, "--output", tmp_path / "out.jsonl")
    assert summary(result)["headline"]["accuracy"] is None
    assert result.stderr.splitlines()[-1] == "headline: no labelled verdict, splits 1, coverage 1.000"
