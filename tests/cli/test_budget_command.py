"""A budget on the command line, against a real endpoint: it stops before it is exceeded, and the run goes on later."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_distill_command import RIGHT, WRONG, write_config
from tests.commands import ROOT, decide, here, rows_of, send, start, summary, write_rows
from tests.fakes import Endpoint, Reply, chat

PRICE = ("--price", "1000,10000")  # an answer of 7 and 3 tokens costs 7 + 30 thousandths
WORDS = ("--max-tokens", "20", "--concurrency", "3")


def asked(verb: str, endpoint: Endpoint, rows: Path, output: Path, *more: str) -> tuple[str | Path, ...]:
    suite = ("pairs",) if verb == "eval" else ()
    judge = ("--judge", f"openai:m@{endpoint.base_url}", "--spec", "mt-bench")
    return (verb, *suite, *judge, "--input", rows, "--output", output, *WORDS, *more)


def costly(reply: Reply) -> Reply:
    """An answer that took more tokens than those of `tests.fakes` do."""
    assert isinstance(reply.body, dict)
    return Reply(body={**reply.body, "usage": {"prompt_tokens": 700, "completion_tokens": 10}})


def answer(payload: dict[str, Any]) -> Reply:
    return costly(decide(payload))


@pytest.mark.parametrize("verb", ["judge", "eval"])
def test_a_budget_of_money_stops_in_time_and_a_larger_one_goes_on(tmp_path: Path, verb: str) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 12), tmp_path / "out"
    judged = output / "judgments.jsonl" if verb == "eval" else output
    spend = ("--price", "1,10")  # 700 + 100 millionths a call
    with Endpoint(answer) as endpoint:
        first = here(*asked(verb, endpoint, rows, output, *spend, "--budget", "0.012"))
        said, done, calls = summary(first), rows_of(judged), len(endpoint.calls)
        assert (first.returncode, said["stopped"], said["outcome"]) == (3, "budget", "incomplete")
        assert calls * 800e-6 == pytest.approx(said["money"])
        assert 0.012 - 4 * 4000e-6 < said["money"] <= 0.012
        assert calls == 2 * len(done) == said["cost"]["judge"]["calls"], "no row was asked in one order only"
        assert said["progress"] == {"unit": "rows", "total": 12, "done": len(done), "failed": 0}
        assert not (tmp_path / "out.errors.jsonl").exists()
        assert not (output / "result.json").exists()
        assert "with a larger budget the same command continues" in first.stderr

        again = here(*asked(verb, endpoint, rows, output, *spend, "--budget", "0.012"))
        assert (again.returncode, len(endpoint.calls)) == (3, calls), "what was spent is spent"

        last = here(*asked(verb, endpoint, rows, output, *spend, "--budget", "1"))
        assert (last.returncode, len(endpoint.calls)) == (0, 24)
    said = summary(last)
    assert said["money"] == pytest.approx(24 * 800e-6)
    assert said["cost"]["judge"] == {
        **dict.fromkeys(("uncounted", "uncounted_prompt_tokens", "uncounted_completion_tokens"), 0),
        "calls": 24,
        "prompt_tokens": 24 * 700,
        "completion_tokens": 240,
    }
    manifest = json.loads(judged.with_name(f"{judged.name}.manifest.json").read_text())
    assert manifest["notes"]["cost"]["money"] == said["money"]
    assert manifest["notes"]["cost"]["by"] == said["cost"]
    assert len(rows_of(judged)) == 12


def test_a_budget_of_tokens_needs_no_price_and_money_does(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 5)
    with Endpoint(answer) as endpoint:
        result = here(*asked("judge", endpoint, rows, tmp_path / "a", "--budget-tokens", "6000"))
        assert (result.returncode, summary(result)["money"]) == (3, None)
        assert 710 * len(endpoint.calls) <= 6000
        assert len(endpoint.calls) > 0
        before = len(endpoint.calls)
        refused = here(*asked("judge", endpoint, rows, tmp_path / "b", "--budget", "1"))
        assert refused.returncode == 2
        assert "--price" in summary(refused)["message"]
        unknown = here(*asked("judge", endpoint, rows, tmp_path / "b", "--budget", "nan", *PRICE))
        assert unknown.returncode == 2
        wrong = here(*asked("judge", endpoint, rows, tmp_path / "b", "--budget", "1", "--price", "1"))
        assert (wrong.returncode, len(endpoint.calls)) == (2, before)


def test_calls_that_were_made_again_count(tmp_path: Path) -> None:
    rows, seen = write_rows(tmp_path / "rows.jsonl", 1), list[str]()

    def twice(payload: dict[str, Any]) -> Reply:
        text = payload["messages"][-1]["content"]
        seen.append(text)
        return chat("half an", finish_reason="abort") if seen.count(text) == 1 else decide(payload)

    with Endpoint(twice) as endpoint:
        said = summary(here(*asked("judge", endpoint, rows, tmp_path / "out", *PRICE)))
    assert len(seen) == 4
    assert (said["cost"]["judge"]["calls"], said["cost"]["judge"]["prompt_tokens"]) == (2, 28)
    assert said["money"] == pytest.approx(4 * 0.037)


def test_failed_rows_that_are_tried_again_count_twice(tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 1), tmp_path / "out"
    with Endpoint(lambda _: chat("x", finish_reason="wibble")) as endpoint:
        first = here(*asked("judge", endpoint, rows, output, *PRICE))
        assert (first.returncode, summary(first)["money"]) == (3, pytest.approx(2 * 0.037))
        endpoint.answer = decide
        again = here(*asked("judge", endpoint, rows, output, *PRICE, "--retry-errors"))
    assert (again.returncode, summary(again)["money"]) == (0, pytest.approx(4 * 0.037))


def test_distillation_keeps_to_its_budget(tmp_path: Path) -> None:
    def teach(payload: dict[str, Any]) -> Reply:
        return costly(chat(RIGHT if payload["model"] == "second" else WRONG))

    with Endpoint(teach) as endpoint:
        config = write_config(tmp_path, endpoint, 6)
        command = ("distill", "--config", config, "--price", "1,1", "--set", "teacher.max_tokens=50")
        command = (*command, "--set", "repair.max_tokens=50")
        first = here(*command, "--budget", "0.007")
        said, calls = summary(first), len(endpoint.calls)
        assert (first.returncode, said["stopped"]) == (3, "budget"), first.stderr
        assert 0 < calls < 18
        assert said["money"] == pytest.approx(calls * 710e-6)
        assert not (tmp_path / "out" / "sft.jsonl").exists()
        last = here(*command, "--budget-tokens", "100000")
        said = summary(last)
        assert (last.returncode, len(endpoint.calls)) == (0, 18), "twelve wrong answers and six repairs"
    assert {name: cost["calls"] for name, cost in said["cost"].items()} == {"teacher": 12, "repair": 6}
    assert said["money"] == pytest.approx(18 * 710e-6)
    assert len(rows_of(tmp_path / "out" / "sft.jsonl")) == 6


def test_the_documented_command_keeps_to_its_budget(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(reasrm judge [^`]*--budget[^`]*)```", text)
    rows = write_rows(tmp_path / "rows.jsonl", 4)
    with Endpoint(lambda payload: costly(decide(payload, "<answer>[[{}]]</answer>"))) as endpoint:
        line = block.replace("\\\n", " ").replace("http://localhost:8000/v1", endpoint.base_url)
        line = line.replace("rows.jsonl", str(rows)).replace("judged.jsonl", str(tmp_path / "judged.jsonl"))
        result = here(*shlex.split(line)[1:])
    assert result.returncode == 0, result.stderr
    assert summary(result)["money"] == pytest.approx(8 * (700 * 0.15 + 10 * 0.6) / 1e6)


@pytest.mark.slow
def test_kills_do_not_exceed_a_budget(tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 200), tmp_path / "out"

    def slowly(payload: dict[str, Any]) -> Reply:
        time.sleep(0.02)
        return answer(payload)

    with Endpoint(slowly) as endpoint:
        command = asked("judge", endpoint, rows, output, "--price", "1,10", "--budget", "0.1")
        for _ in range(3):
            process, begun = start(*command), len(endpoint.calls)
            while len(endpoint.calls) < begun + 15 and process.poll() is None:
                time.sleep(0.005)
            send(process, signal.SIGKILL)
        result = here(*command)
        assert result.returncode == 3, result.stderr
        said = summary(result)
        assert len(endpoint.calls) * 800e-6 <= said["money"] <= 0.1
        assert len(endpoint.calls) > 70
