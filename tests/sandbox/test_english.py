"""The scripted teacher and the measurements in the English world, through the protocol like any backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from statistics import fmean
from typing import Any, Literal

import pytest

from reasrm.critiques import CritiqueCase
from reasrm.evaluation.critiques import usual_section
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Judgment, ParseStatus, PreferencePair
from reasrm.requests import PromptMessage, Request, SamplingParams
from reasrm.rubrics.findings import read_findings, render_findings
from reasrm.rubrics.prompts import contrast_prompt, diagnosis_prompt, prompt_only_prompt, synthesis_prompt
from reasrm.rubrics.report import marks_of_world
from reasrm.sandbox.author import AuthorConfig, ScriptedAuthor
from reasrm.sandbox.measure import measure
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.scorers.critiques import build_critique_scorer
from reasrm.sources.rubric_lines import RubricLine, Rubrics
from reasrm.world.critiques import core_arguments
from reasrm.world.english.config import EnglishConfig, EnglishSplit
from reasrm.world.english.pairs import EnglishWorld
from reasrm.world.reading import read_clauses, reader_of, rules_of
from reasrm.world.rules import rubric_of

SPEC = load_spec("english")


@lru_cache
def pairs(
    split: EnglishSplit = "train", count: int = 500, rubric_share: float = 0.0
) -> tuple[PreferencePair, ...]:
    return tuple(EnglishWorld(EnglishConfig(rubric_share=rubric_share)).pairs(split, count))


def teacher(**changes: Any) -> TeacherConfig:
    return TeacherConfig(**{"error_rate": 0.0, "malformed_rate": 0.0, **changes})


def ask(config: TeacherConfig, rows: Iterable[PreferencePair]) -> list[tuple[Comparison, Judgment, int]]:
    """Comparisons as shown, what the teacher said of them, and in how many words."""
    shown = [row.present(0) for row in rows]
    sampling = SamplingParams(temperature=1.0, seed=0, max_tokens=200)
    requests = [Request(row.id, build_prompt(SPEC, row), sampling) for row in shown]
    answers = list(ScriptedTeacher(SPEC, config).generate(requests))
    return [
        (row, parse(SPEC, answer), len(answer.text.split()))
        for row, answer in zip(shown, answers, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("style", ["evidence", "marks", "answer"])
@pytest.mark.parametrize("split", ["train", "kinds"])
def test_without_errors_its_verdict_is_the_label(
    split: EnglishSplit, style: Literal["evidence", "marks", "answer"]
) -> None:
    for rubric_share in (0.0, 1.0):
        for row, judgment, _ in ask(teacher(style=style), pairs(split, 250, rubric_share)):
            assert judgment.verdict == row.target
            clauses = read_clauses(judgment.critique or "")
            assert [clause.rule.marked for clause in clauses] == [
                *(row.meta["rules"] if style != "answer" else ())
            ]
            assert all(bool(clause.a.evidence) is (style == "evidence") for clause in clauses)
            if style == "evidence":
                assert row.critique is not None
                assert core_arguments(clauses) == row.critique.arguments


@pytest.mark.slow
def test_styles_are_short_and_prompts_too() -> None:
    """In words; a token of a small model's tokenizer is about half a word of a trace, and 0.6 of a prompt's."""
    words = {
        style: fmean(n for _, _, n in ask(teacher(style=style), pairs())) for style in ("evidence", "marks")
    }
    assert 20 <= words["evidence"] <= 30
    assert 13 <= words["marks"] <= 20
    assert {n for _, _, n in ask(teacher(style="answer"), pairs()[:20])} == {1}
    ours = sum(len(message.text.split()) for message in SPEC.messages)
    assert ours <= 60
    prompts = [build_prompt(SPEC, row.present(0)) for row in pairs()]
    lengths = [sum(len(message.text.split()) for message in prompt) for prompt in prompts]
    assert fmean(lengths) <= 100
    assert max(lengths) <= 160


@pytest.mark.slow
def test_careless_traces_are_false_with_fitting_evidence() -> None:
    found = ask(teacher(error_rate=1.0, follow_shortcut=0.0), pairs())
    exact = 0
    for row, judgment, _ in found:
        clauses = read_clauses(judgment.critique or "")
        assert len(clauses) == len(row.meta["rules"])
        assert row.critique is not None
        exact += core_arguments(clauses) == row.critique.arguments
    assert exact < len(found) / 10
    kept = [row for row, judgment, _ in found if judgment.verdict == row.target]
    assert 0.1 < len(kept) / len(found) < 0.6


@pytest.mark.slow
def test_errors_are_as_frequent_as_configured() -> None:
    found = ask(TeacherConfig(error_rate=0.4, malformed_rate=0.1, seed=1), pairs())
    readable = [(row, judgment) for row, judgment, _ in found if judgment.status is ParseStatus.OK]
    assert 0.86 <= len(readable) / len(found) <= 0.94
    exact = [
        core_arguments(read_clauses(judgment.critique or "")) == row.critique.arguments
        for row, judgment in readable
        if row.critique is not None
    ]
    assert 0.55 <= fmean(exact) <= 0.68


@pytest.mark.slow
def test_a_careless_trace_may_follow_the_opener() -> None:
    worn = [row for row in pairs("hard") if row.meta["polite"]]
    found = ask(teacher(error_rate=1.0, follow_shortcut=1.0), worn)
    assert all(judgment.verdict is not None and judgment.verdict != row.target for row, judgment, _ in found)


def test_only_the_usual_style_leaves_the_teachers_name_as_it_was() -> None:
    names = {
        style: ScriptedTeacher(SPEC, teacher(style=style)).identity["fingerprint"]
        for style in ("marks", "answer")
    }
    usual = ScriptedTeacher(load_spec("sandbox"), TeacherConfig()).identity["fingerprint"]
    assert usual == "5ee95642a7e96ec2"
    assert len({*names.values(), usual}) == 3


def test_what_is_no_comparison_of_a_world_gets_no_verdict() -> None:
    row = Comparison(id="x", prompt=pairs()[0].prompt[:0], response_a="Yes.", response_b="No.")
    request = Request("x", build_prompt(SPEC, row), SamplingParams())
    (answer,) = ScriptedTeacher(SPEC, teacher()).generate([request])
    assert parse(SPEC, answer).status is ParseStatus.NO_VERDICT


def judged(config: TeacherConfig, split: EnglishSplit) -> list[tuple[PreferencePair, list[Judgment]]]:
    """The teacher's judgments as `judge` writes them: in the row's own terms."""
    rows = pairs(split, 200)
    found = []
    for row, (shown, judgment, _) in zip(rows, ask(config, rows), strict=True):
        verdict = judgment.verdict and (judgment.verdict if shown.order == "AB" else judgment.verdict.swap())
        found.append((row, [replace(judgment, verdict=verdict, order=shown.order)]))
    return found


@pytest.mark.slow
def test_measurements_of_a_perfect_judge() -> None:
    found = measure(judged(teacher(), "hard"))
    assert found.accuracy["hard"].value == found.critique_f1["hard"].value == 1
    assert found.exact_critiques["hard"].value == 1
    assert found.inconsistency["hard"].value == found.shortcut["hard"].value == 0
    assert {right for table in (found.evidence, found.marks) for right, _ in table.values()} == {1}
    assert all(0.5 <= base < 0.75 for _, base in found.marks.values())


@pytest.mark.slow
def test_bare_marks_have_marks_and_no_evidence() -> None:
    found = measure(judged(teacher(style="marks"), "topics"))
    assert {right for right, _ in found.marks.values()} == {1}
    assert {right for right, _ in found.evidence.values()} == {0}
    assert found.accuracy["topics"].value == 1


def test_the_exact_matcher_reads_english_clauses() -> None:
    section = usual_section(SPEC)
    assert (section.extractor, section.similarity, section.fatal_rule) == ("sandbox", "exact", False)
    score = build_critique_scorer(section)
    found = ask(teacher(), pairs("iid", 25))
    scores = score([CritiqueCase(row, judgment.critique or "") for row, judgment, _ in found])
    assert {one.f1 for one in scores if one is not None} == {1.0}
    wrong = score([CritiqueCase(row.swap(), judgment.critique or "") for row, judgment, _ in found])
    assert {one.f1 for one in wrong if one is not None} == {0.0}


# --- the author


def author_says(prompts: Iterable[tuple[PromptMessage, ...]], **faults: float) -> list[str]:
    config = AuthorConfig(**{"miss": 0, "invent": 0, "leak": 0, "shortcut": 0, "malformed": 0, **faults})
    requests = [Request(f"q{n}", prompt, SamplingParams(seed=n)) for n, prompt in enumerate(prompts)]
    return [answer.text for answer in ScriptedAuthor(config).generate(requests)]


def test_the_scripted_author_writes_the_gold_rubric_of_every_row() -> None:
    rows = pairs("topics", 40)
    for texts in (
        author_says(contrast_prompt(row.prompt, (row.chosen, row.rejected)) for row in rows),
        author_says(prompt_only_prompt(row.prompt) for row in rows),
    ):
        assert texts == [rubric_of(rules_of(row)).render() for row in rows]


def test_its_diagnoses_stand_on_the_request_and_lead_to_the_rubric() -> None:
    for row in pairs("iid", 10):
        found = []
        for response in (row.rejected, row.chosen):
            (text,) = author_says([diagnosis_prompt(row.prompt, response)])
            findings = read_findings(text, row.prompt[0].content, response)
            assert isinstance(findings, tuple), findings
            found.append(findings)
        diagnoses = [render_findings(findings, n)[0] for n, findings in enumerate(found, 1)]
        (text,) = author_says([synthesis_prompt(row.prompt, diagnoses, (2, 1))])
        plain = "\n".join(line.partition(" <- ")[0] for line in text.splitlines())
        assert reader_of(row).rubric(plain) == rules_of(row)


def test_its_inventions_and_its_shortcut_are_english() -> None:
    rows = [row for row in pairs("train", 60) if row.meta["polite"]]
    prompts = [contrast_prompt(row.prompt, (row.chosen, row.rejected)) for row in rows]
    for row, text in zip(rows, author_says(prompts, invent=1.0), strict=True):
        rules = reader_of(row).rubric(text)
        assert rules[:-1] == rules_of(row)
        assert rules[-1].kind not in row.meta["kinds"]
    assert {text.splitlines()[-1].partition(" ")[2] for text in author_says(prompts, shortcut=1.0)} == {
        "Sure! [Principle]"
    }


def test_rubrics_are_marked_by_the_worlds_own_checks() -> None:
    rows = pairs("kinds", 20)
    lines = [RubricLine(id=row.id, rubric=rubric_of(rules_of(row))) for row in rows]
    marks = marks_of_world(Rubrics(lines), rows)
    for row in rows:
        good, bad = (
            sum(r.weight * (m or 0) for r, m in zip(rules_of(row), side, strict=True))
            for side in marks[row.id]
        )
        assert good - bad == row.meta["margin"]
