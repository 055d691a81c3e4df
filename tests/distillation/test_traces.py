"""What a trace is worth and the row it becomes: teachers who read and err, labels in every order, thinking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.distillation.config import DistillConfig
from reasrm.distillation.plan import DistillSetup, Teacher
from reasrm.distillation.run import DistillResult, distil
from reasrm.errors import ConfigError
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.sft_rows import SFTRow, read_sft_row
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import Comparison, Order
from reasrm.requests import Completion
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.world.critiques import core_arguments, read_clauses
from tests.distillation.shared import (
    RIGHT,
    SPEC,
    WRONG,
    Answers,
    by_id,
    make_setup,
    reasons_of,
    rows_of,
    run,
    write_rows,
)
from tests.distillation.shared import write_pairs as write_comparisons
from tests.sandbox.shared import encoders, pairs, write_pairs

NOISY = TeacherConfig(error_rate=0.5, follow_shortcut=0.5, malformed_rate=0.2)
ROWS = {row.id: row for row in pairs()[::16]}


def taught(folder: Path, spec: JudgeSpec, **settings: Any) -> DistillResult:
    """Let a noisy teacher judge the sandbox's rows in both orders."""
    source = write_pairs(folder / "pairs.jsonl", ROWS.values())
    whole = {
        "stage": "distill",
        "input": str(source),
        "output": str(folder / "out"),
        "spec": spec.name,
        "orders": "both",
        "teacher": {"judge": "scripted", "temperature": 1.0},
        **settings,
    }
    config = parse_config(DistillConfig, whole, "test")
    judge = Judge(spec=spec, backend=ScriptedTeacher(spec, NOISY))
    return distil(DistillSetup(config, JudgeInput([source]), Teacher(judge, config.teacher)))


def sft_rows(path: Path) -> list[SFTRow]:
    names = ("id", "prompt", "completion", "meta")
    lines = (line for line in rows_of(path) if "completion" in line)
    return [read_sft_row({name: line[name] for name in names}, line["id"]) for line in lines]


def test_a_kept_trace_has_the_labels_verdict_whatever_its_critique(tmp_path: Path) -> None:
    """The noise that RM-NLHF is about stays in: the verdict is all that is looked at."""
    result = taught(tmp_path, load_spec("sandbox"))
    said = {call["id"]: call["text"] for call in rows_of(result.files.calls)}
    kept, wrong = sft_rows(result.files.sft), 0
    for row in kept:
        pair = ROWS[row.meta["pair"]].compare()
        shown = pair if row.meta["order"] == "AB" else pair.swap()
        assert shown.target is not None
        assert shown.critique is not None
        assert row.completion == said[row.id]
        assert row.completion.endswith(f"<answer>[[{shown.target.winner}]]</answer>")
        assert row.meta["label"] == shown.target.winner
        wrong += core_arguments(read_clauses(row.completion)) != shown.critique.arguments
    assert 0 < wrong < len(kept) / 2
    assert {row.meta["label"] for row in kept} == {"A", "B"}
    assert set(reasons_of(result).values()) >= {"wrong_verdict", "no_verdict"}
    rejected = sft_rows(result.files.rejected)
    assert sorted(row.id for row in (*kept, *rejected)) == sorted(said)
    assert len(said) == 2 * len(ROWS)


@pytest.mark.parametrize("name", ["sandbox", "rm-nlhf", "rm-r1"])
def test_prompts_are_those_of_judging_span_by_span(tmp_path: Path, name: str) -> None:
    spec = load_spec(name)
    result = taught(tmp_path, spec, limit=8)
    judging = {
        f"{row.id}|{ask.order}|0": ask.request.messages
        for row in ROWS.values()
        for ask in plan_row(spec, row, JudgingOptions())
    }
    kept, rejected = sft_rows(result.files.sft), sft_rows(result.files.rejected)
    assert kept
    assert rejected
    prompts, _ = encoders()
    for row in (*kept, *rejected):
        assert row.messages == judging[row.id]
        assert prompts.encode(row.messages).ids == prompts.encode(judging[row.id]).ids


def test_meta_says_where_a_trace_comes_from(tmp_path: Path) -> None:
    source = {"id": "q0", "prompt": "?", "response_a": "bad", "response_b": "good", "label": "B"}
    write_rows(tmp_path / "pairs.jsonl", [{**source, "subset": "easy", "meta": {"source": "here"}}])
    (row,) = sft_rows(run(tmp_path, Answers(by_id({}, WRONG))).files.sft)
    assert row.id == "q0|AB|0"
    assert row.meta == {
        "subset": "easy",
        "pair": "q0",
        "order": "AB",
        "label": "B",
        "source": "here",
        "teacher": "fake",
        "pass": "teacher",
        "attempt": 1,
        "difficulty": 1,
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "spec": SPEC.name,
        "spec_hash": SPEC.hash,
    }


def test_labelled_comparisons_are_distilled_in_their_own_order(tmp_path: Path) -> None:
    rows = [
        {"id": f"q{n}", "prompt": f"? {n}", "response_a": f"x {n}", "response_b": f"y {n}", "label": label}
        for n, label in enumerate("ABBA")
    ]
    path = write_rows(tmp_path / "pairs.jsonl", rows)
    assert all(isinstance(item.row, Comparison) for item in JudgeInput([path]))
    teacher = Answers(by_id({"q1|AB|0": WRONG, "q3|AB|0": WRONG}, RIGHT))
    result = run(tmp_path, teacher, orders="given")
    assert [(row.id, row.meta["label"]) for row in sft_rows(result.files.sft)] == [
        ("q0|AB|0", "A"),
        ("q1|AB|0", "B"),
    ]
    assert reasons_of(result) == {"q2|AB|0": "wrong_verdict", "q3|AB|0": "wrong_verdict"}
    assert {row.meta["order"] for row in sft_rows(result.files.rejected)} == {Order.AB}


def test_thinking_that_hides_the_verdict_from_the_student_is_rejected(tmp_path: Path) -> None:
    """`<thinking>` opens thinking for the parser, and nothing closes it behind the answer."""
    write_comparisons(tmp_path / "pairs.jsonl", 1)
    hidden = Completion("-", text=f"<thinking>{RIGHT}", reasoning="hm", num_tokens=4)
    for thinking in ("leave_out", "prepend"):
        teacher = Answers(by_id({}, hidden))
        result = run(tmp_path, teacher, thinking=thinking, output=str(tmp_path / thinking))
        assert (result.num_sft_rows, reasons_of(result)) == (0, {"q0|AB|0": "no_verdict"})


def test_thinking_is_not_written_for_a_student_who_is_told_not_to_think(tmp_path: Path) -> None:
    silent = SPEC.model_copy(update={"template_options": {"enable_thinking": False}})
    with pytest.raises(ConfigError, match="turns thinking off"):
        make_setup(tmp_path, Answers(by_id({})), spec=silent, thinking="prepend")
    assert make_setup(tmp_path, Answers(by_id({})), spec=silent).spec == silent
