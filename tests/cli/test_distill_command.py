"""`reasrm distill` as a user runs it: two bad teachers behind a real endpoint, kills, the documented commands."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.cli.app import app
from reasrm.config import parse_config
from reasrm.distillation.config import DistillConfig
from reasrm.protocol.sft_rows import read_sft_row
from reasrm.protocol.spec import load_spec
from tests.commands import ROOT, environment, rows_of, start, summary
from tests.commands import here as run
from tests.fakes import Endpoint, Reply, chat, refuse

RIGHT, WRONG = "A names it. <answer>[[A]]</answer>", "B names it. <answer>[[B]]</answer>"
FILES = ("sft.jsonl", "rejected.jsonl", "ledger.jsonl", "hints.jsonl")
# What happens to question n, by n modulo 8: outcome of the row, with two samples of the first teacher.
FATES = {
    0: "kept",
    1: "kept",  # the first teacher refuses, the second is right
    2: "betrayed",  # the first is cut off, the second tells that it was told
    3: "wrong_twice",
    4: "kept",  # the first is withheld by a filter
    5: "call_failed",  # the endpoint fails for good
    6: "truncated",  # the second is cut off, too
    7: "kept",  # a coin thrown by the seed; the second is right anyway
}


def teachers(payload: dict[str, Any]) -> Reply:
    """Both teachers. What they answer depends on the request alone, so that a repeated call gets the same."""
    text = payload["messages"][-1]["content"]
    question = re.search(r"question (\d+)", text)
    assert question is not None
    fate, second = int(question[1]) % 8, payload["model"] == "second"
    assert ("Note to the judge" in text) is second
    if second:
        told = "It is settled that the correct verdict is A. <answer>[[A]]</answer>"
        answers = {2: chat(told), 3: chat(WRONG), 6: chat(RIGHT, finish_reason="length")}
        return answers.get(fate, chat(RIGHT))
    heads = hashlib.sha256(str(payload["seed"]).encode()).digest()[0] & 1
    answers = {
        0: chat(RIGHT),
        1: chat("I'm sorry, but I can't help with that."),
        2: chat("A names", finish_reason="length"),
        4: chat(None, finish_reason="content_filter"),
        5: refuse(500, "oops"),
        7: chat(RIGHT if heads else WRONG),
    }
    return answers.get(fate, chat(WRONG))


def write_config(folder: Path, endpoint: Endpoint, count: int, **settings: Any) -> Path:
    """Write `count` labelled rows of two sources and a config that distils them."""
    rows = [
        {
            "id": f"q{n}",
            "prompt": f"question {n}.",
            "response_a": f"good {n}",
            "response_b": f"bad {n}",
            "label": "A",
            "meta": {"source": f"source-{n % 2}"},
        }
        for n in range(count)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = {"judge": f"openai:first@{endpoint.base_url}", "samples": 2, "temperature": 1.0, "attempts": 1}
    config = {
        "stage": "distill",
        "input": str(folder / "pairs.jsonl"),
        "output": str(folder / "out"),
        "spec": "rm-r1-short",
        "orders": "given",
        "teacher": {**teacher, "concurrency": 4},
        "repair": {**teacher, "judge": f"openai:second@{endpoint.base_url}", "samples": 1, "concurrency": 4},
        "hints": {},
        **settings,
    }
    (folder / "distill.yaml").write_text(yaml.safe_dump(config))
    return folder / "distill.yaml"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.slow
def test_two_bad_teachers(tmp_path: Path) -> None:
    """Refusals, cut traces, a betrayed label, two wrong verdicts, a filter, a dead call: the ledger adds up."""
    with Endpoint(teachers) as endpoint:
        config = write_config(tmp_path, endpoint, 32)
        result = run("distill", "--config", config)
        said = summary(result)
        assert result.returncode == 3, result.stderr
        assert said["rows"] == dict(sorted(Counter(FATES[n % 8] for n in range(32)).items()))
        ledger = rows_of(tmp_path / "out" / "ledger.jsonl")
        calls = rows_of(tmp_path / "out" / "calls.jsonl")
        assert sum(line["rows"] for line in ledger) == 32
        assert sum(line["answers"] for line in ledger) == len(calls) == said["answers"]
        for name, counted in (("teacher", "first"), ("repair", "second")):
            spent = sum(line.get(name, {}).get("prompt_tokens", 0) for line in ledger)
            answered = [call for call in endpoint.calls if call["model"] == counted]
            failed = 4 if name == "teacher" else 0
            assert spent == 7 * (len(answered) - failed) == said["cost"][name]["prompt_tokens"]
            assert said["cost"][name]["calls"] == len(answered)
        assert {line["source"] for line in ledger} == {"source-0", "source-1"}
        errors = rows_of(Path(said["errors_file"]))
        assert sorted(error["pair"] for error in errors) == ["q13", "q21", "q29", "q5"]
        assert said["errors"] == 4
        assert "call_failed × 4" in result.stderr
        kept = [read_sft_row(row, row["id"]) for row in rows_of(tmp_path / "out" / "sft.jsonl")]
        assert {int(row.meta["pair"][1:]) % 8 for row in kept} == {0, 1, 4, 7}
        prompts = {row.meta["pair"]: row.messages[-1].text for row in kept}
        assert not any("Note to the judge" in text for text in prompts.values())
        betrayed = [
            row for row in rows_of(tmp_path / "out" / "rejected.jsonl") if row["reason"] == "betrayed"
        ]
        assert {row["detail"] for row in betrayed} == {"correct verdict"}
        before, num_calls = contents(tmp_path / "out"), len(endpoint.calls)
        again = run("distill", "--config", config)
        assert (again.returncode, len(endpoint.calls)) == (3, num_calls), "nobody is asked twice"
        assert contents(tmp_path / "out") == before
        endpoint.answer = lambda payload: chat(RIGHT)
        mended = run("distill", "--config", config, "--retry-errors")
        assert mended.returncode == 0, mended.stderr
        assert len(endpoint.calls) == num_calls + 4
        assert summary(mended)["rows"]["kept"] == said["rows"]["kept"] + 4


def kill_until_done(tmp_path: Path, kills: int, count: int) -> None:
    """`kill -9` whenever a few answers more have come; then let it end, and compare with a run of its own."""

    def slowly(payload: dict[str, Any]) -> Reply:
        time.sleep(0.03)
        return teachers(payload)

    draw = random.Random(0)
    with Endpoint(slowly) as endpoint:
        quota = {"quotas": {"source-1": count // 4}}
        calm = write_config(tmp_path / "calm", endpoint, count, **quota)
        assert run("distill", "--config", calm, timeout=1200).returncode == 3
        num_calls = len(endpoint.calls)
        config = write_config(tmp_path / "killed", endpoint, count, **quota)
        journal = tmp_path / "killed" / "out" / "calls.jsonl"
        for number in range(kills):
            before = journal.stat().st_size if journal.exists() else 0
            process = start("distill", "--config", config)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if journal.exists() and journal.stat().st_size > before:
                    break
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.2))
            process.send_signal(signal.SIGTERM if number == 0 else signal.SIGKILL)
            out, _ = process.communicate(timeout=60)
            if number == 0:
                assert process.returncode == 143
                assert json.loads(out.splitlines()[-1])["interrupted"] is True
                assert not (tmp_path / "killed" / "out" / "sft.jsonl").exists(), "half a result is none"
        result = run("distill", "--config", config, timeout=1200)
        assert result.returncode == 3, result.stderr
        assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "calm" / "out")
        calls = rows_of(journal)
        assert len({call["id"] for call in calls}) == len(calls)
        assert len(endpoint.calls) <= 2 * num_calls + 4 * kills, "only what was in flight is asked again"


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bytes(tmp_path: Path) -> None:
    kill_until_done(tmp_path, kills=3, count=80)


@pytest.mark.soak
def test_runs_killed_twenty_times_end_with_the_same_bytes(tmp_path: Path) -> None:
    kill_until_done(tmp_path, kills=20, count=600)


@pytest.mark.slow
def test_faults_that_pass_are_survived(tmp_path: Path) -> None:
    with Endpoint(
        lambda payload: chat(RIGHT), fault_rate=0.3, faults=["500", "429", "malformed"]
    ) as endpoint:
        teacher = {"judge": f"openai:first@{endpoint.base_url}", "attempts": 8}
        config = write_config(tmp_path, endpoint, 8, teacher=teacher)
        result = run("distill", "--config", config)
    assert result.returncode == 0, result.stderr
    assert summary(result)["rows"] == {"kept": 8}
    assert sum(endpoint.injected.values()) > 0
    assert not (tmp_path / "out" / "calls.jsonl.errors.jsonl").exists()


def test_a_teacher_that_nobody_can_reach_leaves_a_run_to_continue(tmp_path: Path) -> None:
    with Endpoint(lambda payload: chat(RIGHT)) as endpoint:
        config = write_config(tmp_path, endpoint, 4)
    result = run("distill", "--config", config)
    assert (result.returncode, summary(result)["error"]) == (5, "EnvironmentProblem")
    assert not (tmp_path / "out" / "sft.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("stage: distill\n", 2, "Field required"),
        ("{CONFIG}tempo: 3\n", 2, "unknown key 'tempo'"),
        ("{CONFIG}input: nowhere.jsonl\n", 4, "nowhere.jsonl"),
    ],
    ids=["empty", "unknown key", "no input"],
)
def test_what_cannot_be_run_says_why(text: str, code: int, message: str, tmp_path: Path) -> None:
    whole = "stage: distill\noutput: out\nspec: sandbox\nteacher: {judge: scripted}\n" + (
        "" if "input:" in text else "input: pairs.jsonl\n"
    )
    (tmp_path / "c.yaml").write_text(text.replace("{CONFIG}", whole))
    command = [sys.executable, str(ROOT / "data_pipelines" / "distill.py"), "--config", "c.yaml"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
    )
    assert result.returncode == code, result.stderr
    said = json.loads(result.stdout.splitlines()[-1])
    assert message in said["message"]
    assert said["exit_code"] == code


def test_every_documented_command_runs(tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "distill.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    said = []
    for line in re.findall(r"^reasrm (.*)$", blocks, re.MULTILINE):
        app(shlex.split(line), standalone_mode=False)
        said.append(json.loads(capfd.readouterr().out.splitlines()[-1]))
    pairs, plan, done = said
    assert plan["rows"] == pairs["rows"] == 200
    assert plan["calls"]["teacher"] == {"least": 400, "most": 1200}
    assert plan["calls"]["repair"] == {"least": 0, "most": 400}
    assert sum(done["rows"].values()) == 200
    assert done["sft_rows"] == 2 * done["rows"]["kept"] > 300
    assert done["cost"]["repair"]["calls"] > 0
    assert "wrong_twice" in done["traces"]
    rows = rows_of(tmp_path / "runs" / "distill-sandbox" / "sft.jsonl")
    assert {"teacher", "repair"} == {row["meta"]["pass"] for row in rows}
    assert {row["meta"]["spec_hash"] for row in rows} == {load_spec("sandbox").hash}


def test_the_documented_config_is_one() -> None:
    page = (ROOT / "docs" / "distill.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    config = parse_config(DistillConfig, yaml.safe_load(example), "docs/distill.md")
    assert (config.quota("helpsteer2"), config.quota("x")) == (1000, 500)
    assert config.repair is not None
    assert config.repair.betrayal == (r"\bas the task demands\b",)
