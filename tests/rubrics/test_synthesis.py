"""Synthesis with authors and judges who answer from a script: what is asked, what is kept, what is written down."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.protocol.sft_rows import read_sft_row
from reasrm.protocol.spec import load_spec
from reasrm.requests import Completion, Request
from reasrm.rubrics.config import SynthesisConfig, VerifySection
from reasrm.rubrics.verify import make_verifier, refuse_author
from reasrm.sources.rubric_lines import load_rubrics
from tests.refusals import refused
from tests.rubrics.shared import (
    GOOD,
    WHOLE,
    Answer,
    Author,
    JudgeModel,
    Stopped,
    adds_up,
    first,
    make_setup,
    make_verifier_of,
    needs_rubric,
    pair,
    reasons,
    right,
    rows_of,
    run,
    write_lines,
    write_pairs,
)

WRITER = {"writer": {"spec": "rubric-writer"}}


def texts_of(request: Request) -> list[str]:
    return [span.text for message in request.messages for span in message.spans if not span.trusted]


def diagnose(request: Request) -> str:
    """Diagnose a response as its first word says; synthesise a criterion from all findings."""
    if "|synthesise|" in request.id:
        return "1. The response names a colour. [Hard Rule] <- 1.1, 2.1"
    asked, response = texts_of(request)
    passes = response.startswith("good")
    finding = {
        "dimension": "completeness",
        "status": "pass" if passes else "fail",
        "severity": 0 if passes else 2,
        "claim": "It answers.",
        "evidence": response.split()[0],
        "anchor": asked.split()[0],
    }
    return json.dumps([finding])


def test_a_rubric_by_contrast_is_one_call_and_says_what_its_author_saw(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    author = Author()
    result = run(tmp_path, author, **WRITER)
    assert author.asked == ["q0|contrast|0", "q1|contrast|0"]
    assert texts_of(author.requests[0])[1:] == ["good answer 0 azure", "bad answer 0 brick"]
    assert reasons(result) == {"kept": 2}
    line, _ = rows_of(result.files.rubrics)
    assert (line["id"], line["condition"], line["order"], line["saw_label"]) == ("q0", "prompt", "AB", True)
    assert line["provenance"]["author"] == "author"
    assert line["provenance"]["step"] == "contrast"
    adds_up(result.files.folder, 2)
    judged = JudgeInput([tmp_path / "pairs.jsonl"], rubrics=load_rubrics(result.files.rubrics)).scan()
    assert list(judged.saw_labels) == ["q0", "q1"]  # nobody may judge these rows with them


def test_rows_for_a_writer_show_the_request_alone_one_for_each(tmp_path: Path) -> None:
    rows = [pair(0), pair(1), {**pair(2), "prompt": pair(1)["prompt"]}]
    write_lines(tmp_path / "pairs.jsonl", rows)
    result = run(tmp_path, Author(), **WRITER)
    taught = [read_sft_row(row, "here") for row in rows_of(result.files.writer)]
    assert [row.id for row in taught] == ["q0", "q1"]
    assert taught[0].completion == GOOD
    assert taught[0].meta["spec_hash"] == load_spec("rubric-writer").hash
    assert "good answer" not in "".join(message.text for message in taught[0].messages)


@pytest.mark.parametrize(
    ("method", "saw_label", "condition", "shown"),
    [
        ("prompt_only", False, "prompt", 1),
        ("self", False, "pair", 3),
        ("contrast", True, "prompt", 3),
    ],
)
def test_other_methods_see_less(
    tmp_path: Path, method: str, saw_label: bool, condition: str, shown: int
) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    author = Author()
    result = run(tmp_path, author, method=method)
    assert author.asked == [f"q0|{method}|0"]
    assert len(texts_of(author.requests[0])) == shown
    (line,) = rows_of(result.files.rubrics)
    assert (line["saw_label"], line["condition"]) == (saw_label, condition)
    assert (line["order"] is None) is (method == "prompt_only")


def test_unlabelled_pairs_are_of_use_to_who_needs_no_label(tmp_path: Path) -> None:
    row = {"id": "q", "prompt": "name a colour", "response_a": "azure", "response_b": "brick"}
    write_lines(tmp_path / "pairs.jsonl", [row])
    assert reasons(run(tmp_path, Author(), method="self")) == {"kept": 1}
    assert reasons(run(tmp_path, Author(), output=str(tmp_path / "c"))) == {"no_label": 1}


def test_profiles_diagnose_each_response_without_the_label_and_then_synthesise(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    author = Author(diagnose)
    result = run(tmp_path, author, method="profiles")
    steps = Counter(name.split("|")[1] for name in author.asked)
    assert steps == {"diagnose-0": 3, "diagnose-1": 3, "synthesise": 3}
    assert reasons(result) == {"kept": 3}
    for request in author.requests[-3:]:
        assert not any("azure" in text or "brick" in text for text in texts_of(request))  # diagnoses alone
        diagnoses = [json.loads(text)["status"] for text in texts_of(request)[1:]]
        better = diagnoses.index("pass") + 1
        assert f"best first: {better}, {3 - better}" in request.messages[1].text
    (line, *_) = rows_of(result.files.rubrics)
    assert (line["condition"], line["saw_label"]) == ("pair", True)
    assert line["order"] in ("AB", "BA")
    adds_up(result.files.folder, 3)


@pytest.mark.parametrize("method", ["profiles", "self", "prompt_only"])
def test_exchanging_the_labels_changes_no_prompt_but_the_line_that_says_them(
    tmp_path: Path, method: str
) -> None:
    asked = []
    for n in range(2):
        (tmp_path / f"{n}").mkdir()
        rows = [pair(k) for k in range(4)]
        if n:
            rows = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
        write_lines(tmp_path / f"{n}" / "pairs.jsonl", rows)
        author = Author(diagnose if method == "profiles" else lambda request: GOOD)
        run(tmp_path / f"{n}", author, method=method)
        asked.append({request.id: request for request in author.requests})
    one, two = asked
    for name in one:
        if "|synthesise|" in name:
            assert texts_of(one[name]) == texts_of(two[name])
            assert one[name].messages != two[name].messages
        else:
            assert (one[name].messages, one[name].sampling) == (two[name].messages, two[name].sampling)


def test_a_quote_that_nobody_wrote_ends_the_row(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    invented = Author(lambda request: diagnose(request).replace('"good"', '"invented"'))
    result = run(tmp_path, invented, method="profiles")
    assert reasons(result) == {"evidence_missing": 1}
    assert not any("synthesise" in name for name in invented.asked)


def test_diagnoses_that_do_not_differ_cost_no_synthesis(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    author = Author(lambda request: diagnose(request).replace('"fail"', '"pass"').replace("2,", "0,"))
    assert reasons(run(tmp_path, author, method="profiles")) == {"not_discriminative": 1}
    assert len(author.asked) == 2


def test_a_sample_is_asked_for_only_where_those_before_were_rejected(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    answers = {"q0|contrast|0": "no list", "q1|contrast|0": "no list", "q1|contrast|1": "none"}
    author = Author(lambda request: answers.get(request.id, GOOD))
    result = run(tmp_path, author, samples=2)
    assert sorted(author.asked) == [
        *("q0|contrast|0", "q0|contrast|1", "q1|contrast|0", "q1|contrast|1", "q2|contrast|0")
    ]
    assert reasons(result) == {"kept": 2, "unreadable": 1}
    adds_up(result.files.folder, 3)


def test_rows_that_nobody_can_learn_from_are_not_asked_about(tmp_path: Path) -> None:
    rows = [
        pair(0),
        pair(1, rejected=pair(1)["chosen"]),
        pair(2, rejected=" "),
        {"id": "t", "prompt": "p", "response_a": "x", "response_b": "y", "label": "tie"},
        {"id": "n", "prompt": "p", "response_a": "x", "response_b": "y"},
        {"id": "l", "prompt": "p", "responses": ["x", "y", "z"], "label": 1},
        {"id": "broken", "prompt": 3, "chosen": "x", "rejected": "y"},
    ]
    write_lines(tmp_path / "pairs.jsonl", rows)
    author = Author()
    result = run(tmp_path, author)
    assert author.asked == ["q0|contrast|0"]
    assert reasons(result) == {
        "kept": 1,
        **dict.fromkeys(("degenerate", "identical", "no_label", "no_ranking", "tie", "wrong_type"), 1),
    }
    assert result.num_errors == 1  # the broken line
    adds_up(result.files.folder, len(rows))


def test_a_ranked_list_is_shown_best_first_and_tested_on_all_its_pairs(tmp_path: Path) -> None:
    row = {"id": "l", "prompt": "p", "responses": ["bad c", "good a", "good b"], "label": [1, 2, 0]}
    write_lines(tmp_path / "pairs.jsonl", [row])
    author, judge = Author(), JudgeModel(right)
    result = run(tmp_path, author, judge)
    assert texts_of(author.requests[0])[1:] == ["good a", "good b", "bad c"]
    (line,) = rows_of(result.files.rubrics)
    # a > c and b > c are right in both orders, a > b in one: two of three, and best against worst is right
    assert line["provenance"]["verified"]["pairs_right"] == 2
    assert line["provenance"]["verified"]["pairs"] == 3
    adds_up(result.files.folder, 1)
    assert reasons(run(tmp_path, author, judge, verify={"tau": 0.7})) == {"below_tau": 1}


def test_verification_keeps_what_another_judge_confirms_in_both_orders(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    result = run(tmp_path, Author(), JudgeModel(first))
    assert reasons(result) == {"split_under_rubric": 2}
    adds_up(result.files.folder, 2)
    kept = run(tmp_path, Author(), JudgeModel(needs_rubric), output=str(tmp_path / "two"))
    (line, _) = rows_of(kept.files.rubrics)
    verified = line["provenance"]["verified"]
    assert verified == {
        "judge": "judge", "right": 2, "asked": 2, "pairs_right": 1, "pairs": 1, "effect": "helpful", "gain": True,
    }  # fmt: skip
    (ledger,) = rows_of(kept.files.ledger)
    assert (ledger["verified"], ledger["right"], ledger["without_right"], ledger["helpful"]) == (2, 2, 0, 2)
    assert ledger["kept_by_chance"] == 0.5  # two rubrics, each by two coins


@pytest.mark.slow
def test_gain_asks_that_the_judge_needed_the_rubric(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    always = run(tmp_path, Author(), JudgeModel(right), verify={"gain": True})
    assert reasons(always) == {"no_gain": 1}
    helped = run(
        tmp_path, Author(), JudgeModel(needs_rubric), verify={"gain": True}, output=str(tmp_path / "two")
    )
    assert reasons(helped) == {"kept": 1}


@pytest.mark.slow
def test_a_rubric_that_fails_its_verification_is_written_anew(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    better = GOOD.replace("calm", "vivid")
    author = Author(lambda request: better if request.id.endswith("1") else GOOD)
    judge = JudgeModel(
        lambda q, rubric, a, b: right(q, rubric, a, b) if rubric and "vivid" in rubric else "A"
    )
    result = run(tmp_path, author, judge, samples=3)
    assert sorted(author.asked) == [f"q{n}|contrast|{k}" for n in range(2) for k in range(2)]
    assert reasons(result) == {"kept": 2}
    rejected = rows_of(result.files.rejected)
    assert [(row["id"], row["reason"]) for row in rejected] == [
        ("q0|contrast|0", "split_under_rubric"), ("q1|contrast|0", "split_under_rubric"),
    ]  # fmt: skip
    adds_up(result.files.folder, 2)


@pytest.mark.slow
def test_the_verifier_draws_by_a_seed_of_its_own(tmp_path: Path) -> None:
    """Places at synthesis and at judging are independent, though both seeds are 0."""
    write_pairs(tmp_path / "pairs.jsonl", 64)
    author, judge = Author(), JudgeModel(right)
    run(tmp_path, author, judge, method="self", verify={"orders": "random"})
    written = {request.id.split("|")[0]: texts_of(request)[1] for request in author.requests}
    judged = {
        request.id.split("|")[0]: texts_of(request)[-2]
        for request in judge.requests
        if len(texts_of(request)) == 4
    }
    alike = sum(written[name] == judged[name] for name in written)
    assert 16 <= alike <= 48  # 64 coins: 4 sigma is 16


@pytest.mark.slow
def test_a_quota_is_filled_without_asking_about_the_rest(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 12, subset="s")
    bad = {"q1", "q4", "q7"}
    author = Author(lambda request: "none" if request.id.split("|")[0] in bad else GOOD)
    result = run(tmp_path, author, JudgeModel(right), group_by="subset", quotas={"s": 4})
    assert reasons(result)["kept"] == 4
    assert len(author.asked) < 12
    adds_up(result.files.folder, 12)


def test_failed_calls_are_errors_until_they_are_tried_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    down = Completion("-", finish_reason="error", error="down")
    author = Author(lambda request: down if request.id.startswith("q1") else GOOD)
    result = run(tmp_path, author)
    assert reasons(result) == {"kept": 1, "call_failed": 1}
    assert result.num_errors == 1
    assert reasons(run(tmp_path, Author())) == {"kept": 1, "call_failed": 1}  # not by itself
    again = run(tmp_path, Author(), control=RunControl(retry_errors=True))
    assert reasons(again) == {"kept": 2}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["contrast", "profiles"])
def test_a_kill_between_any_two_answers_changes_no_byte(tmp_path: Path, method: str) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)

    def answer(request: Request) -> Answer:
        if request.id.startswith("q1|") and request.id.endswith("|0"):
            return "none"
        return diagnose(request) if method == "profiles" else GOOD

    settings: dict[str, Any] = {"method": method, "samples": 2, **WRITER}
    whole = run(tmp_path, Author(answer), JudgeModel(needs_rubric), **settings)
    expected = {name: (whole.files.folder / name).read_bytes() for name in WHOLE}
    calls, judgments = (len(rows_of(whole.files.folder / f"{n}.jsonl")) for n in ("calls", "verify"))
    assert calls >= 3
    assert judgments >= 2
    for n in range(calls + 4 * judgments):  # both orders, with and without
        settings["output"] = str(tmp_path / f"killed-{n}")
        ends = (n, None) if n < calls else (None, n - calls)
        with pytest.raises(Stopped):
            run(tmp_path, Author(answer, ends[0]), JudgeModel(needs_rubric, ends[1]), **settings)
        author, judge = Author(answer), JudgeModel(needs_rubric)
        again = run(tmp_path, author, judge, **settings)
        assert {name: (again.files.folder / name).read_bytes() for name in WHOLE} == expected, n
        assert len(author.asked) == calls - min(n, calls)


@pytest.mark.slow
def test_the_files_depend_on_no_order_of_rows(tmp_path: Path) -> None:
    rows = [pair(n) for n in range(4)]
    found = []
    for n, order in enumerate((rows, rows[::-1])):
        (tmp_path / f"{n}").mkdir()
        write_lines(tmp_path / f"{n}" / "pairs.jsonl", order)
        result = run(tmp_path / f"{n}", Author(), JudgeModel(right), **WRITER)
        found.append([(result.files.folder / name).read_bytes() for name in WHOLE])
    assert found[0] == found[1]


def test_other_checks_and_another_tau_ask_no_author_again(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    run(tmp_path, Author(), JudgeModel(right))
    author, judge = Author(), JudgeModel(right)
    result = run(tmp_path, author, judge, checks={"most": 1}, verify={"tau": 0.9})
    assert (author.asked, judge.asked) == ([], [])
    assert reasons(result) == {"too_many": 2}
    adds_up(result.files.folder, 2)


@pytest.mark.parametrize("change", [{"method": "prompt_only"}, {"seed": 1}])
def test_other_settings_are_another_run(tmp_path: Path, change: dict[str, Any]) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    run(tmp_path, Author())
    with refused(ConfigError, "calls.jsonl", next(iter(change))):
        run(tmp_path, Author(), **change)


def test_rows_may_be_added_but_not_changed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    run(tmp_path, Author(), JudgeModel(right))
    write_pairs(tmp_path / "pairs.jsonl", 3)
    author, judge = Author(), JudgeModel(right)
    assert reasons(run(tmp_path, author, judge)) == {"kept": 3}
    assert (author.asked, len(judge.asked)) == (["q2|contrast|0"], 4)
    adds_up(tmp_path / "out", 3)
    write_lines(tmp_path / "pairs.jsonl", [pair(0, chosen="good, but another"), pair(1), pair(2)])
    with refused(ConfigError, "q0", "--restart"):
        run(tmp_path, Author(), JudgeModel(right))
    anew = run(tmp_path, Author(), JudgeModel(right), control=RunControl(restart=True))
    assert reasons(anew) == {"kept": 3}
    adds_up(tmp_path / "out", 3)


def test_an_author_does_not_verify_itself_unless_told(tmp_path: Path) -> None:
    """OpenJudge's validator is its writer: a circle."""
    write_pairs(tmp_path / "pairs.jsonl", 1)
    setup = make_setup(tmp_path, Author(), JudgeModel(right))
    assert setup.verifier is not None
    section = setup.verifier.section
    refuse_author(Author(), JudgeModel(right), section)
    with refused(ConfigError, "author", "allow_author"):
        refuse_author(Author(), Author(), section)
    refuse_author(Author(), Author(), section.model_copy(update={"allow_author": True}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"author": {"judge": "a", "samples": 2}}, "temperature"),
        ({"author": {"judge": "replay"}}, "model"),
        ({"author": {"judge": "a", "scripted": {"miss": 0}}}, "scripted"),
        ({"method": "guess"}, "contrast"),
        ({"checks": {"faulty": "keep"}}, "drop"),
        ({"verify": {"judge": "j", "orders": "given"}}, "both"),
        ({"checks": {"relate": {"judge": "replay:x"}}}, "model"),
        ({"checks": {"relate": {"judge": "m", "least": 2}}}, "least"),
        ({"budget": -1}, "budget"),
        ({"quotas": {"*": -1}}, "quotas"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(settings: dict[str, Any], named: str) -> None:
    whole = {"stage": "rubrics", "input": "x", "output": "y", "author": {"judge": "a"}, **settings}
    with refused(ConfigError, named, remedy=False):
        parse_config(SynthesisConfig, whole, "test")


def test_a_spec_that_needs_a_rubric_needs_another_beside_it(tmp_path: Path) -> None:
    judge = JudgeModel(right)
    assert make_verifier_of(tmp_path, judge).bare.spec.name == "sandbox"
    under = Judge(spec=load_spec("rubric"), backend=judge)
    with refused(ConfigError, "rubric", "without_spec"):
        make_verifier(under, VerifySection(judge="j"), tmp_path)
    section = VerifySection(judge="j", without_spec="rm-r1-short")
    assert make_verifier(under, section, tmp_path).bare.spec.name == "rm-r1-short"
    for name in ("rubric-writer", "pointwise-10"):
        with refused(ConfigError, name, "rubric"):
            make_verifier(replace(under, spec=load_spec(name)), VerifySection(judge="j"), tmp_path)
