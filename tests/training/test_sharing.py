"""Models that a reward asks: how their endpoint is asked, who answered, what a failure is, which process asks what."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.runs import RunFolder
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.setup import build_reward_function
from reasrm.training.stage.sharing import SERVERS, note_server
from tests.commands import ROOT, environment
from tests.fakes import Endpoint, Reply, chat, refuse
from tests.refusals import refused
from tests.training.shared_questions import ROWS, batch, write_critique_stage


def read(payload: dict[str, Any]) -> Reply:
    """Answer as a model that finds one argument, the text's last word; of `text 3` it cannot say anything."""
    (word,) = re.findall(r"^(?:text (\d)|the reference)$", payload["messages"][-1]["content"], re.MULTILINE)[
        :1
    ]
    if word == "3":
        return refuse(400, "no words for it")
    argument = {
        "about": "A",
        "stance": "for",
        "text": "the reference" if word in ("", "5") else word,
        "fatal": False,
    }
    return chat(json.dumps([argument]))


SCORES = [0.0, 0.0, 0.0, None, 0.0, 1.0, 0.0]
"""Of the batch: only `text 5` makes the reference's point."""


def test_the_section_says_how_its_endpoint_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "s3cret-tenant")
    with Endpoint(read) as endpoint:
        options = {"headers": {"X-Tenant": "env:TENANT"}, "extra_body": {"top_k": 5}, "max_tokens": 4096}
        config = write_critique_stage(tmp_path, endpoint.base_url, concurrency=1, **options)
        stage = load_rlvr_stage(config)
        found = build_reward_function(stage).ask(batch())
    assert found["critique"] == SCORES
    assert endpoint.most_at_once == 1
    assert {headers["x-tenant"] for headers in endpoint.headers} == {"s3cret-tenant"}
    assert {(call["top_k"], call["max_tokens"]) for call in endpoint.calls} == {(5, 4096)}
    kept = stage.model_dump(mode="json")["critique"]
    assert "headers" not in kept  # what a run writes down
    assert kept["extra_body"] == {"top_k": 5}


def test_options_of_an_endpoint_need_one(tmp_path: Path) -> None:
    config = write_critique_stage(tmp_path, "http://127.0.0.1:1/v1")
    with refused(ConfigError, config, "critique", "timeout_s", "openai:", remedy=False):
        load_rlvr_stage(config, ["critique.model=some/folder", "critique.attempts=5", "critique.timeout_s=9"])


def test_the_run_keeps_which_server_answered(tmp_path: Path) -> None:
    said: list[str] = []

    def ask(run: RunFolder) -> str:
        with Endpoint(read) as endpoint:
            stage = load_rlvr_stage(write_critique_stage(tmp_path, endpoint.base_url))
            reward = build_reward_function(
                stage, lambda name, model: note_server(run, name, model, said.append)
            )
            reward.ask(batch())
        return endpoint.base_url

    with RunFolder.open(tmp_path / "run", stage="rlvr", config={}, inputs={}, seed=0, resume=True) as run:
        first = ask(run)
        kept = json.loads((run.path / SERVERS).read_text())["critique"]
        assert (kept["base_url"], kept["model"]) == (first, "reader")
        assert said == []
        second = ask(run)
        assert json.loads((run.path / SERVERS).read_text())["critique"]["base_url"] == second
    (warning,) = said
    assert first in warning
    assert second in warning


NOBODY: Callable[[dict[str, Any]], Reply] = lambda payload: refuse(503, "out of order")  # noqa: E731
NO_MODEL: Callable[[dict[str, Any]], Reply] = lambda payload: refuse(404, "no such model")  # noqa: E731


def test_an_endpoint_that_fails_is_no_fault_of_a_row(tmp_path: Path) -> None:
    """Of rollouts on top of those that it has answered for, it may be theirs: they abstain."""
    reward = build_reward_function(load_rlvr_stage(write_critique_stage(tmp_path, "http://127.0.0.1:1/v1")))
    with refused(EnvironmentProblem, "http://127.0.0.1:1/v1", "cannot be reached") as unreachable:
        reward.ask(batch())
    assert unreachable.value.exit_code == 5
    for answer, kind, reason in (
        (NOBODY, EnvironmentProblem, "out of order"),
        (NO_MODEL, ConfigError, "no such model"),
    ):
        with Endpoint(answer) as endpoint:
            reward = build_reward_function(load_rlvr_stage(write_critique_stage(tmp_path, endpoint.base_url)))
            with refused(kind, reason) as caught:
                reward.ask(batch())
            more = None if kind is ConfigError else reward.ask(batch(), more=True)
        assert "row" not in str(caught.value).partition(";")[0].replace("in a row", "")
        assert more is None or more["critique"] == [None] * len(batch())


@pytest.mark.slow
def test_two_processes_ask_half_of_the_questions_each(tmp_path: Path) -> None:
    """And come to the same values, or to the same end where an endpoint fails."""
    ends = {"fine": read, "down": NOBODY, "unknown": NO_MODEL}
    configs, endpoints = [], {}
    for name, answer in ends.items():
        endpoints[name] = Endpoint(answer).__enter__()
        (tmp_path / name).mkdir()
        header = {"X-Process": "env:RANK"}
        configs.append(write_critique_stage(tmp_path / name, endpoints[name].base_url, headers=header))
    program = [sys.executable, "-m", "tests.training.shared_questions", *map(str, configs)]
    try:
        env = environment(PYTHONPATH=str(ROOT))
        subprocess.run(program, check=True, cwd=ROOT, env=env, timeout=240, capture_output=True)
    finally:
        for endpoint in endpoints.values():
            endpoint.__exit__()
    for name in ends:
        one, other = (json.loads((tmp_path / name / f"rank-{rank}.json").read_text()) for rank in range(2))
        assert one == other
        if name == "fine":
            assert one == {"outcome": [1.0] * ROWS, "critique": SCORES}
        else:
            code, message = one
            assert code == (5 if name == "down" else 2)
            assert ("out of order" if name == "down" else "no such model") in message
    asked = Counter(headers["x-process"] for headers in endpoints["fine"].headers)
    assert asked == {"0": 4 + 1, "1": 3 + 1}  # the reference in both
