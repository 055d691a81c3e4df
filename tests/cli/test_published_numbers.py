"""The numbers that the benchmarks' authors published, through the real command, from the real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run, summary


def evaluate(suite: str, output: Path, *args: str | Path) -> dict[str, Any]:
    result = run("eval", suite, "--output", output, *args)
    assert result.returncode == 0, result.stderr
    stored: dict[str, Any] = json.loads((output / "result.json").read_bytes())
    said = summary(result)
    assert all(said[key] == stored[key] for key in ("suite", "score", "coverage", "metrics", "subsets"))
    return stored


def values(table: dict[str, Any], *names: str) -> list[float]:
    return [round(table[name]["value"], 6) for name in names]


def test_judgebench_o1_mini_from_its_texts(tmp_path, real_data):
    file = real_data / "judgebench" / "judgments_gpt-4o_arena-hard_o1-mini.jsonl"
    found = evaluate("judgebench", tmp_path, "--input", file, "--judge", "replay", "--spec", "arena-hard")
    assert found["replayed"] == "text"
    assert round(found["score"], 6) == 0.657143
    categories = values(found["subsets"], "knowledge", "reasoning", "math", "coding")
    assert categories == [0.584416, 0.622449, 0.821429, 0.785714]
    assert values(found["metrics"], "both_orders_correct", "first_order_accuracy") == [0.58, 0.708571]
    assert found["counts"]["num_inconsistent"] == 110
    assert found["coverage"] == 1.0


def test_judgebench_internlm2_from_its_scores(tmp_path, real_data):
    file = real_data / "judgebench" / "judgments_gpt-4o_rm_internlm2-7b.jsonl"
    found = evaluate("judgebench", tmp_path, "--input", file, "--judge", "replay")
    assert found["replayed"] == "score"
    assert round(found["score"], 6) == 0.594286
    categories = values(found["subsets"], "knowledge", "reasoning", "math", "coding")
    assert categories == [0.564935, 0.612245, 0.714286, 0.5]


@pytest.mark.parametrize(
    ("run_name", "policy", "numbers", "ambiguous"),
    [
        ("vanilla", "strict", [0.80, 0.83, 0.815, 0.67], 0),
        ("swapcot", "upstream", [0.77, 0.77, 0.77, 0.63], 0),
        ("swapcot", "strict", [0.75, 0.73, 0.74, 0.61], 13),
    ],
)
def test_llmbar_chatgpt(tmp_path, real_data, run_name, policy, numbers, ambiguous):
    file = real_data / "llmbar" / f"judge_natural_chatgpt_{run_name}.result.json"
    args = ["--input", file, "--judge", "replay", "--spec", "llmbar", "--verdict-policy", policy]
    found = evaluate("llmbar", tmp_path, *args)
    names = ("first_order_accuracy", "second_order_accuracy", "score", "both_orders_correct")
    assert values(found["metrics"], *names) == numbers
    assert found["score"] == found["metrics"]["score"]["value"]
    assert found["parse_status"].get("ambiguous", 0) == ambiguous
    assert found["policy"]["verdicts"] == policy


def test_pandalm_gpt35(tmp_path, real_data):
    folder = real_data / "pandalm"
    recorded = f"replay:{folder / 'gpt-3.5-turbo-testset-v1.json'}"
    args = ["--input", folder / "testset-v1.json", "--judge", recorded, "--coerce-scalars"]
    found = evaluate("pandalm", tmp_path, *args)
    assert round(found["score"] * 999) == 697
    assert found["num_rows"] == 999
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
    assert all("response1" in error["message"] or "response2" in error["message"] for error in errors)


def test_rewardbench_sections_of_rm_r1_to_the_last_digit(tmp_path, real_data):
    folder = real_data / "rm-r1-results" / "RM-R1-Qwen2.5-Instruct-32B"
    file = folder / "reward_bench_score_result_each_small_section_score.json"
    published = json.loads((folder / "reward_bench_score_result_main_score.json").read_text())
    found = evaluate("rewardbench", tmp_path, "--input", file, "--judge", "replay")
    for section in ("Chat", "Chat Hard", "Safety", "Reasoning"):
        assert found["subsets"][section]["value"] == published[section]
    assert found["score"] == published["avg_Result_each_section"]
    assert found["metrics"]["micro_average"]["value"] == published["absoluate_Result"]
