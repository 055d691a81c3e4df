"""The two passes with teachers who answer from a list: what is asked, what is kept, what is written down."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.distillation.config import DistillConfig, TeacherSection
from reasrm.distillation.plan import Teacher, make_plan
from reasrm.distillation.run import distil
from reasrm.errors import ConfigError
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.sft_rows import read_sft_row
from reasrm.protocol.spec import load_spec
from reasrm.requests import Completion
from reasrm.sources.rubric_lines import load_rubrics
from tests.distillation.shared import (
    RIGHT,
    SPEC,
    WRONG,
    Answers,
    by_id,
    ends,
    ids_of,
    make_setup,
    reasons_of,
    rows_of,
    run,
    write_pairs,
    write_rows,
)
from tests.refusals import refused

TIE = "Level. <answer>[[C]]</answer>"


def ledger_of(result: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(line["source"], line["reason"]): line for line in rows_of(result.files.ledger)}


def adds_up(result: Any, num_rows: int) -> None:
    """Rows add up to the input, answers to the calls that were recorded, tokens to their tokens."""
    lines = rows_of(result.files.ledger)
    calls = rows_of(result.files.calls)
    assert sum(line["rows"] for line in lines) == num_rows
    assert sum(line["answers"] for line in lines) == len(calls)
    for name in ("teacher", "repair"):
        mine = [call for call in calls if call["pass"] == name]
        costs = [line[name] for line in lines if name in line]
        for key, counted in (("prompt_tokens", "num_prompt_tokens"), ("completion_tokens", "num_tokens")):
            assert sum(cost[key] for cost in costs) == sum(call[counted] or 0 for call in mine)
    written = [*rows_of(result.files.sft), *rows_of(result.files.rejected)]
    traces = [row["id"] for row in written if "completion" in row]
    assert sorted(traces) == sorted(call["id"] for call in calls)


# --- pass 1


def test_the_next_sample_is_asked_only_where_those_before_failed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 4)
    teacher = Answers(by_id({"q1|AB|0": WRONG, "q2|AB|0": WRONG, "q2|AB|1": "no verdict"}, RIGHT))
    result = run(tmp_path, teacher, samples=3)
    assert teacher.asked == [*(f"q{n}|AB|0" for n in range(4)), "q1|AB|1", "q2|AB|1", "q2|AB|2"]
    kept = rows_of(result.files.sft)
    assert [(row["id"], row["meta"]["difficulty"], row["meta"]["attempt"]) for row in kept] == [
        ("q0|AB|0", 1, 1),
        ("q1|AB|1", 2, 2),
        ("q2|AB|2", 3, 3),
        ("q3|AB|0", 1, 1),
    ]
    rejected = rows_of(result.files.rejected)
    assert [(row["id"], row["reason"], row["meta"]["difficulty"]) for row in rejected] == [
        ("q1|AB|0", "wrong_verdict", 2),
        ("q2|AB|0", "wrong_verdict", 3),
        ("q2|AB|1", "no_verdict", 3),
    ]
    adds_up(result, 4)


def test_several_traces_of_one_comparison_may_be_kept(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    teacher = Answers(by_id({"q0|AB|1": WRONG, **{f"q1|AB|{n}": WRONG for n in range(3)}}))
    repair = Answers(by_id({}))
    result = run(tmp_path, teacher, repair, samples=4, keep=2)
    assert ids_of(result.files.sft) == ["q0|AB|0", "q0|AB|2", "q1|AB|3"]
    assert repair.asked == [], "one right trace is enough not to be a failure"
    assert [row["meta"]["difficulty"] for row in rows_of(result.files.sft)] == [1, 1, 4]


def test_requests_of_pass_1_are_those_of_judging(tmp_path: Path) -> None:
    """Prompt, seed and options of attempt n are those of vote n: a teacher may be measured before it teaches."""
    write_pairs(tmp_path / "pairs.jsonl", 3)
    teacher = Answers(by_id({}, "undecided"))
    result = run(tmp_path, teacher, samples=2, orders="both", seed=5)
    options = make_setup(tmp_path, teacher, samples=2, orders="both", seed=5).options
    assert (options.votes, options.seed, options.orders) == (2, 5, "both")
    judging = {}
    for item in JudgeInput([tmp_path / "pairs.jsonl"]):
        assert item.row is not None
        for ask in plan_row(SPEC, item.row, JudgingOptions(votes=2, seed=5, sampling=options.sampling)):
            judging[f"{item.id}|{ask.order}|{ask.vote}"] = ask.request
    assert len(teacher.requests) == len(judging) == 12
    for request in teacher.requests:
        wanted = judging[request.id]
        assert (request.messages, request.sampling) == (wanted.messages, wanted.sampling)
        assert (request.structural, request.template_options) == (wanted.structural, wanted.template_options)
    for line in rows_of(result.files.rejected):
        row = read_sft_row({key: line[key] for key in ("id", "prompt", "completion", "meta")}, line["id"])
        assert row.messages == judging[row.id].messages


def test_a_preference_pair_gets_one_drawn_order(tmp_path: Path) -> None:
    pairs = [
        {"id": f"p{n}", "prompt": f"q {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(8)
    ]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    teacher = Answers(lambda name: RIGHT if "|AB|" in name else WRONG)
    result = run(tmp_path, teacher, orders="random", seed=1)
    orders = {item.id: item.row.present(1).order for item in JudgeInput([tmp_path / "pairs.jsonl"])}  # type: ignore[union-attr]
    assert {row["meta"]["pair"]: row["meta"]["order"] for row in rows_of(result.files.sft)} == orders
    assert set(orders.values()) == {"AB", "BA"}
    assert {(row["meta"]["order"], row["meta"]["label"]) for row in rows_of(result.files.sft)} == {
        ("AB", "A"),
        ("BA", "B"),
    }


# --- pass 2


def test_only_failures_go_to_the_second_teacher_with_label_and_wrong_trace(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 4)
    cut = ends("length", "cut")
    teacher = Answers(
        by_id({"q1|AB|0": "first <answer>[[B]]</answer>", "q1|AB|1": WRONG, "q2|AB|0": cut, "q2|AB|1": "?"})
    )
    repair = Answers(by_id({}, "Better seen. <answer>[[A]]</answer>"), "second")
    result = run(tmp_path, teacher, repair, samples=2)
    assert repair.asked == ["q1|AB|repair-0", "q2|AB|repair-0"]
    first, second = (request.messages for request in repair.requests)
    shown = [span.text for span in first[-1].spans if not span.trusted]
    assert shown[-1] == WRONG, "the last readable trace with another verdict"
    assert [span.text for span in second[-1].spans if not span.trusted] == ["question 2", "good 2", "bad 2"]
    ours = "".join(span.text for span in first[-1].spans if span.trusted)
    assert "the one shown first is the better one" in ours
    kept = {row["id"]: row for row in rows_of(result.files.sft)}
    row = kept["q1|AB|repair-0"]
    assert row["meta"] | {"spec_hash": SPEC.hash} == row["meta"]
    assert (row["meta"]["pass"], row["meta"]["teacher"], row["meta"]["difficulty"]) == ("repair", "second", 3)
    asked = {request.id: request.messages for request in teacher.requests}
    assert read_sft_row(row, "row").messages == asked["q1|AB|0"], (
        "the prompt of a rollout, not the request to repair"
    )
    assert row["completion"][0]["content"] == "Better seen. <answer>[[A]]</answer>"
    adds_up(result, 4)
    assert {key[1] for key in ledger_of(result)} == {"kept", "wrong_verdict", "truncated", "no_verdict"}


def test_what_the_second_teacher_writes_is_verified(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 7)
    told = "The correct verdict is A, so A. <answer>[[A]]</answer>"
    answers = {
        "q0|AB|repair-0": WRONG,
        "q1|AB|repair-0": told,
        "q2|AB|repair-0": "I'm sorry, but I can't judge this.",
        "q3|AB|repair-0": ends("content_filter", ""),
        "q4|AB|repair-0": ends("length"),
        "q5|AB|repair-0": "pineapple. <answer>[[A]]</answer>",
        "q6|AB|repair-0": ends("too_long", ""),
    }
    teacher = Answers(by_id({"q4|AB|0": "?"}, WRONG))
    result = run(tmp_path, teacher, Answers(by_id(answers)), extra=(r"\bpineapple\b",))
    repaired = {name: reason for name, reason in reasons_of(result).items() if "repair" in name}
    assert repaired == {
        "q0|AB|repair-0": "wrong_twice",
        "q1|AB|repair-0": "betrayed",
        "q2|AB|repair-0": "refused",
        "q3|AB|repair-0": "refused",
        "q4|AB|repair-0": "truncated",
        "q5|AB|repair-0": "betrayed",
        "q6|AB|repair-0": "too_long",
    }
    details = {row["id"]: row.get("detail") for row in rows_of(result.files.rejected)}
    assert details["q1|AB|repair-0"] == "correct verdict"
    assert details["q5|AB|repair-0"] == "pineapple"
    assert result.ledger is not None
    assert result.ledger.rows() == {
        "betrayed": 2,
        "refused": 2,
        "too_long": 1,
        "truncated": 1,
        "wrong_twice": 1,
    }
    assert rows_of(result.files.sft) == []
    adds_up(result, 7)


def test_the_second_teacher_may_try_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    repair = Answers(by_id({"q0|AB|repair-0": "The label says A. <answer>[[A]]</answer>"}))
    result = run(tmp_path, Answers(by_id({}, "?")), repair, repairs=3)
    assert repair.asked == ["q0|AB|repair-0", "q1|AB|repair-0", "q0|AB|repair-1"]
    assert len({request.sampling.seed for request in repair.requests}) == 3
    assert [(r["id"], r["meta"]["difficulty"]) for r in rows_of(result.files.sft)] == [
        ("q0|AB|repair-1", 3),
        ("q1|AB|repair-0", 2),
    ]


def test_a_prompt_that_does_not_fit_is_not_sent_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    teacher, repair = Answers(by_id({}, ends("too_long", ""))), Answers(by_id({}))
    result = run(tmp_path, teacher, repair, samples=5)
    assert teacher.asked == ["q0|AB|0"]
    assert ids_of(result.files.sft) == ["q0|AB|repair-0"], "another model may have a longer context"


def test_thinking_is_verified_as_the_student_would_write_it(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    thought = Completion("-", text=RIGHT, reasoning="so I was told that A wins", num_tokens=4)
    teacher, repair = Answers(by_id({"q0|AB|0": thought}, WRONG)), Answers(by_id({}, thought))
    left = run(tmp_path, teacher, repair)
    assert [row["completion"][0]["content"] for row in rows_of(left.files.sft)] == [RIGHT, RIGHT]
    put = run(tmp_path, teacher, repair, thinking="prepend", output=str(tmp_path / "put"))
    (kept,) = rows_of(put.files.sft)
    assert kept["completion"][0]["content"] == f"<think>\nso I was told that A wins\n</think>\n\n{RIGHT}"
    assert reasons_of(put)["q1|AB|repair-0"] == "betrayed", (
        "here the student would learn what the thinking gives away"
    )
    assert rows_of(put.files.ledger)[0]["teacher"]["uncounted"] == 1


# --- which pairs


def test_rows_that_nobody_can_learn_from_are_not_asked_about(tmp_path: Path) -> None:
    row = {"prompt": "?", "response_a": "x", "response_b": "y", "label": "A"}
    rows = [
        {**row, "id": "same", "response_b": "x"},
        {**row, "id": "empty", "response_b": " "},
        {**row, "id": "level", "label": "tie"},
        {"id": "unknown", "prompt": "?", "response_a": "x", "response_b": "y"},
        {**row, "id": "fine", "meta": {"source": "s"}},
        {**row, "id": "bad", "label": "C"},
        {"id": "list", "prompt": "?", "responses": ["x", "y", "z"]},
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    teacher = Answers(by_id({}))
    result = run(tmp_path, teacher)
    assert teacher.asked == ["fine|AB|0"]
    assert result.ledger is not None
    expected = ("bad_label", "degenerate", "identical", "kept", "label_off_menu", "no_label", "not_a_pair")
    assert result.ledger.rows() == dict.fromkeys(expected, 1)
    assert reasons_of(result)["level"] == "label_off_menu"
    assert len(reasons_of(result)) == 6
    assert {row["code"] for row in rows_of(result.errors)} == {"bad_label", "not_a_pair"}
    assert result.progress.errors == 2
    adds_up(result, 7)
    assert result.ledger.sources() == {"(invalid)": (0, 1), "(none)": (0, 5), "s": (1, 1)}


def test_a_trace_counts_only_if_the_other_order_came_to_the_same(tmp_path: Path) -> None:
    """In the other order the label is B: q0 is right both times, q1 says A both times, q2 needs the second teacher."""
    write_pairs(tmp_path / "pairs.jsonl", 4)
    answers = {"q0|BA|0": WRONG, "q2|BA|0": "?", "q3|AB|0": WRONG}
    repair = {"q1|BA|repair-0": RIGHT, "q2|BA|repair-0": WRONG, "q3|AB|repair-0": WRONG}
    result = run(
        tmp_path,
        Answers(by_id(answers)),
        Answers(by_id(repair, "?")),
        orders="both",
        agreement=True,
    )
    assert ids_of(result.files.sft) == ["q0|AB|0", "q0|BA|0", "q2|AB|0", "q2|BA|repair-0"]
    assert [row["meta"]["label"] for row in rows_of(result.files.sft)] == ["A", "B", "A", "B"]
    assert reasons_of(result) == {
        "q1|AB|0": "orders_disagree",
        "q1|BA|0": "wrong_verdict",
        "q1|BA|repair-0": "wrong_twice",
        "q2|BA|0": "no_verdict",
        "q3|AB|0": "wrong_verdict",
        "q3|AB|repair-0": "wrong_twice",
        "q3|BA|0": "wrong_verdict",
        "q3|BA|repair-0": "no_verdict",
    }
    assert result.ledger is not None
    assert result.ledger.rows() == {"kept": 2, "orders_disagree": 1, "wrong_twice": 1}
    adds_up(result, 4)
    alone = run(tmp_path, Answers(by_id(answers)), Answers(by_id(repair, "?")), orders="both")
    assert alone.num_sft_rows == 5, "without agreement, the same answers keep q1|AB|0 too"


def sourced(folder: Path, counts: dict[str, int]) -> Path:
    row = {"prompt": "?", "response_b": "bad", "label": "A"}
    rows = [
        {**row, "id": f"{source}{n}", "response_a": f"good {n}", "meta": {"source": source}, "subset": "all"}
        for source, count in counts.items()
        for n in range(count)
    ]
    return write_rows(folder / "pairs.jsonl", rows)


def test_a_quota_is_filled_without_asking_about_the_rest(tmp_path: Path) -> None:
    """Of ten, four are admitted; two of them fail, so two more are; one of these fails, so one more is."""
    sourced(tmp_path, {"a": 10, "b": 3, "c": 2})
    asked: list[str] = []

    def answer(name: str) -> str:
        if name.startswith("a"):
            asked.append(name)
            return WRONG if len(asked) in (1, 3, 5) else RIGHT
        return RIGHT

    result = run(tmp_path, Answers(answer), quotas={"a": 4, "*": 2})
    assert len(asked) == 7
    ledger = ledger_of(result)
    assert ledger["a", "kept"]["rows"] == 4
    assert ledger["a", "wrong_verdict"]["rows"] == 3
    assert ledger["a", "over_quota"] == {"source": "a", "reason": "over_quota", "rows": 3, "answers": 0}
    assert (ledger["b", "kept"]["rows"], ledger["b", "over_quota"]["rows"]) == (2, 1)
    assert ledger["c", "kept"]["rows"] == 2
    adds_up(result, 15)


def test_a_quota_draws_the_same_pairs_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    path = sourced(tmp_path, {"a": 30})
    first = run(tmp_path, Answers(by_id({})), quotas={"a": 7})
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    again = run(
        tmp_path, Answers(by_id({})), quotas={"all": 7}, group_by="subset", output=str(tmp_path / "2")
    )
    assert again.files.sft.read_bytes() == first.files.sft.read_bytes()
    assert len(ids_of(first.files.sft)) == 7
    other = run(tmp_path, Answers(by_id({})), quotas={"a": 7}, seed=1, output=str(tmp_path / "3"))
    assert ids_of(other.files.sft) != ids_of(first.files.sft)


def test_another_choice_among_the_answers_asks_nobody_again(tmp_path: Path) -> None:
    sourced(tmp_path, {"a": 6})
    teacher = Answers(by_id({}))
    few = run(tmp_path, teacher, quotas={"a": 2})
    more = run(tmp_path, teacher, quotas={"a": 4})
    assert len(teacher.asked) == len(set(teacher.asked)) == 4
    assert set(ids_of(few.files.sft)) <= set(ids_of(more.files.sft))
    back = run(tmp_path, teacher, quotas={"a": 2}, hints={})
    assert len(teacher.asked) == 4
    assert (back.num_sft_rows, Counter(reasons_of(back).values())) == (2, {"over_quota": 4})
    assert ids_of(back.files.hints) == ids_of(back.files.sft)
    assert {row["hint"] for row in rows_of(back.files.hints)} == {"A holds. <answer>[VERDICT]</answer>"}
    adds_up(back, 6)


def test_the_files_depend_on_no_order_of_rows_or_answers(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 12)
    wrong = {f"q{n}|AB|0": WRONG for n in range(0, 12, 3)}
    first = run(tmp_path, Answers(by_id(wrong)), Answers(by_id({})))
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    again = run(tmp_path, Answers(by_id(wrong)), Answers(by_id({})), output=str(tmp_path / "again"))
    assert first.files.calls.read_bytes() != again.files.calls.read_bytes()
    for name in ("sft", "rejected", "ledger"):
        assert getattr(first.files, name).read_bytes() == getattr(again.files, name).read_bytes()
    assert ids_of(first.files.sft) == sorted(ids_of(first.files.sft), key=lambda name: name.split("|")[0])


# --- going on, and refusing to


def test_a_failed_call_ends_its_comparison_until_it_is_tried_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    broken = {"q0|AB|0": ends("error", ""), "q1|AB|0": "?", "q1|AB|repair-0": ends("error", "")}
    teachers = Answers(by_id(broken)), Answers(by_id(broken))
    result = run(tmp_path, *teachers, samples=1)
    assert result.progress.errors == 2
    assert result.ledger is not None
    assert result.ledger.rows() == {"call_failed": 2, "kept": 1}
    assert [(row["pair"], row["pass"], row["code"]) for row in rows_of(result.errors)] == [
        ("q0", "teacher", "call_failed"),
        ("q1", "repair", "call_failed"),
    ]
    adds_up_to = sum(line["rows"] for line in rows_of(result.files.ledger))
    assert adds_up_to == 3
    mended = Answers(by_id({})), Answers(by_id({}))
    still = run(tmp_path, *mended, samples=1)
    assert (still.progress.errors, mended[0].asked, mended[1].asked) == (2, [], [])
    done = run(tmp_path, *mended, samples=1, control=RunControl(retry_errors=True))
    assert (mended[0].asked, mended[1].asked) == (["q0|AB|0"], ["q1|AB|repair-0"])
    assert (done.progress.errors, done.num_sft_rows) == (0, 3)
    adds_up(done, 3)


def test_mended_rows_are_asked_about_without_being_told_to(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 4)
    good = path.read_text().splitlines()
    bad = {1: good[1].replace('"A"', '"?"'), 2: good[2][:-1], 3: good[3].replace("question", "riddle")}
    path.write_text("\n".join(bad.get(n, line) for n, line in enumerate(good)) + "\n")
    first = run(tmp_path, Answers(by_id({"q3|AB|0": ends("error", "")})))
    assert {row["id"] for row in rows_of(first.errors)} == {"q1", "line:pairs.jsonl:3", "q3|AB|0"}
    path.write_text("\n".join([*good[:2], bad[2], good[3]]) + "\n")
    teacher = Answers(by_id({}))
    second = run(tmp_path, teacher)
    assert teacher.asked == ["q1|AB|0", "q3|AB|0"]
    assert [row["id"] for row in rows_of(second.errors)] == ["line:pairs.jsonl:3"]
    path.write_text("\n".join(good) + "\n")
    done = run(tmp_path, teacher)
    assert (done.progress.errors, done.num_sft_rows, done.errors.exists()) == (0, 4, False)
    adds_up(done, 4)


def test_a_finished_run_asks_nobody_and_writes_the_same(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 5)
    first = run(tmp_path, Answers(by_id({"q3|AB|0": WRONG})))
    before = {
        path.name: path.read_bytes() for path in first.files.folder.iterdir() if path.suffix == ".jsonl"
    }
    silent = Answers(by_id({}))
    run(tmp_path, silent)
    assert silent.asked == []
    for name, content in before.items():
        assert (first.files.folder / name).read_bytes() == content


def test_rows_may_be_added_but_not_changed(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 3)
    run(tmp_path, Answers(by_id({})))
    write_pairs(path, 5)
    more = Answers(by_id({}))
    assert run(tmp_path, more).num_sft_rows == 5
    assert more.asked == ["q3|AB|0", "q4|AB|0"]
    path.write_text(path.read_text().replace("good 1", "fine 1").replace('"q2"', '"x"'))
    with refused(ConfigError, "(q1)", "(q2)"):
        run(tmp_path, more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"samples": 2}, "teacher.samples was 1, is 2"), ({"seed": 3}, "seed was 0, is 3")],
    ids=["samples", "seed"],
)
def test_other_settings_are_another_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    run(tmp_path, Answers(by_id({})))
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, Answers(by_id({})), **changes)
    anew = run(tmp_path, Answers(by_id({})), control=RunControl(restart=True), **changes)
    assert anew.num_sft_rows == 2
    assert (anew.files.folder / "calls.jsonl.old-1").is_file()


def test_an_input_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = write_pairs(tmp_path / "out" / "sft.jsonl", 2)
    before = path.read_bytes()
    with refused(ConfigError, "'sft.jsonl'"):
        run(tmp_path, Answers(by_id({})), input=str(path))
    assert path.read_bytes() == before


def test_a_plan_counts_calls_without_asking(tmp_path: Path) -> None:
    sourced(tmp_path, {"a": 6, "b": 2})
    teacher = Answers(by_id({}))
    plan, invalid = make_plan(make_setup(tmp_path, teacher, orders="both", quotas={"a": 2}))
    assert (plan.num_rows, plan.num_slots, plan.most_slots, invalid) == (8, 8, 16, [])
    assert plan.sources == {"a": 6, "b": 2}
    assert teacher.asked == []


def test_a_spec_that_does_not_compare_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    with refused(ConfigError, "'pointwise-10'"):
        make_setup(tmp_path, Answers(by_id({})), spec=load_spec("pointwise-10"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"agreement": True}, "agreement compares both orders"),
        ({"keep": 2}, "keep is 2, more than teacher.samples"),
        ({"quotas": {"a": -1}}, "the quota of 'a' is -1"),
        ({"quota": {}}, "unknown key 'quota'; did you mean 'quotas'"),
        ({"teacher": {"judge": "x", "scripted": {"seed": 1}}}, "'judge: scripted' only"),
        ({"teacher": {"judge": "replay:x"}}, "a file of recordings cannot teach"),
        ({"repair": {"judge": "x", "betrayal": ["("]}}, "is no regular expression"),
    ],
    ids=["agreement", "keep", "negative quota", "typo", "not scripted", "recordings", "pattern"],
)
def test_a_config_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    whole = {"stage": "distill", "input": "x", "output": "y", "spec": "rm-r1", "teacher": {"judge": "x"}}
    with pytest.raises(ConfigError, match=message):
        parse_config(DistillConfig, {**whole, **settings}, "test")


@pytest.mark.parametrize("file", ["manifest.json", "curation.json"])
def test_another_commands_folder_is_left_alone(tmp_path: Path, file: str) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    setup = make_setup(tmp_path, Answers(by_id({})))
    folder = Path(setup.config.output)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / file).write_text("{}")
    with pytest.raises(ConfigError, match=r"the folder holds a (training|curation); choose another"):
        distil(setup)
    assert {path.name for path in folder.iterdir()} == {"checkpoints", file}


def test_samples_at_temperature_0_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    section = TeacherSection(judge="fake", samples=2)
    judge = make_setup(tmp_path, Answers(by_id({}))).teacher.judge
    with refused(ConfigError, "2 samples", "temperature 0"):
        Teacher(judge, section)
    assert Teacher(judge, section.model_copy(update={"temperature": 0.7})).sampling.temperature == 0.7


def test_every_line_of_the_ledger_is_one_source_and_reason(tmp_path: Path) -> None:
    sourced(tmp_path, {"b": 2, "a": 3})
    result = run(tmp_path, Answers(by_id({"a0|AB|0": TIE, "a1|AB|0": WRONG, "b1|AB|0": WRONG})))
    lines = [json.loads(line) for line in result.files.ledger.read_text().splitlines()]
    assert lines == [
        {"source": "a", "reason": "kept", "rows": 1, "answers": 1, "teacher": cost(1, 3)},
        {"source": "a", "reason": "off_menu", "rows": 1, "answers": 1, "teacher": cost(1, 2)},
        {"source": "a", "reason": "wrong_verdict", "rows": 1, "answers": 1, "teacher": cost(1, 3)},
        {"source": "b", "reason": "kept", "rows": 1, "answers": 1, "teacher": cost(1, 3)},
        {"source": "b", "reason": "wrong_verdict", "rows": 1, "answers": 1, "teacher": cost(1, 3)},
    ]


def cost(calls: int, words: int) -> dict[str, int]:
    return {"calls": calls, "prompt_tokens": 10 * calls, "completion_tokens": words * calls, "uncounted": 0}


# --- rubrics


def _with_rubrics(folder: Path, *saw: str, **settings: Any) -> Any:
    """Distil three pairs under rubrics, of which some saw the label of their pair."""
    lines = [
        {"id": f"q{n}", "criteria": [{"text": f"Is {n}."}], "saw_label": f"q{n}" in saw} for n in range(3)
    ]
    write_pairs(folder / "pairs.jsonl", 3)
    write_rows(folder / "rubrics.jsonl", lines)
    setup = make_setup(folder, Answers(by_id({})), rubrics=str(folder / "rubrics.jsonl"), **settings)
    rows = JudgeInput(
        [folder / "pairs.jsonl"], rubrics=load_rubrics(folder / "rubrics.jsonl"), limit=setup.config.limit
    )
    return replace(setup, rows=rows)


def test_the_student_is_shown_the_rubric_that_the_teacher_judged_by(tmp_path: Path) -> None:
    result = distil(_with_rubrics(tmp_path))
    for row in rows_of(result.files.sft):
        number = row["id"][1]
        assert f"Is {number}. [Criterion]" in row["prompt"][-1]["content"]
        assert "rubric_saw_label" not in row["meta"]
    other = _with_rubrics(tmp_path)
    write_rows(tmp_path / "rubrics.jsonl", [{"id": "q0", "criteria": [{"text": "Is other."}]}])
    book = load_rubrics(tmp_path / "rubrics.jsonl")
    changed = replace(other, rows=JudgeInput([tmp_path / "pairs.jsonl"], rubrics=book))
    with refused(ConfigError, "rubrics"):
        distil(changed)


def test_nobody_is_taught_by_rubrics_that_saw_the_labels_unless_it_is_meant(tmp_path: Path) -> None:
    with refused(ConfigError, "'q1'", "rubrics_that_saw_labels"):
        distil(_with_rubrics(tmp_path, "q1"))
    result = distil(_with_rubrics(tmp_path, "q1", rubrics_that_saw_labels=True))
    marked = {row["id"]: row["meta"].get("rubric_saw_label") for row in rows_of(result.files.sft)}
    assert marked == {"q0|AB|0": None, "q1|AB|0": True, "q2|AB|0": None}
