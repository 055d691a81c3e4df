"""The commands of docs/evaluation.md, run as they stand there, against what the benchmarks' authors published."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, parquet

from tests.commands import ROOT, rows_of, summary
from tests.commands import here as run

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = {
    line.rpartition("--output runs/")[2].strip(): line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("reasrm ") and "$DATA" in line
}


def follow_page(name: str, real_data: Path, folder: Path) -> dict[str, Any]:
    """Run one command of the page with its output elsewhere; return its summary."""
    line = COMMANDS[name].replace("$DATA", str(real_data)).replace("runs/", f"{folder}/")
    result = run(*shlex.split(line)[1:])
    assert result.returncode == 0, result.stderr
    return summary(result)


def evaluate(name: str, real_data: Path, folder: Path) -> dict[str, Any]:
    said = follow_page(name, real_data, folder)
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "score", "discrete"), [("falcon-7b-instruct", 2.1466, 1.9876), ("NullModel", 76.9198, 83.9752)]
)
def test_alpaca_eval_from_its_probabilities(tmp_path, real_data, model, score, discrete):
    rows = real_data / "alpaca-eval" / f"judge_{model}_gpt4turbo.json"
    result = run("eval", "alpaca-eval", "--judge", "replay", "--input", rows, "--output", tmp_path)
    found = summary(result)
    assert (round(100 * found["score"], 4), found["coverage"], found["replayed"]) == (score, 1.0, "score")
    # Upstream counts a preference of exactly one half as no win; here it is half a one.
    judged = rows_of(tmp_path / "judgments.jsonl")
    wins = sum(row["scores"][1] > 0.5 for row in judged)
    assert round(100 * wins / 805, 4) == discrete
    assert all(row["label"] is None for row in judged)
    sure = [row["confidence"] for row in judged if row["verdict"] != "tie"]
    assert 0.5 < min(sure) < max(sure) <= 1


@pytest.mark.slow
def test_rewardbench_whole_from_its_parquet_by_two_baselines(tmp_path, real_data):
    rows = real_data / "rewardbench" / "filtered-00000-of-00001.parquet"
    said = summary(run("data", "import", "--input", rows, "--output", tmp_path / "pairs.jsonl"))
    assert (said["read"], said["kept"], said["dropped"]) == (2985, 2985, {})
    pairs = rows_of(tmp_path / "pairs.jsonl")
    table_of_cells = tmp_path / "rows.csv"
    csv.write_csv(parquet.read_table(rows), table_of_cells)
    run("data", "import", "--input", table_of_cells, "--output", tmp_path / "from-csv.jsonl")
    assert rows_of(tmp_path / "from-csv.jsonl") == pairs
    assert len({pair["subset"] for pair in pairs}) == 23
    assert all({"chosen_model", "rejected_model"} <= set(pair["meta"]) for pair in pairs)
    lengths = [(len(pair["chosen"][0]["content"]), len(pair["rejected"][0]["content"])) for pair in pairs]
    assert sum(a == b for a, b in lengths) == 368
    judges = {
        "longer": [[{"order": "AB", "vote": 0, "scores": list(pair)}] for pair in lengths],
        "first": [
            [{"order": "AB", "vote": 0, "verdict": "A"}, {"order": "BA", "vote": 0, "verdict": "B"}]
            for _ in pairs
        ],
    }
    found = {}
    for name, judgments in judges.items():
        lines = [{"id": pair["id"], "judgments": said} for pair, said in zip(pairs, judgments, strict=True)]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        judge = f"replay:{tmp_path / name}"
        result = run(
            "eval", "rewardbench", "--input", rows, "--judge", judge, "--output", tmp_path / f"{name}-out"
        )
        found[name] = summary(result)
    sections = ("Chat", "Chat Hard", "Safety", "Reasoning")
    assert values(found["longer"]["subsets"], *sections) == [0.804469, 0.293860, 0.418919, 0.309983]
    assert values(found["longer"]["metrics"], "score", "micro_average") == [0.456808, 0.435511]
    assert values(found["first"]["subsets"], *sections) == [0.5] * 4
    assert (found["first"]["metrics"]["position_a_rate"]["value"], found["first"]["consistency"]) == (
        1.0,
        0.0,
    )


def test_trajectories_with_tools_are_all_read(tmp_path, real_data):
    rows = real_data / "plan-rewardbench" / "planning_single_easy.jsonl"
    said = summary(run("data", "import", "--input", rows, "--output", tmp_path / "pairs.jsonl"))
    assert (said["read"], said["files"][0]["sources"]) == (144, ["plan-rewardbench"])
    assert set(said["dropped"]) <= {"identical", "empty_response"}


def test_the_import_of_the_page(tmp_path, real_data):
    said = follow_page("pandalm-pairs.jsonl", real_data, tmp_path)
    assert (said["read"], said["kept"]) == (999, 836)
    assert said["dropped"] == {"tie": 105, "empty_response": 52, "wrong_type": 6}


def test_every_command_that_replays_is_run_here():
    tested = {"judgebench-o1-mini", "judgebench-internlm2", "llmbar-vanilla", "llmbar-swapcot-upstream"}
    tested |= {"llmbar-swapcot-strict", "pandalm", "rewardbench-rm-r1", "pandalm-pairs.jsonl"}
    assert set(COMMANDS) == tested
