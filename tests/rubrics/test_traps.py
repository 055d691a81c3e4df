"""What other rubric systems' code gets wrong, done right here: a test for each that no test elsewhere has by name.

The prefix says whose code: `evolm` (winner always first), `openjudge` (ties pass by place, the writer checks itself),
`open_instruct` (a failure counts as 0), `rubrichub` (resumes by row number), `verifiers` (first JSON wins), `openrs`
(errors leave the denominator, an exception is a tie), `cdrrm` (winner in slot A, its own word, wrong verdicts),
`nemo` (long rubrics truncate), `autorubric` (abstaining raises a score).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm.requests import Completion, Request
from tests.commands import here
from tests.rubrics.shared import (
    GOOD,
    Author,
    JudgeModel,
    adds_up,
    pair,
    reasons,
    right,
    rows_of,
    run,
    write_lines,
    write_pairs,
)


def judge_that(answer: Callable[[str], str | Completion]) -> JudgeModel:
    """A judge who answers by the rubric that it is shown, and rightly without one."""
    model = JudgeModel(right)
    as_usual = model._answer

    def respond(request: Request) -> str | Completion:
        texts = [s.text for m in request.messages for s in m.spans if not s.trusted]
        rubric = texts[1] if len(texts) == 4 else None
        return as_usual(request) if rubric is None else answer(rubric)

    model._answer = respond
    return model


def synthesised(folder: Path, judge: JudgeModel, **settings: Any) -> dict[str, int]:
    write_pairs(folder / "pairs.jsonl", 4)
    result = run(folder, Author(), judge, **settings)
    adds_up(result.files.folder, 4)
    return reasons(result)


def test_evolm_a_judge_that_follows_places_keeps_no_rubric(tmp_path: Path) -> None:
    """There the preferred response is always A, and `prefer the first response` gets full reward."""
    first = judge_that(lambda rubric: "<answer>[[A]]</answer>")
    assert synthesised(tmp_path, first) == {"split_under_rubric": 4}
    preferring = "1. The first response is to be preferred. [Principle]"
    told = run(tmp_path, Author(lambda request: preferring), output=str(tmp_path / "two"))
    assert reasons(told) == {"position": 4}


@pytest.mark.parametrize("better_first", [True, False])
def test_openjudge_a_tie_passes_in_no_place(tmp_path: Path, better_first: bool) -> None:
    """There equal ranks reproduce the label if the better response is listed first."""
    good, bad = "good azure", "bad brick"
    texts = (good, bad) if better_first else (bad, good)
    row = {"id": "q", "prompt": "name a colour", "response_a": texts[0], "response_b": texts[1]}
    write_lines(tmp_path / "pairs.jsonl", [{**row, "label": "A" if better_first else "B"}])
    tie = judge_that(lambda rubric: "<answer>[[C]]</answer>")
    assert reasons(run(tmp_path, Author(), tie)) == {"unreadable_under_rubric": 1}


def test_open_instruct_a_judge_that_fails_says_nothing_of_a_rubric(tmp_path: Path) -> None:
    """There a failed call is 0 with the weight kept, and for a negative criterion a free pass."""
    down = judge_that(lambda rubric: Completion("", finish_reason="error", error="down"))
    assert synthesised(tmp_path, down) == {"call_failed": 4}
    (line,) = rows_of(tmp_path / "out" / "ledger.jsonl")
    assert "misleading" not in line
    assert "wrong_under_rubric" not in {row["reason"] for row in rows_of(tmp_path / "out" / "rejected.jsonl")}


def test_rubrichub_a_shuffled_input_resumes_by_content(tmp_path: Path) -> None:
    """There a run goes on by the number of a row unless a column of ids is named."""
    rows = [{key: value for key, value in pair(n).items() if key != "id"} for n in range(6)]
    write_lines(tmp_path / "pairs.jsonl", rows)
    whole = run(tmp_path, Author())
    kept = whole.files.rubrics.read_bytes()
    write_lines(tmp_path / "pairs.jsonl", rows[::-1])
    again = Author()
    assert run(tmp_path, again).files.rubrics.read_bytes() == kept
    assert again.asked == []


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\n\nFinal:\n{GOOD}",
        f"> {GOOD}\n1. The response is vivid. [Principle]",
        '{"hard_rules": [{"criterion": "x"}]}\n{"hard_rules": [{"criterion": "y"}]}',
    ],
)
def test_verifiers_two_answers_in_one_are_none(tmp_path: Path, text: str) -> None:
    """There the first object that parses is the answer, a quoted one too."""
    write_pairs(tmp_path / "pairs.jsonl", 1)
    assert reasons(run(tmp_path, Author(lambda request: text))) == {"unreadable": 1}


def test_openrs_what_cannot_be_read_is_no_tie_and_stays_in_the_count(tmp_path: Path) -> None:
    """There an exception is a tie, and rows with an error leave the denominator."""
    mute = judge_that(lambda rubric: "I cannot say.")
    assert synthesised(tmp_path, mute) == {"unreadable_under_rubric": 4}
    (line,) = rows_of(tmp_path / "out" / "ledger.jsonl")
    assert (line["rows"], line["verified"], line["right"], line["without_right"]) == (4, 4, 0, 4)


def test_nemo_a_judge_whose_answer_is_cut_under_a_long_rubric_is_not_wrong(tmp_path: Path) -> None:
    """A verdict that stands before the cut is not read either."""
    cut = judge_that(lambda rubric: Completion("", text="<answer>[[B]]</answer>", finish_reason="length"))
    assert synthesised(tmp_path, cut) == {"unreadable_under_rubric": 4}


def test_cdrrm_an_authors_word_on_its_own_rubric_changes_nothing(tmp_path: Path) -> None:
    """There a rubric is kept because its writer says that it predicts the label, in a template that says A."""
    write_pairs(tmp_path / "pairs.jsonl", 1)
    boast = f"{GOOD}\nexpected_winner: A, rubric_predicts: A"
    assert reasons(run(tmp_path, Author(lambda request: boast))) == {"unreadable": 1}
    wrong = judge_that(lambda rubric: "<answer>[[A]]</answer>")
    assert reasons(run(tmp_path, Author(), wrong, output=str(tmp_path / "two"))) == {"split_under_rubric": 1}


@pytest.mark.slow
def test_cdrrm_a_judge_learns_no_wrong_verdict_under_a_rubric(tmp_path: Path) -> None:
    """There any verdict that can be read becomes a row of SFT."""
    pairs = tmp_path / "pairs.jsonl"
    assert here("sandbox", "pairs", "--rows", "12", "--output", pairs).returncode == 0
    criteria = [{"kind": "principle", "text": "warm"}]
    write_lines(
        tmp_path / "rubrics.jsonl", ({"id": row["id"], "criteria": criteria} for row in rows_of(pairs))
    )
    config = {
        "stage": "distill",
        "input": str(pairs),
        "output": str(tmp_path / "out"),
        "spec": "sandbox",
        "rubrics": str(tmp_path / "rubrics.jsonl"),
        "teacher": {"judge": "scripted", "scripted": {"error_rate": 0.5}},
    }
    (tmp_path / "distill.yaml").write_text(json.dumps(config))
    done = here("distill", "--config", tmp_path / "distill.yaml")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert 0 < said["sft_rows"] < 12
    assert said["rows"]["wrong_verdict"] == 12 - said["sft_rows"]


def test_autorubric_abstaining_raises_nothing_unseen(tmp_path: Path) -> None:
    """There what is skipped leaves the score, unsaid; here coverage stands beside each number."""
    criteria = [{"kind": "principle", "text": "The response is calm."}]
    write_pairs(tmp_path / "pairs.jsonl", 4)
    write_lines(tmp_path / "rubrics.jsonl", ({"id": f"q{n}", "criteria": criteria} for n in range(4)))
    marks = ({"id": f"q{n}", "chosen": [1 if n == 0 else None], "rejected": [0]} for n in range(4))
    write_lines(tmp_path / "marks.jsonl", marks)
    done = here(
        *("rubrics", "report", "--rubrics", tmp_path / "rubrics.jsonl", "--pairs", tmp_path / "pairs.jsonl"),
        *("--marks", tmp_path / "marks.jsonl", "--output", tmp_path / "report"),
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())["sections"]["discrimination"]
    assert (numbers["aligned"]["value"], numbers["marked"]["value"]) == (1.0, 0.25)
