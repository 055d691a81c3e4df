"""Runs over files: what a later call may continue, and what earlier results are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, InputError
from reasrm.evaluation.run import evaluate
from reasrm.generation.replay import ReplayBackend
from reasrm.jsonl import RowLimits, set_limits
from reasrm.judging.batch import JudgeControl, judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.suites import get_suite
from reasrm.protocol.prompts import never_shown
from reasrm.protocol.spec import load_spec
from reasrm.requests import Request
from reasrm.sources.recorded import read_recordings
from reasrm.sources.rubric_lines import load_rubrics
from tests.commands import here, rows_of, summary, write_rows
from tests.fakes import FakeBackend
from tests.refusals import refused


def judge(spec: str = "mt-bench", **backend: Any) -> Judge:
    return Judge(spec=load_spec(spec), backend=FakeBackend(**backend))


def run(rows: Path, output: Path, who: Judge | None = None, **more: Any):
    return judge_file(who or judge(), JudgeInput([rows]), output, control=JudgeControl(**more))


def test_a_mended_line_and_added_rows_are_judged_without_the_others(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 5), tmp_path / "out.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines[:2], "{broken", *lines[3:]]) + "\n")
    assert run(rows, output).tally.errors == 1
    done = rows_of(output)
    rows.write_text("\n".join([*lines, lines[0].replace("q0", "q5")]) + "\n")
    who = judge()
    result = run(rows, output, who, retry_errors=True)
    assert (result.tally.rows, result.tally.errors) == (6, 0)
    assert "the input changed" in result.resume.warnings[0]
    assert {request.id.split("|")[0] for request in who.backend.requests} == {"q2", "q5"}
    assert rows_of(output)[:4] == done
    assert run(rows, output).tally.resumed == 6, "the changed input is the run's own from now on"


def test_a_judged_row_that_changed_or_went_is_a_refusal(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 4), tmp_path / "out.jsonl"
    run(rows, output)
    original = rows.read_text()
    rows.write_text(original.replace("yes 2", "perhaps 2"))
    with pytest.raises(ConfigError, match="1 row differs \\(q2\\)"):
        run(rows, output)
    rows.write_text("".join(original.splitlines(keepends=True)[1:]))
    with pytest.raises(ConfigError, match="gone \\(q0\\)"):
        run(rows, output)
    rows.write_text(original + original.splitlines()[0].replace("q0", "q9") + "\n")
    with pytest.raises(ConfigError, match="new"):
        run(rows, output, strict=True)


@pytest.mark.parametrize("kept", [0, 3, 7])
def test_an_input_that_changes_after_it_was_counted_is_no_success(tmp_path, kept):
    rows, output = write_rows(tmp_path / "rows.jsonl", 5), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="5 rows were counted"):
        run(rows, output, on_scan=lambda scan: write_rows(rows, kept))
    assert len(rows_of(output) if output.exists() else []) == kept


@pytest.mark.parametrize(("limit", "num"), [(None, 4), (3, 3), (5, 4)])
def test_rows_left_out_as_repeats_are_not_missed(tmp_path, limit, num):
    rows, output = write_rows(tmp_path / "rows.jsonl", 4), tmp_path / "out.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines[:3], lines[1], lines[3], lines[0]]) + "\n")
    result = judge_file(judge(), JudgeInput([rows], dedupe="first", limit=limit), output)
    assert (result.tally.rows, result.tally.total) == (num, num)
    fewer = judge_file(judge(), JudgeInput([rows], dedupe="first", limit=2), output)
    assert fewer.tally.rows == num, "a lower limit takes nothing back"


def test_a_row_that_is_too_long_is_tried_again_under_a_larger_limit(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 3), tmp_path / "out.jsonl"
    rows.write_text(rows.read_text().replace("question 1", "question " + "1" * 500))
    try:
        set_limits(RowLimits(row_bytes=300))
        assert run(rows, output).tally.errors == 1
        assert run(rows, output).tally.errors == 1
    finally:
        set_limits(RowLimits())
    result = run(rows, output)
    assert (result.tally.rows, result.tally.errors) == (3, 0)


def test_too_many_unreadable_judgments_end_a_run_and_it_can_go_on(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 10), tmp_path / "out.jsonl"
    shy = judge(text=lambda request: "[[A]]" if request.id.startswith("q0") else "Hm.")
    result = run(rows, output, shy, max_unreadable=4)
    assert (result.tally.rows, result.tally.num_unreadable) == (3, 4)
    assert result.unreadable == "q2: no_verdict: Hm."
    again = run(rows, output, shy, max_unreadable=4)
    assert (again.tally.rows, again.unreadable) == (3, "q2: no_verdict: Hm.")
    whole = run(rows, output, shy, max_unreadable=19)
    assert (whole.tally.rows, whole.unreadable) == (10, None)


def test_a_run_that_recorded_nothing_binds_nobody(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 2), tmp_path / "out.jsonl"
    with pytest.raises(OSError, match="as planned"):
        run(rows, output, judge(dies_at="q0|AB|0|0"))
    assert run(rows, output, judge("arena-hard", text=lambda _: "[[A>B]]")).tally.rows == 2
    with pytest.raises(ConfigError, match="spec"):
        run(rows, output, judge("mt-bench"))


def test_one_judge_serves_several_files(tmp_path):
    who = judge()
    for name in ("a", "b"):
        assert run(write_rows(tmp_path / f"{name}.jsonl", 3), tmp_path / f"{name}.out", who).tally.rows == 3
    assert not who.backend.is_closed, "who opened it closes it"


def test_rows_settled_without_a_call_are_written_as_they_come(tmp_path):
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    same = {"prompt": "p", "response_a": "x", "response_b": "x"}
    rows.write_text("".join(json.dumps({"id": f"q{n}", **same}) + "\n" for n in range(500)))
    run(rows, output)
    assert [row["id"] for row in rows_of(output)] == [f"q{n}" for n in range(500)]


def best_word(request: Request) -> str:
    """A listwise judge that likes longer texts."""
    texts = [s.text for m in request.messages for s in m.spans if not s.trusted][1:]
    scores = {f"response-{n}": len(text) for n, text in enumerate(texts, 1)}
    return json.dumps({"scores": scores, "best-to-worst": sorted(scores, key=lambda name: -scores[name])})


def test_a_listwise_run_replays_to_the_same_results_under_another_seed(tmp_path):
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    texts = ["a", "abc", "ab", "abcd"]
    rows.write_text(
        "".join(
            json.dumps(
                {"id": f"q{n}", "prompt": "p", "responses": texts[n % 4 :] + texts[: n % 4], "label": 0}
            )
            + "\n"
            for n in range(12)
        )
    )
    run(rows, output, judge("principle-list", text=best_word))
    first = {row["id"]: (row["status"], row["ranking"], row["correct"]) for row in rows_of(output)}
    assert sum(correct for _, _, correct in first.values()) == 3, (
        "the longest is first in a quarter of the rows"
    )
    replayed = JudgeInput([rows], recordings=read_recordings(output))
    who = Judge(spec=load_spec("principle-list"), backend=ReplayBackend())
    options = JudgingOptions(seed=7, recorded_only=True)
    judge_file(who, replayed, tmp_path / "again.jsonl", options)
    again = rows_of(tmp_path / "again.jsonl")
    assert {row["id"]: (row["status"], row["ranking"], row["correct"]) for row in again} == first


def test_an_earlier_result_does_not_outlive_its_judgments(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    folder = tmp_path / "eval"
    arguments = (JudgeInput([rows]), folder, JudgingOptions())
    assert evaluate(get_suite("pairs"), judge(), *arguments).result["source"] == "rows"
    assert (folder / "result.json").exists()
    with pytest.raises(ConfigError):
        evaluate(get_suite("pairs"), judge("arena-hard"), *arguments)
    assert (folder / "result.json").exists(), "a refusal touches nothing"
    with pytest.raises(OSError, match="as planned"):
        evaluate(get_suite("pairs"), judge(dies_at="q0|AB|0|0"), *arguments, JudgeControl(restart=True))
    assert not (folder / "result.json").exists()


def test_suites_refuse_what_they_cannot_score_before_anything_is_asked(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    who = judge()
    for suite in ("rm-bench", "rewardbench"):
        with pytest.raises(InputError, match="cannot score rows of 'rows'"):
            evaluate(get_suite(suite), who, JudgeInput([rows]), tmp_path / suite, JudgingOptions())
    assert not who.backend.requests
    unlabelled = write_rows(tmp_path / "plain.jsonl", 2, label=None)
    with pytest.raises(InputError, match="label"):
        evaluate(get_suite("pairs"), who, JudgeInput([unlabelled]), tmp_path / "plain", JudgingOptions())
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(ConfigError, match="not a folder"):
        evaluate(get_suite("pairs"), who, JudgeInput([rows]), occupied, JudgingOptions())


def test_a_run_goes_on_with_its_own_secret_and_no_other(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 4), tmp_path / "out.jsonl"
    plain, first, second = judge(), judge(poison={"q3|BA|0|0"}), judge()
    run(rows, tmp_path / "plain.jsonl", plain)
    assert run(rows, output, first, secret_codes=True).tally.errors == 1
    assert run(rows, output, second, secret_codes=True, retry_errors=True).tally.errors == 0

    def prompts(who: Judge) -> dict[str, Any]:
        return {request.id: request.messages for request in who.backend.requests}

    again = prompts(second)
    assert set(again) == {"q3|AB|0|0", "q3|BA|0|0"}
    assert again.items() <= prompts(first).items()
    assert not set(again.items()) & set(prompts(plain).items())
    secret = json.loads(Path(f"{output}.manifest.json").read_text())["identity"]["code_secret"]
    assert len(secret) == 32
    assert secret not in output.read_text()
    with pytest.raises(ConfigError, match=r"code_secret was \(not shown\), is \(absent\)") as caught:
        run(rows, output)
    assert secret not in str(caught.value)
    with pytest.raises(ConfigError, match=r"code_secret was \(absent\)"):
        run(rows, tmp_path / "plain.jsonl", secret_codes=True)
    fixed = JudgingOptions(code_secret=secret)
    assert secret not in repr(fixed)
    with pytest.raises(ConfigError, match="use a spec with `codes: 2`"):
        list(judge("sandbox").judge([json.loads(rows.read_text().splitlines()[0])], fixed))
    run(rows, output, secret_codes=True, restart=True)
    assert secret not in Path(f"{output}.manifest.json").read_text()


def test_changed_section_codes_are_refused_by_name_and_the_old_spec_goes_on(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 3), tmp_path / "out.jsonl"
    old = Judge(spec=load_spec("mt-bench").model_copy(update={"codes": 1}), backend=FakeBackend())
    run(rows, output, old)
    with pytest.raises(ConfigError, match=r"section codes.*without the key `codes`.*--restart"):
        run(rows, output)
    assert run(rows, output, old).tally.resumed == 3
    assert run(rows, output, restart=True).tally.rows == 3


# What a spec never shows


def unshown(**changes: Any) -> Judge:
    """A judge of the sandbox's spec without its place for a rubric."""
    spec = load_spec("sandbox")
    (message,) = spec.messages
    text = message.text.replace("{% if rubric is not none %}\n{{ rubric }}\n{% endif %}\n", "")
    changed = spec.model_copy(update={"messages": (message.model_copy(update={"text": text}),), **changes})
    return Judge(spec=changed, backend=FakeBackend())


def test_what_a_spec_shows_of_a_row_is_known():
    assert never_shown(load_spec("sandbox")) == {"principle", "reference"}
    assert never_shown(load_spec("mt-bench")) == set()
    assert never_shown(load_spec("rubric")) == set()
    assert never_shown(unshown().spec) == {"rubric", "principle", "reference"}


def test_rows_with_a_principle_that_the_spec_never_shows_are_refused(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    lines = rows.read_text().splitlines()
    rows.write_text(
        "\n".join([lines[0], json.dumps({**json.loads(lines[1]), "principle": "Be brief."}), lines[2]])
    )
    with refused(ConfigError, rows, "never shows a principle, and 1 row has one"):
        run(rows, tmp_path / "out.jsonl", judge("sandbox"))
    assert not (tmp_path / "out.jsonl").exists()
    assert run(rows, tmp_path / "out.jsonl").tally.rows == 3


def test_rubrics_for_a_spec_that_never_shows_one_are_refused_and_the_rows_own_are_warned_of(tmp_path, caplog):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    rubrics = tmp_path / "rubrics.jsonl"
    rubrics.write_text('{"id": "q1", "rubric": "Prefer the shorter."}\n')
    with refused(ConfigError, "--rubrics", "never shows a rubric, and 1 row has one"):
        judge_file(unshown(), JudgeInput([rows], rubrics=load_rubrics(rubrics)), tmp_path / "out.jsonl")
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({**json.loads(rows.read_text().splitlines()[0]), "rubric": "x"}) + "\n")
    assert run(own, tmp_path / "own.out.jsonl", unshown()).tally.rows == 1
    assert sum("never shows a rubric; 1 rows have one" in r.getMessage() for r in caplog.records) == 1


def test_the_command_counts_rows_with_and_without_a_rubric_and_refuses_rubrics_with_exit_2(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    rubrics, spec = tmp_path / "rubrics.jsonl", tmp_path / "spec.json"
    rubrics.write_text('{"id": "q1", "rubric": "Prefer the shorter."}\n')
    spec.write_text(unshown(name="bare").spec.model_dump_json())
    told = ("--input", rows, "--output", tmp_path / "out.jsonl", "--rubrics", rubrics)
    where = "openai:x@http://127.0.0.1:9/v1"
    result = here("judge", "--judge", where, "--spec", "mt-bench", *told, "--dry-run")
    assert summary(result)["rubrics"] == {"with": 1, "without": 2}
    result = here("judge", "--judge", where, "--spec", spec, *told, "--dry-run")
    assert result.returncode == 2
    assert "never shows a rubric" in result.stderr
