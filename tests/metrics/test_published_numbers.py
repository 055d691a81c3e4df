"""Published scores, recomputed from the files that judges and benchmarks were released with."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reasrm.metrics.outcomes import RowOutcome, majority
from reasrm.metrics.suites import judgebench, llmbar, pandalm, rewardbench
from reasrm.records import Order, ParseStatus, RowStatus, Winner
from tests.metrics.builders import SWAP

DECISIONS: dict[str | None, Winner | None] = {"A>B": "A", "B>A": "B", "A=B": "tie", None: None}


def outcome(
    row_id: str, target: Winner, first: Winner | None, second: Winner | None, subset: str | None = None
) -> RowOutcome:
    """Build a row from verdicts in the row's own frame."""
    said = majority((first, second))
    parses = tuple(ParseStatus.OK if v is not None else ParseStatus.AMBIGUOUS for v in (first, second))
    status = {"split": RowStatus.SPLIT, "unreadable": RowStatus.AMBIGUOUS}.get(said, RowStatus.OK)
    return RowOutcome(
        id=row_id,
        target=target,
        status=status,
        verdict=said if status is RowStatus.OK else None,  # type: ignore[arg-type]
        by_order={Order.AB: (first,), Order.BA: (second,)},
        parses=parses,
        subset=subset,
    )


def judgebench_rows(path: Path) -> list[RowOutcome]:
    rows = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        first, second = (DECISIONS[judgment["decision"]] for judgment in row["judgments"])
        target = DECISIONS[row["label"]]
        assert target is not None
        rows.append(outcome(row["pair_id"], target, first, SWAP[second], row["source"]))
    return rows


@pytest.mark.parametrize(
    ("judge", "overall", "categories"),
    [
        (
            "arena-hard_o1-mini",
            0.657143,
            {"knowledge": 0.584416, "reasoning": 0.622449, "math": 0.821429, "coding": 0.785714},
        ),
        (
            "rm_internlm2-7b",
            0.594286,
            {"knowledge": 0.564935, "reasoning": 0.612245, "math": 0.714286, "coding": 0.5},
        ),
    ],
)
def test_judgebench(real_data: Path, judge: str, overall: float, categories: dict[str, float]) -> None:
    got = judgebench.evaluate(judgebench_rows(real_data / "judgebench" / f"judgments_gpt-4o_{judge}.jsonl"))
    assert got.score.value == pytest.approx(overall, abs=5e-7)
    assert {name: e.value for name, e in got.subsets.items()} == pytest.approx(categories, abs=5e-7)
    assert {name: e.n for name, e in got.subsets.items()} == {
        "knowledge": 154,
        "reasoning": 98,
        "math": 56,
        "coding": 42,
    }


def test_judgebench_o1_mini_beside_its_score(real_data: Path) -> None:
    rows = judgebench_rows(real_data / "judgebench" / "judgments_gpt-4o_arena-hard_o1-mini.jsonl")
    got = judgebench.evaluate(rows)
    assert got.metrics["both_orders_correct"].value == 0.58
    assert got.metrics["first_order_accuracy"].value == pytest.approx(0.708571, abs=5e-7)
    assert got.counts["num_inconsistent"] == 110
    assert got.metrics["consistency"].value == 240 / 350
    assert got.metrics["coverage"].value == 1.0
    assert Counter(vote for row in rows for votes in row.by_order.values() for vote in votes)["tie"] == 44


def llmbar_items(real_data: Path, judge: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (real_data / "llmbar" / f"judge_natural_chatgpt_{judge}.result.json").read_text()
    )
    return found


@pytest.mark.parametrize(
    ("judge", "expected"),
    [("vanilla", (0.80, 0.83, 0.815, 0.67, 0.71)), ("swapcot", (0.77, 0.77, 0.77, 0.63, 0.72))],
)
def test_llmbar_as_published(real_data: Path, judge: str, expected: tuple[float, ...]) -> None:
    sides: dict[object, Winner] = {1: "A", 2: "B", "1": "A", "2": "B"}
    rows = [
        outcome(
            str(n),
            sides[item["label"]],
            *(sides[last[key]["winner"]] for key in ("swap = False", "swap = True")),
        )
        for n, item in enumerate(llmbar_items(real_data, judge))
        for last in (item["results"][-1],)
    ]
    got = llmbar.evaluate(rows)
    names = ("first_order_accuracy", "second_order_accuracy", "both_orders_correct", "consistency")
    first, second, both, agreement = (got.metrics[name].value for name in names)
    assert (first, second, got.score.value, both, agreement) == expected
    published = json.loads(
        (real_data / "llmbar" / f"judge_natural_chatgpt_{judge}.statistics.json").read_text()
    )
    assert got.metrics["order_kappa"].value == pytest.approx(published["kappa_agreement"], abs=1e-12)


def test_llmbar_read_strictly(real_data: Path) -> None:
    phrases: dict[str, Winner] = {"a": "A", "b": "B"}  # exactly one distinct phrase in the text
    rows = []
    for n, item in enumerate(llmbar_items(real_data, "swapcot")):
        last = item["results"][-1]
        found = [
            set(re.findall(r"Output \(([ab])\) is better", last[f"swap = {s}"]["completion"][0]))
            for s in (False, True)
        ]
        first, second = (phrases.get("".join(said)) for said in found)
        rows.append(outcome(str(n), "A" if item["label"] == 1 else "B", first, SWAP[second]))
    got = llmbar.evaluate(rows)
    assert got.metrics["first_order_accuracy"].value == 0.75
    assert got.metrics["second_order_accuracy"].value == 0.73
    assert got.score.value == 0.74
    assert got.metrics["both_orders_correct"].value == 0.61
    assert got.counts["parse_ambiguous"] == 13


def test_pandalm(real_data: Path) -> None:
    folder = real_data / "pandalm"
    classes: dict[object, Winner] = {0: "tie", 1: "A", 2: "B", "Tie": "tie", "1": "A", "2": "B"}
    said = {
        r["idx"]: classes.get(r["gpt_result"])
        for r in json.loads((folder / "gpt-3.5-turbo-testset-v1.json").read_text())
    }
    rows = []
    for item in json.loads((folder / "testset-v1.json").read_text()):
        target = majority([classes[item[f"annotator{k}"]] for k in (1, 2, 3)])
        assert target in ("A", "B", "tie")
        verdict = said[item["idx"]]
        status = RowStatus.NO_VERDICT if verdict is None else RowStatus.OK
        rows.append(
            RowOutcome(
                id=str(item["idx"]),
                target=target,
                status=status,
                verdict=verdict,
                by_order={Order.AB: (verdict,)},
            )
        )
    got = pandalm.evaluate(rows)
    assert (got.score.value, got.score.n) == (697 / 999, 999)
    assert (got.counts["label_A"], got.counts["label_B"], got.counts["label_tie"]) == (422, 472, 105)
    assert got.counts["status_no_verdict"] == 25


def rewardbench_scores(real_data: Path) -> tuple[dict[str, float], dict[str, float]]:
    folder = real_data / "rm-r1-results" / "RM-R1-Qwen2.5-Instruct-32B"
    small, main = (
        json.loads((folder / f"reward_bench_score_result_{name}.json").read_text())
        for name in ("each_small_section_score", "main_score")
    )
    return {name: value for name, value in small.items() if isinstance(value, float)}, main


def test_rewardbench_to_the_last_digit(real_data: Path) -> None:
    scores, published = rewardbench_scores(real_data)
    sections = rewardbench.section_scores(scores)
    assert sections == {name: published[name] for name in rewardbench.SECTIONS}
    assert rewardbench.mean_of_sections(sections) == published["avg_Result_each_section"]


@pytest.mark.slow
def test_rewardbench_from_rows(real_data: Path) -> None:
    scores, published = rewardbench_scores(real_data)
    right = {subset: round(scores[subset] * rows) for subset, rows in rewardbench.ROWS.items()}
    rows = [
        RowOutcome(id=f"{subset}/{k}", target="A", verdict="A" if k < right[subset] else "B", subset=subset)
        for subset, count in rewardbench.ROWS.items()
        for k in range(count)
    ]
    got = rewardbench.evaluate(rows)
    assert got.score.value == published["avg_Result_each_section"]
    assert {name: got.subsets[name].value for name in rewardbench.SECTIONS} == rewardbench.section_scores(
        scores
    )
    assert sum(right.values()) == 2774
    assert got.metrics["micro_average"].value == 2774 / 2985 == published["absoluate_Result"]
    assert got.counts["num_missing_subsets"] == 0


def test_rm_bench_published_means_agree(real_data: Path) -> None:
    path = real_data / "rm-r1-results" / "RM-R1-Qwen2.5-Instruct-32B" / "RM-Bench_final_result.json"
    published = json.loads(path.read_text())
    domains = [published[name] for name in ("chat", "math", "code", "safety")]
    levels = [published[f"{name}_acc"] for name in ("easy", "normal", "hard")]
    assert sum(domains) / 4 == pytest.approx(sum(levels) / 3, abs=1e-9)
