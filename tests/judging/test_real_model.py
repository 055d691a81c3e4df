"""A real transformers model, tiny and untrained, through the whole path on a real benchmark."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from reasrm.errors import ConfigError
from reasrm.evaluation.run import evaluate
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.suites import get_suite
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Message
from tests.refusals import refused
from tests.tiny import build_tiny_model


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, pytest.param(350, marks=pytest.mark.soak)])
def test_a_real_model_judges_judgebench_without_losing_a_row(tmp_path, real_data, count):
    model = tmp_path / "model"
    build_tiny_model(model, context=3800)
    judge = open_judge(str(model), spec="arena-hard", batch_size=8)
    rows = JudgeInput([real_data / "judgebench" / "gpt-4o-2024-05-13.jsonl"], limit=count)
    options = JudgingOptions(sampling=judge.sampling(max_tokens=8))
    found = evaluate(get_suite("judgebench"), judge, rows, tmp_path / "out", options)
    lines = [json.loads(line) for line in (tmp_path / "out" / "judgments.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == count
    statuses = Counter(judgment["status"] for line in lines for judgment in line["judgments"])
    assert statuses.total() == 2 * count
    assert statuses["too_long"] > 0, "long real prompts do not fit a context of 3800 byte-level tokens"
    assert statuses["truncated"] > 0, "eight tokens are cut"
    assert set(statuses) <= {"too_long", "truncated", "no_verdict"}
    assert found.result["num_errors"] == 0
    assert found.result["coverage"] == 0.0
    assert found.result["score"] == 0.0, "JudgeBench counts a pair without a verdict as not won"


def test_a_judge_folder_brings_its_own_spec_and_judges(tmp_path):
    folder = tmp_path / "judge"
    build_tiny_model(folder / "model", context=4000)
    spec = load_spec("rm-nlhf")
    folder.joinpath("judge.json").write_text(
        json.dumps({"spec": spec.model_dump(mode="json"), "version": "x"})
    )
    judge = open_judge(str(folder))
    assert judge.spec.hash == spec.hash
    row = Comparison(id="r", prompt=(Message("user", "Hi?"),), response_a="Hello.", response_b="No.")
    options = JudgingOptions(votes=2, sampling=judge.sampling(temperature=1.0, max_tokens=5))
    (first,), (second,) = (list(judge.judge([row], options)) for _ in range(2))
    assert len(first.judgments) == 4
    assert [j.text for j in first.judgments] == [j.text for j in second.judgments], "sampling is seeded"
    assert first.judgments[0].text != first.judgments[1].text, "votes are different samples"
    assert load_spec(str(folder)).name == "rm-nlhf"


def test_a_run_folder_is_no_judge_yet(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with refused(ConfigError, "reasrm export --run"):
        open_judge(str(tmp_path / "run"), spec="arena-hard")
