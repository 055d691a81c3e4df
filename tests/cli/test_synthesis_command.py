"""`reasrm rubrics synthesize` and `filter` as a user runs them: the page's commands, plans, refusals, exit codes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import ENVELOPE, ROOT, environment, here, rows_of, summary, timeless
from tests.fakes import Endpoint, chat
from tests.rubrics.shared import adds_up, write_lines, write_pairs

GOOD = "1. The response names a colour. [Hard Rule]"


def write_config(folder: Path, author: str, verifier: str | None = None, **settings: Any) -> Path:
    whole = {
        "stage": "rubrics",
        "input": str(folder / "pairs.jsonl"),
        "output": str(folder / "out"),
        "author": {"judge": author},
        **({} if verifier is None else {"verify": {"judge": verifier, "spec": "sandbox"}}),
        **settings,
    }
    path = folder / "rubrics.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "rubrics.md").read_text(encoding="utf-8")
    page = page.split("\n## Synthesis\n")[1]
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "rubrics synthesize" in b]
    lines = [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("reasrm")]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    said = []
    for words in lines:
        result = here(*words, *(("--rows", "12") if words[0] == "sandbox" else ()))
        assert result.returncode == 0, result.stderr
        said.append(summary(result))
        assert set(said[-1]) >= ENVELOPE
    _, planned, made, filtered = said
    assert (planned["outcome"], planned["rows"], planned["calls"]) == (
        "planned",
        12,
        {"least": 12, "most": 12},
    )
    out = tmp_path / "runs" / "rubrics-sandbox"
    adds_up(out, 12)
    assert made["kept"] == len(rows_of(out / "rubrics.jsonl")) == made["writer_rows"] > 0
    assert made["verified"]["kept_by_chance"] == pytest.approx(0.25)
    assert set(made["cost"]) == {"author", "judge", "judge_without"}
    adds_up(tmp_path / "runs" / "rubrics-gain", made["kept"])
    assert filtered["progress"] == {
        "unit": "rubrics",
        "total": made["kept"],
        "done": made["kept"],
        "failed": 0,
    }
    assert all(
        name in ("kept", "no_gain", "split_under_rubric", "wrong_under_rubric") for name in filtered["rows"]
    )


def test_a_plan_shows_a_prompt_and_asks_nobody(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    path = write_config(tmp_path, "openai:author@http://127.0.0.1:9/v1", "sandbox", method="profiles")
    result = here("rubrics", "synthesize", "--config", path, "--dry-run", "--set", "author.concurrency=2")
    assert result.returncode == 0, result.stderr
    said = summary(result)
    assert (said["rows"], said["calls"]) == (3, {"least": 9, "most": 9})
    assert "good answer 0 azure" in result.stderr or "bad answer 0 brick" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_program_is_the_same_command(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    path = write_config(tmp_path, "scripted")
    program = ROOT / "data_pipelines" / "synthesize_rubrics.py"
    ran = subprocess.run(
        [sys.executable, program, "--config", path, "--dry-run"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert timeless(summary(ran)) == timeless(
        summary(here("rubrics", "synthesize", "--config", path, "--dry-run"))
    )


def test_the_author_does_not_verify_itself(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    path = write_config(tmp_path, "openai:m@http://127.0.0.1:9/v1", "openai:m@http://127.0.0.1:8/v1")
    result = here("rubrics", "synthesize", "--config", path)
    assert result.returncode == 2
    assert "allow_author" in summary(result)["message"]


def test_answers_that_nobody_can_read_exit_3(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    with Endpoint(lambda payload: chat("Certainly, here is a rubric.")) as author:
        path = write_config(tmp_path, f"openai:author@{author.base_url}")
        result = here("rubrics", "synthesize", "--config", path)
    said = summary(result)
    assert (result.returncode, said["outcome"], said["rows"]) == (3, "incomplete", {"unreadable": 2})


def test_an_endpoint_that_is_down_exits_5_and_the_same_command_continues(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    path = write_config(tmp_path, "openai:author@http://127.0.0.1:9/v1")
    down = here("rubrics", "synthesize", "--config", path, "--set", "author.attempts=1")
    assert down.returncode == 5, down.stderr
    with Endpoint(lambda payload: chat(GOOD)) as author:
        judge = f"author.judge=openai:author@{author.base_url}"
        result = here(
            "rubrics",
            "synthesize",
            "--config",
            path,
            "--set",
            judge,
            "--allow-other-server",
            "--retry-errors",
        )
    assert result.returncode == 0, result.stderr
    assert summary(result)["rows"] == {"kept": 2}
    adds_up(tmp_path / "out", 2)


def test_author_relator_and_judge_are_paid_from_one_budget(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    rubric = f"{GOOD}\n2. The response names a hue. [Principle]"

    def answer(payload: dict[str, Any]) -> Any:
        prompt = payload["messages"][-1]["content"]
        if payload["model"] == "judge":
            return chat(f"<answer>[[{'A' if prompt.find('good') < prompt.find('bad') else 'B'}]]</answer>")
        return chat("neither" if payload["model"] == "relator" else rubric)

    with Endpoint(answer) as endpoint:
        author, judge, relator = (f"openai:{m}@{endpoint.base_url}" for m in ("author", "judge", "relator"))
        checks = {"relate": {"judge": relator, "price": [0, 100]}}
        path = write_config(tmp_path, author, judge, checks=checks)
        words = ("rubrics", "synthesize", "--config", path)
        nothing = here(*words, "--budget-tokens", "100")
        assert (nothing.returncode, summary(nothing)["stopped"], endpoint.calls) == (3, "budget", [])
        unpriced = here(*words, "--budget", "1")
        assert (unpriced.returncode, endpoint.calls) == (2, [])
        assert "--price" in summary(unpriced)["message"]
        result = here(*words, "--price", "1,2", "--budget", "1")
        assert result.returncode == 0, result.stderr
        assert len(endpoint.calls) == 3 + 1 + 6 + 6
        plan = here(*words, "--dry-run")
    said = summary(result)
    assert said["rows"] == {"kept": 3}
    assert said["related"] == {"neither": 1}
    assert {name: one["calls"] for name, one in said["cost"].items()} == {
        "author": 3,
        "relator": 1,
        "judge": 6,
        "judge_without": 6,
    }
    assert said["money"] == pytest.approx((15 * (7 * 1 + 3 * 2) + 3 * 100) / 1e6)
    assert plan.returncode == 0
    adds_up(tmp_path / "out", 3)


def test_filter_verifies_a_persons_file_by_an_endpoint(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    rubrics = write_lines(
        tmp_path / "mine.jsonl", ({"id": f"q{n}", "criteria": [{"text": "names a colour"}]} for n in range(3))
    )

    def decide(payload: dict[str, Any]) -> Any:
        prompt = payload["messages"][-1]["content"]
        good, bad = prompt.find("good"), prompt.find("bad")
        wins = "A" if ("names a colour" not in prompt or good < bad) else "B"
        return chat(f"<answer>[[{wins}]]</answer>")

    with Endpoint(decide) as judge:
        words = (
            *("rubrics", "filter", "--input", rubrics, "--pairs", tmp_path / "pairs.jsonl"),
            *("--judge", f"openai:judge@{judge.base_url}", "--spec", "sandbox", "--gain"),
            *("--header", "X-Team=a", "--extra-body", '{"top_k": 1}', "--output", tmp_path / "out"),
        )
        planned = summary(here(*words, "--dry-run"))
        assert (planned["outcome"], planned["tested"]) == ("planned", 3)
        assert planned["calls"] == {"judge": 6, "judge_without": 6}
        short = here(*words, "--budget-tokens", "1")
        assert (short.returncode, summary(short)["stopped"]) == (3, "budget")
        assert judge.calls == []
        result = here(*words, "--price", "1,2", "--budget-tokens", "100000")
        assert result.returncode == 0, result.stderr
        assert len(judge.calls) == 12
        assert {call["top_k"] for call in judge.calls} == {1}
        assert {headers["x-team"] for headers in judge.headers} == {"a"}
        again = summary(here(*words))
        assert len(judge.calls) == 12
    said = summary(result)
    assert said["rows"] == again["rows"] == {"kept": 3}
    assert said["verified"]["helpful"] == 1.0
    assert said["cost"]["judge"]["calls"] == said["cost"]["judge_without"]["calls"] == 6
    assert said["money"] == pytest.approx(12 * (7 * 1 + 3 * 2) / 1e6)
    adds_up(tmp_path / "out", 3)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--orders", "given"), "both"),
        (("--require", "most"), "majority"),
        (("--spec", "rubric"), "without_spec"),
        (("--extra-body", "{"), "extra"),
        (("--votes", "3", "--temperature", "0"), "votes"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    rubrics = write_lines(tmp_path / "mine.jsonl", [{"id": "q0", "criteria": [{"text": "is calm"}]}])
    common = ("--input", rubrics, "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "out")
    judge = ("--judge", "openai:judge@http://127.0.0.1:9/v1", "--spec", "sandbox")
    result = here("rubrics", "filter", *common, *judge, *words)
    assert result.returncode == 2, result.stderr
    assert named in summary(result)["message"]
    assert not (tmp_path / "out" / "rubrics.jsonl").exists()


def test_a_repeated_id_is_refused_with_both_places(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    line = json.dumps({"id": "q0", "criteria": [{"text": "is calm"}]}) + "\n"
    (tmp_path / "mine.jsonl").write_text(line + line)
    result = here(
        *("rubrics", "filter", "--input", tmp_path / "mine.jsonl", "--pairs", tmp_path / "pairs.jsonl"),
        *("--judge", "sandbox", "--output", tmp_path / "out"),
    )
    assert result.returncode == 4
    assert {"mine.jsonl:1", "mine.jsonl:2"} <= set(re.findall(r"mine\.jsonl:\d", summary(result)["message"]))
