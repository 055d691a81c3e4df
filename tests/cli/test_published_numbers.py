"""The README's commands, run as they stand there, against the numbers that the benchmarks' authors published."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT, summary
from tests.commands import here as run

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    line.rpartition("--output runs/")[2].strip(): line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("reasrm ") and "$DATA" in line
}


def follow_readme(name: str, real_data: Path, folder: Path) -> dict[str, Any]:
    """Run one command of the README with its output elsewhere; return its summary."""
    line = COMMANDS[name].replace("$DATA", str(real_data)).replace("runs/", f"{folder}/")
    result = run(*shlex.split(line)[1:])
    assert result.returncode == 0, result.stderr
    return summary(result)


def evaluate(name: str, real_data: Path, folder: Path) -> dict[str, Any]:
    said = follow_readme(name, real_data, folder)
    stored: dict[str, Any] = json.loads((folder / name / "result.json").read_bytes())
    assert all(said[key] == stored[key] for key in ("suite", "score", "coverage", "metrics", "subsets"))
    return stored


def values(table: dict[str, Any], *names: str) -> list[float]:
    return [round(table[name]["value"], 6) for name in names]


@pytest.mark.slow
def test_judgebench_o1_mini_from_its_texts(tmp_path, real_data):
    found = evaluate("judgebench-o1-mini", real_data, tmp_path)
    assert found["replayed"] == "text"
    assert round(found["score"], 6) == 0.657143
    categories = values(found["subsets"], "knowledge", "reasoning", "math", "coding")
    assert categories == [0.584416, 0.622449, 0.821429, 0.785714]
    assert values(found["metrics"], "both_orders_correct", "first_order_accuracy") == [0.58, 0.708571]
    assert found["counts"]["num_inconsistent"] == 110
    assert found["coverage"] == 1.0


def test_judgebench_internlm2_from_its_scores(tmp_path, real_data):
    found = evaluate("judgebench-internlm2", real_data, tmp_path)
    assert found["replayed"] == "score"
    assert round(found["score"], 6) == 0.594286
    categories = values(found["subsets"], "knowledge", "reasoning", "math", "coding")
    assert categories == [0.564935, 0.612245, 0.714286, 0.5]


@pytest.mark.parametrize(
    ("name", "policy", "numbers", "ambiguous"),
    [
        ("llmbar-vanilla", "strict", [0.80, 0.83, 0.815, 0.67], 0),
        ("llmbar-swapcot-upstream", "upstream", [0.77, 0.77, 0.77, 0.63], 0),
        ("llmbar-swapcot-strict", "strict", [0.75, 0.73, 0.74, 0.61], 13),
    ],
)
def test_llmbar_chatgpt(tmp_path, real_data, name, policy, numbers, ambiguous):
    found = evaluate(name, real_data, tmp_path)
    names = ("first_order_accuracy", "second_order_accuracy", "score", "both_orders_correct")
    assert values(found["metrics"], *names) == numbers
    assert found["score"] == found["metrics"]["score"]["value"]
    assert found["parse_status"].get("ambiguous", 0) == ambiguous
    assert found["policy"]["verdicts"] == policy
    assert found["judge"]["spec"] == "llmbar"


def test_pandalm_gpt35(tmp_path, real_data):
    found = evaluate("pandalm", real_data, tmp_path)
    assert found["score"] == 697 / 999
    counts = found["counts"]
    assert [counts[f"label_{name}"] for name in ("B", "A", "tie")] == [472, 422, 105]
    assert found["parse_status"]["no_verdict"] == 25


def test_pandalm_booleans_are_named_unless_coerced(tmp_path, real_data):
    folder = real_data / "pandalm"
    recorded = f"replay:{folder / 'gpt-3.5-turbo-testset-v1.json'}"
    args = ["--input", folder / "testset-v1.json", "--judge", recorded, "--output", tmp_path]
    result = run("eval", "pandalm", *args)
    assert result.returncode == 3
    errors = [json.loads(line) for line in Path(summary(result)["errors_file"]).read_text().splitlines()]
    assert sorted(int(error["id"]) for error in errors) == [157, 158, 159, 161, 162, 164]
    assert all(re.search("response[12]", error["message"]) for error in errors)


def test_rewardbench_sections_of_rm_r1_to_the_last_digit(tmp_path, real_data):
    folder = real_data / "rm-r1-results" / "RM-R1-Qwen2.5-Instruct-32B"
    published = json.loads((folder / "reward_bench_score_result_main_score.json").read_text())
    found = evaluate("rewardbench-rm-r1", real_data, tmp_path)
    for section in ("Chat", "Chat Hard", "Safety", "Reasoning"):
        assert found["subsets"][section]["value"] == published[section]
    assert found["score"] == published["avg_Result_each_section"]
    assert found["metrics"]["micro_average"]["value"] == published["absoluate_Result"]


def test_the_import_of_the_readme(tmp_path, real_data):
    said = follow_readme("pandalm-pairs.jsonl", real_data, tmp_path)
    assert (said["read"], said["kept"]) == (999, 836)
    assert said["dropped"] == {"tie": 105, "empty_response": 52, "wrong_type": 6}


def test_every_command_of_the_readme_is_run_here():
    tested = {"judgebench-o1-mini", "judgebench-internlm2", "llmbar-vanilla", "llmbar-swapcot-upstream"}
    tested |= {"llmbar-swapcot-strict", "pandalm", "rewardbench-rm-r1", "pandalm-pairs.jsonl"}
    assert set(COMMANDS) == tested
