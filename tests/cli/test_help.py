"""What `--help` shows runs as it stands in a folder without the repository; the shell completes words."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from reasrm.cli.app import app
from reasrm.cli.sandbox import load_demo_config
from reasrm.sources.sets import pandalm
from tests.commands import decide, run, summary
from tests.commands import here as reasrm
from tests.fakes import Endpoint, Reply, chat
from tests.metarm.models import build_metarm
from tests.training.stages import SANDBOX_MODEL

DEMO = "reasrm demo --output runs/demo"
"""Half a minute at its smallest: `test_shipped` runs it from the wheel."""
LONG = ("reasrm demo", "reasrm sandbox judge")
ORDERS = ((False, "a"), (True, "b"))
SHORT = {
    "sandbox base": ("--config", "sandbox/demo-tiny"),
    "sft": ("--set", "trainer.max_steps=1", "--set", "trainer.per_device_train_batch_size=4"),
    "rlvr": ("--dry-run",),
    "metarm": ("--dry-run",),
}
ANSWER = "<eval>\nend done A ok B bad\n</eval>\n<answer>[[{}]]</answer>"


def examples() -> Iterator[str]:
    """Yield the commands that any `--help` shows."""
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        (shown,) = re.findall(r"Example:\s+(.*)", command.help or "", re.DOTALL)
        yield from " ".join(shown.split()).rstrip(".").split(", or ")


EXAMPLES = sorted(set(examples()))


def verb_of(words: list[str]) -> str:
    return " ".join(word for word in words[:2] if re.fullmatch("[a-z]+", word))


def answer(payload: dict[str, Any]) -> Reply:
    """A judge, a writer of rubrics, and a reader of critiques that finds nothing."""
    if "You write the rubric" in json.dumps(payload["messages"]):
        return chat("1. The response is calm. [Principle]")
    judges = "[[A]]" in json.dumps(payload["messages"])
    return decide(payload, ANSWER) if judges else chat("[]")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(answer) as served:
        yield served


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Path:
    """A folder with all that the examples read; what one of them makes for another is made by it."""
    folder = tmp_path_factory.mktemp("inputs")
    world = folder / "runs" / "sandbox"
    world.mkdir(parents=True)
    for name in ("base", "sft"):
        shutil.copytree(SANDBOX_MODEL, world / name)
    build_metarm(SANDBOX_MODEL).save(folder / "runs" / "metarm")
    said = {
        f"swap = {swap}": {"completion": [f"Output ({side}) is better.", "stop"]} for swap, side in ORDERS
    }
    recorded = {"input": "Sky?", "output_1": "Blue", "output_2": "Red", "label": 1, "results": [said]}
    (folder / "judge_natural_chatgpt_vanilla.result.json").write_text(json.dumps([recorded]))
    (folder / "testset-v1.json").write_text(json.dumps([pandalm.SOURCE.example]))
    (folder / "answers.txt").write_text("Fine. <answer>[[A]]</answer>")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for split, name in (("train", "pairs"), ("train", "rlvr-pairs"), ("iid", "iid"), ("hard", "hard")):
            reasrm("sandbox", "pairs", "--split", split, "--rows", 30, "--output", world / f"{name}.jsonl")
        named = (
            "pairs.jsonl",
            "rows.jsonl",
            "runs/sandbox/critique-pairs.jsonl",
            "runs/sandbox/tastes.jsonl",
        )
        for name in named:
            shutil.copy(world / "pairs.jsonl", name)
        asked = ("--input", world / "critique-pairs.jsonl", "--output", world / "critique-judged.jsonl")
        assert reasrm("judge", "--judge", "sandbox", *asked, "--orders", "random").returncode == 0
        lines = [{"id": f"train-{n}", "criteria": [{"text": "plain"}]} for n in range(3)]
        (folder / "rubrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        reasrm("sandbox", "traces", "--input", "pairs.jsonl", "--output", world / "traces.jsonl")
        ids = [json.loads(line)["id"] for line in Path("pairs.jsonl").read_text().splitlines()]
        rubrics = ({"id": name, "criteria": [{"kind": "hard_rule", "text": "end done"}]} for name in ids)
        Path("rubrics.jsonl").write_text("".join(json.dumps(rubric) + "\n" for rubric in rubrics))
        for verb in ("judge", "sft"):
            (example,) = [line for line in EXAMPLES if line.startswith(f"reasrm {verb} ")]
            made = typed(example, endpoint)
            assert made.returncode == 0, made.stderr
        for arm in ("none", "arm", "gold"):
            (Path("runs") / arm).mkdir()
            shutil.copy("judged.jsonl", Path("runs") / arm / "judgments.jsonl")
    return folder


def typed(example: str, endpoint: Endpoint) -> Any:
    words = shlex.split(example.replace("http://localhost:8000/v1", endpoint.base_url))[1:]
    return reasrm(*words, *SHORT.get(verb_of(words), ()))


@pytest.mark.slow
@pytest.mark.parametrize("example", [line for line in EXAMPLES if not line.startswith(LONG)])
def test_an_example_runs_where_there_is_no_repository(
    example: str,
    inputs: Path,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if example.startswith("reasrm models fetch"):
        request.getfixturevalue("smollm2")
    shutil.copytree(inputs, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    words = shlex.split(example)
    for flag in ("--output", "--run-dir"):
        if flag in words and (made := Path(words[words.index(flag) + 1])).exists():
            shutil.rmtree(made) if made.is_dir() else made.unlink()
    done = typed(example, endpoint)
    assert done.returncode == 0, done.stderr
    assert summary(done)


def test_what_takes_long_names_a_config_that_ships() -> None:
    shown = [line for line in EXAMPLES if line.startswith(LONG)]
    assert shown[:2] == ["reasrm demo", DEMO]
    (words,) = [shlex.split(line) for line in shown[2:]]
    assert load_demo_config(Path(words[words.index("--config") + 1]), None).rows_per_split == 500


@pytest.mark.parametrize(
    ("typed", "word"),
    [("reasrm ju", "judge"), ("reasrm eval --colu", "--columns"), ("reasrm data cu", "curate")],
)
def test_the_shell_completes_words(typed: str, word: str) -> None:
    number = len(typed.split()) - 1
    done = run(_REASRM_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(number))
    assert done.stdout.split() == [word]


def test_the_shells_script_is_shown() -> None:
    done = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_REASRM_COMPLETE=complete_bash" in done.stdout, done.stderr
