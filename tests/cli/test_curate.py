"""`reasrm data curate` as a user runs it: exit codes, what is refused, what a kill leaves, what is not asked twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT, environment, rows_of, sorted_lines, start, summary, timeless
from tests.commands import here as run
from tests.fakes import Endpoint, chat, refuse

TOPICS = [
    "rivers",
    "bread",
    "glass",
    "chess",
    "violins",
    "comets",
    "soil",
    "maps",
    "tides",
    "looms",
    "clocks",
    "salt",
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def comparison(number: int, label: str = "A", **extra: Any) -> dict[str, Any]:
    topic = TOPICS[number % len(TOPICS)]
    return {
        "id": f"q{number}",
        "prompt": f"Write {number} lines about {topic} and the people who know {topic} best",
        "response_a": f"a text about {topic} number {number}",
        "response_b": f"nothing {number}",
        "label": label,
        **extra,
    }


def write_config(folder: Path, **sections: Any) -> Path:
    """A config in JSON, which is YAML."""
    config = {"input": str(folder / "in.jsonl"), "output": str(folder / "out"), **sections}
    path = folder / "curate.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_messy_file_becomes_splits_a_report_and_named_drops(tmp_path: Path) -> None:
    rows = [comparison(n, "A" if n % 3 else "B") for n in range(12)]
    rows += [
        comparison(20, "tie"),
        {**comparison(0), "id": "again"},
        {"id": "x", "prompt": "p", "response_a": "a"},
    ]
    path = write(tmp_path / "in.jsonl", rows)
    path.write_text(path.read_text() + "{broken\n")
    config = write_config(tmp_path, duplicates={"near": None}, splits={"sizes": {"train": "rest", "test": 3}})
    result = run("data", "curate", "--config", config)
    assert result.returncode == 0, result.stderr
    said = summary(result)
    assert (said["rows"], said["kept"]) == (16, 11)
    assert said["splits"] == {"train": 8, "test": 3}
    assert said["dropped"] == {"bad_json": 1, "label_conflict": 2, "missing_field": 1, "tie": 1}
    dropped = rows_of(tmp_path / "out" / "dropped.jsonl")
    assert {row["id"]: row["place"] for row in dropped if row["reason"] == "tie"} == {"q20": "in.jsonl:13"}
    assert {row["partner"] for row in dropped if row["reason"] == "label_conflict"} == {"q0", "again"}
    report = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert report["complete"] is True
    assert report["sides"]["after"]["listed_first"] == {"share": 8 / 11, "n": 11}, "q0 is gone, three are B"
    again = run("data", "curate", "--config", config)
    assert timeless(summary(again)) == timeless(said)
    assert "holds this curation already" in again.stderr
    write_config(tmp_path, seed=1)
    other = run("data", "curate", "--config", config)
    assert (other.returncode, summary(other)["error"]) == (2, "ConfigError")
    replaced = run("data", "curate", "--config", config, "--restart", "--quiet")
    assert (replaced.returncode, replaced.stderr) == (0, "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"pairs.jsonl", "dropped.jsonl", "curation.json", "curate.lock"}


@pytest.mark.slow
def test_a_key_of_the_config_may_be_overridden(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [comparison(n) for n in range(6)])
    config = write_config(tmp_path, seed=1)
    made = run(
        "data", "curate", "--config", config, "--set", "seed=7", "--set", "splits.sizes={a: rest, b: 2}"
    )
    assert made.returncode == 0, made.stderr
    assert summary(made)["splits"] == {"a": 4, "b": 2}
    assert json.loads((tmp_path / "out" / "curation.json").read_text())["config"]["seed"] == 7
    refused = run("data", "curate", "--config", config, "--set", "seed")
    assert (refused.returncode, summary(refused)["message"]) == (2, "--set seed: expected a.b=value")


@pytest.mark.slow
def test_overlap_is_refused_with_the_rows_and_their_share(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [comparison(n) for n in range(4)])
    write(tmp_path / "bench.jsonl", [comparison(n, id=f"bench-{n}") for n in (2, 7)])
    config = write_config(tmp_path, decontaminate={"against": str(tmp_path / "bench.jsonl")})
    result = run("data", "curate", "--config", config)
    assert (result.returncode, summary(result)["exit_code"]) == (4, 4)
    assert "1 of 4 rows (25.00%)" in summary(result)["message"]
    assert "'q2' ~ bench 'bench-2' (exact, 1.00)" in result.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"overlap.jsonl", "curate.lock"}
    assert [row["benchmark_id"] for row in rows_of(out / "overlap.jsonl")] == ["bench-2"]
    write_config(tmp_path, decontaminate={"against": str(tmp_path / "bench.jsonl"), "on_overlap": "drop"})
    dropped = run("data", "curate", "--config", config)
    assert dropped.returncode == 0, dropped.stderr
    assert summary(dropped)["overlap"] == {"rows": 1, "share": 0.25, "action": "drop"}
    assert [row["id"] for row in rows_of(out / "pairs.jsonl")] == ["q0", "q1", "q3"]


def prefer_a_text(payload: dict[str, Any]) -> Any:
    """Prefer `a text …` wherever it is shown; be slow enough to be killed."""
    time.sleep(0.02)
    shown = json.dumps(payload["messages"])
    return chat(f"[[{'A' if shown.index('a text about') < shown.index('nothing') else 'B'}]]")


def judge_section(endpoint: Endpoint) -> dict[str, Any]:
    return {"run": {"judge": f"openai:m@{endpoint.base_url}", "spec": "mt-bench", "concurrency": 4}}


@pytest.mark.slow
def test_a_judge_is_run_killed_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [comparison(n, "A" if n % 4 else "B") for n in range(40)])
    with Endpoint(prefer_a_text) as endpoint:
        config = write_config(tmp_path, consistency={**judge_section(endpoint), "recycle": True})
        process = start("data", "curate", "--config", config)
        judged = tmp_path / "out" / "judged.jsonl"
        while not judged.exists() or judged.read_bytes().count(b"\n") < 8:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "out" / "curation.json").exists()
        assert not (tmp_path / "out" / "pairs.jsonl").exists()
        result = run("data", "curate", "--config", config)
        assert result.returncode == 0, result.stderr
        assert len(endpoint.calls) <= 80 + 2 * 4, "only what was in flight is asked again"
        fresh = run("data", "curate", "--config", config, "--output", tmp_path / "fresh")
    said = summary(result)
    assert (said["kept"], said["judge_agreement"]) == (40, 0.75)
    rows = rows_of(tmp_path / "out" / "pairs.jsonl")
    assert all(row["chosen"][0]["content"].startswith("a text") for row in rows)
    assert sum("flipped" in row["meta"] for row in rows) == 10
    assert summary(fresh)["kept"] == 40
    assert sorted_lines(tmp_path / "out" / "pairs.jsonl") == sorted_lines(tmp_path / "fresh" / "pairs.jsonl")


@pytest.mark.slow
def test_a_stopped_judge_says_so_and_failed_calls_are_tried_again_on_request(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [comparison(n) for n in range(12)])
    broken = {"on": True}

    def answer(payload: dict[str, Any]) -> Any:
        shown = json.dumps(payload["messages"])
        return refuse(400, "no") if broken["on"] and "rivers" in shown else prefer_a_text(payload)

    with Endpoint(answer) as endpoint:
        config = write_config(tmp_path, consistency=judge_section(endpoint))
        process = start("data", "curate", "--config", config)
        while not endpoint.calls:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 143, stderr
        assert json.loads(stdout.splitlines()[-1])["interrupted"] is True
        assert not (tmp_path / "out" / "work").exists()
        result = run("data", "curate", "--config", config)
        assert (result.returncode, summary(result)["judge_errors"]) == (3, 1)
        assert summary(result)["dropped"] == {"not_judged": 1}
        broken["on"] = False
        retried = run("data", "curate", "--config", config, "--retry-errors")
    assert retried.returncode == 0, retried.stderr
    assert (summary(retried)["kept"], summary(retried)["dropped"]) == (12, {})


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"dupicates": {}}, 2, "did you mean 'duplicates'"),
        ({"splits": {"sizes": {"train": 0.5}}}, 2, "shares must add up to 1"),
        ({"input": "nowhere.jsonl"}, 4, "nowhere.jsonl"),
        ({"language": {"keep": "tlh"}}, 2, "no script is known"),
    ],
    ids=["unknown key", "sizes", "no input", "language"],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, change: dict[str, Any], code: int, message: str
) -> None:
    write(tmp_path / "in.jsonl", [comparison(0)])
    result = run("data", "curate", "--config", write_config(tmp_path, **change))
    assert result.returncode == code, result.stderr
    assert message in summary(result)["message"]


def test_the_program_is_the_command(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [comparison(0)])
    config = write_config(tmp_path)
    command = [sys.executable, str(ROOT / "data_pipelines" / "curate.py"), "--config", str(config), "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert result.returncode == 0, result.stderr
    assert summary(result)["kept"] == 1
