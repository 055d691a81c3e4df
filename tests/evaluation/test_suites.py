"""Suites end to end with a judge whose answers are known."""

from __future__ import annotations

import json

import pytest

from reasrm.errors import ConfigError, InputError
from reasrm.evaluation.run import evaluate
from reasrm.evaluation.table import render_table
from reasrm.files import file_sha256
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.suites import get_suite
from reasrm.metrics.suites.rewardbench import ROWS, rewardbench_outcomes
from reasrm.protocol.spec import load_spec
from reasrm.requests import Request
from tests.commands import write_rows
from tests.fakes import FakeBackend


def longer_wins(request: Request) -> str:
    """A judge that prefers the longer response, whatever it says."""
    texts = [span.text for message in request.messages for span in message.spans if not span.trusted]
    return f"[[{'A' if len(texts[-2]) >= len(texts[-1]) else 'B'}]]"


@pytest.mark.slow
def test_rm_bench_shows_that_a_length_judge_is_easy_to_fool(tmp_path, real_data):
    judge = Judge(spec=load_spec("mt-bench"), backend=FakeBackend(longer_wins))
    rows = JudgeInput([real_data / "rm-bench" / "chat_filtered.json"])
    found = evaluate(get_suite("rm-bench"), judge, rows, tmp_path, JudgingOptions()).result
    assert found["num_rows"] == 129 * 9
    easy, normal, hard = (found["metrics"][name]["value"] for name in ("easy", "normal", "hard"))
    # Easy cells set a longer chosen response against a shorter rejected one, hard cells the reverse.
    assert easy > normal > hard
    assert easy - hard > 0.5
    assert found["score"] == pytest.approx((easy + normal + hard) / 3)
    assert "position_a_rate" in render_table(found)


def test_a_suite_that_is_not_there_is_guessed():
    with pytest.raises(ConfigError, match="judgebench"):
        get_suite("judge-bench")


def test_published_accuracies_must_be_whole_rows(tmp_path):
    table = dict.fromkeys(ROWS, 1.0)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"model": "m", **table}))
    outcomes = rewardbench_outcomes(path)
    assert outcomes is not None
    assert len(outcomes) == 2985
    path.write_text(json.dumps({**table, "donotanswer": 0.1234}))
    with pytest.raises(InputError, match="donotanswer"):
        rewardbench_outcomes(path)
    path.write_text("[1]")
    assert rewardbench_outcomes(path) is None


@pytest.mark.parametrize("edited", [False, True], ids=["as-it-was", "edited"])
def test_rows_with_the_prompt_of_a_training_row_are_counted_while_the_file_is_at_hand(
    tmp_path, caplog, edited: bool
):
    """Two of three rows ask what training rows ask, spaces and capitals aside; in a file that changed nobody looks."""
    trained = tmp_path / "pairs.jsonl"
    pair = {"response_a": "a", "response_b": "b", "label": "A"}
    asked = [{"id": f"t{n}", "prompt": f"Question  {n}", **pair} for n in (0, 2, 5)]
    trained.write_text("".join(json.dumps(row) + "\n" for row in asked))
    known = {"path": str(trained), "sha256": file_sha256(trained)}
    if edited:
        trained.write_text(trained.read_text() + "\n")
    judge = Judge(spec=load_spec("mt-bench"), backend=FakeBackend(longer_wins), trained_on=(known,))
    judge_file(judge, JudgeInput([write_rows(tmp_path / "rows.jsonl", 3)]), tmp_path / "out.jsonl")
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "2 of 3 rows" in line] == ([] if edited else said)


def test_a_file_that_the_judge_learned_from_is_named_at_the_start(tmp_path, caplog):
    path = write_rows(tmp_path / "rows.jsonl", 3)
    other = write_rows(tmp_path / "other.jsonl", 2)
    other.write_text(other.read_text().replace('"id": "q', '"id": "other'))
    judge = Judge(
        spec=load_spec("mt-bench"),
        backend=FakeBackend(longer_wins),
        learned_from={file_sha256(path): "train:0"},
    )
    for paths, named in (([path], 1), ([other, path], 1), ([other], 0)):
        caplog.clear()
        rows, folder = JudgeInput(paths), tmp_path / f"out-{len(paths)}-{named}"
        result = evaluate(get_suite("pairs"), judge, rows, folder, JudgingOptions()).result
        assert sum("train:0" in record.getMessage() for record in caplog.records) == named
        assert [file["sha256"] for file in result["inputs"]] == [file_sha256(each) for each in paths]
