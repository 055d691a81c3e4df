"""Rubrics whose authors knew a row's label judge that row nowhere, from Python either, unless somebody says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reasrm.errors import ConfigError
from reasrm.evaluation.run import evaluate
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.judging.reward_function import as_reward
from reasrm.metrics.suites import get_suite
from reasrm.protocol.spec import load_spec
from reasrm.sources.rubric_lines import Rubrics, load_rubrics
from tests.refusals import refused
from tests.rubrics.shared import JudgeModel, pair, right, write_lines, write_pairs

CRITERIA = {"criteria": [{"text": "The response is calm."}]}
REFUSED = ("'q0'", "rubrics_that_saw_labels")


def judge(model: JudgeModel | None = None) -> Judge:
    return Judge(spec=load_spec("sandbox"), backend=model or JudgeModel(right))


def sighted(folder: Path) -> Rubrics:
    return load_rubrics(write_lines(folder / "rubrics.jsonl", [{"id": "q0", **CRITERIA, "saw_label": True}]))


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_judge_in_python_refuses_them_whoever_put_them_into_the_row(tmp_path: Path, by_hand: bool) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    rubrics, model = sighted(tmp_path), JudgeModel(right)
    (item,) = JudgeInput([tmp_path / "pairs.jsonl"])
    assert item.row is not None
    row = replace(item.row, rubric=rubrics.by_id["q0"].rubric) if by_hand else rubrics.join(item.row)
    with refused(ConfigError, *REFUSED):
        list(judge(model).judge([row]))
    assert model.requests == []
    options = JudgingOptions(rubrics_that_saw_labels=True)
    assert len(list(judge(model).judge([row], options))) == 1
    clean = replace(row, rubric=replace(row.rubric, saw_label=False)) if row.rubric else row
    assert len(list(judge().judge([clean]))) == 1


def test_a_row_as_a_dict_says_it_too(tmp_path: Path) -> None:
    with refused(ConfigError, *REFUSED):
        list(judge().judge([{**pair(0), "rubric": {**CRITERIA, "saw_label": True}}]))
    assert len(list(judge().judge([{**pair(0), "rubric": CRITERIA}]))) == 1


def test_files_and_suites_in_python_refuse_them(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    rows = JudgeInput([tmp_path / "pairs.jsonl"], rubrics=sighted(tmp_path))
    with refused(ConfigError, *REFUSED):
        judge_file(judge(), rows, tmp_path / "out.jsonl")
    with refused(ConfigError, *REFUSED):
        evaluate(get_suite("pairs"), judge(), rows, tmp_path / "result", JudgingOptions())
    options = JudgingOptions(rubrics_that_saw_labels=True)
    assert judge_file(judge(), rows, tmp_path / "out.jsonl", options).saw_labels
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert manifest["identity"]["rubrics_that_saw_labels"] is True


def test_a_reward_may_show_them_for_other_responses_have_no_label(tmp_path: Path) -> None:
    reward = as_reward(judge())
    rubric = [{**CRITERIA, "saw_label": True}] * 2
    given = reward(prompts=["q"] * 2, completions=["good one", "bad one"], rubric=rubric)
    assert given == [1.0, 0.0]
