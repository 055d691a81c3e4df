"""What an author's answer is worth."""

from __future__ import annotations

from typing import Any

import pytest

from reasrm.criteria.checks import check_rubric
from reasrm.rubrics.config import Checks
from reasrm.rubrics.findings import Rejected
from reasrm.rubrics.reading import CheckedRubric, answer_text, read_rubric
from tests.rubrics.shared import GOOD

REQUEST = "name a colour"
SEEN = ("azure like the sky over Rome at noon", "brick, 17 shades of it")


def read(text: str, checks: Checks | None = None, known: set[str] | None = None) -> Any:
    limits = checks or Checks()
    return read_rubric(
        text,
        lambda rubric: check_rubric(rubric, REQUEST, SEEN, limits),
        drop_faulty=limits.faulty == "drop",
        known=known,
    )


def record(text: str = GOOD, **more: Any) -> dict[str, Any]:
    return {"text": text, "finish_reason": "stop", **more}


@pytest.mark.parametrize("text", [GOOD, f"\n{GOOD}\n\n", f"```\n{GOOD}\n```", GOOD.replace("1.", "1)")])
def test_a_list_is_read(text: str) -> None:
    found = read(text)
    assert isinstance(found, CheckedRubric)
    assert found.dropped == ()
    assert [(c.kind, c.text) for c in found.rubric.criteria] == [
        ("hard_rule", "The response names a colour."),
        ("principle", "The response is calm."),
    ]


def test_a_weight_that_the_request_gives_is_kept() -> None:
    found = read("1. The response names a colour. [Hard Rule] (weight 2)")
    assert found.rubric.criteria[0].weight == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_criteria"),
        ("A fine rubric would be calm.", "unreadable"),
        (f"Here it is:\n{GOOD}", "unreadable"),
        (f"{GOOD}\nDoes this help?", "unreadable"),
        (f"{GOOD}\n{GOOD}", "unreadable"),  # two lists
        ("1. The response is calm. [Principle] [Hard Rule]", "unreadable"),  # both tags
        ("1. The response is [Principle] calm. [Hard Rule]", "unreadable"),
        ("1. The response is calm. [Quality]", "unreadable"),
        ("1. The response is calm. [Criterion]", "unreadable"),
        ("1. The response is calm.", "unreadable"),
        ('{"hard_rules": [{"criterion": "is calm"}]}', "unreadable"),
        (f"{GOOD}\npair_consistency_check: rubric_predicts A", "unreadable"),  # an author's word on itself
        ("\n".join(f"{n}. The response has quality {chr(96 + n)}x. [Principle]" for n in range(1, 14)), "too_many"),
        (f"1. The response {'very ' * 40}calm. [Principle]", "too_long"),
        ("1. The response is like the sky over it. [Principle]", "leak_span"),
        ("1. The response shows 17 of them. [Principle]", "leak_number"),
        ("1. The response speaks of Rome often. [Principle]", "leak_name"),
        ("1. The response is better than the other one. [Principle]", "comparative"),
        ("1. Response A is calm. [Principle]", "position"),
        ("1. The response is concise. [Principle]\n2. The response is concise. [Principle]", "duplicate"),
    ],
)  # fmt: skip
def test_what_is_not_kept_and_why(text: str, reason: str) -> None:
    found = read(text)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_a_faulty_criterion_may_be_dropped_instead() -> None:
    found = read(f"{GOOD}\n3. The response speaks of Rome often. [Principle]", Checks(faulty="drop"))
    assert [c.text for c in found.rubric.criteria] == [
        "The response names a colour.",
        "The response is calm.",
    ]
    assert [(fault.reason, fault.criterion) for fault in found.dropped] == [("leak_name", 2)]
    none = read("1. The response speaks of Rome often. [Principle]", Checks(faulty="drop"))
    assert none.reason == "leak_name"  # nothing would be left


def test_criteria_come_from_findings_that_exist() -> None:
    known = {"1.1", "2.1", "2.2"}
    lines = GOOD.splitlines()
    found = read(f"{lines[0]} <- 1.1\n{lines[1]} <- 2.1, 2.2", known=known)
    assert [c.text for c in found.rubric.criteria] == [
        "The response names a colour.",
        "The response is calm.",
    ]
    for text in (f"{lines[0]} <- 3.1", lines[0], f"{lines[0]} <- ", f"{lines[0]} <- 1.1 9.9"):
        assert read(text, known=known).reason == "not_derived"


def test_a_long_tail_of_numbers_costs_no_time() -> None:
    line = f"1. The response is calm. [Principle] <- {'1.11' * 5000}x"
    assert read(line, known={"1.1"}).reason == "not_derived"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (record(finish_reason="length"), "truncated"),
        (record(finish_reason="content_filter"), "refused"),
        (record(finish_reason="too_long"), "prompt_too_long"),
        (record("I'm sorry, I cannot do that."), "refused"),
        (record("x" * 100_000), "unreadable"),
        (record("<think>so"), "unreadable"),
        (record("so", thinking_open=True), "unreadable"),
    ],
)
def test_an_answer_that_came_to_no_end(answer: dict[str, Any], reason: str) -> None:
    found = answer_text(answer)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_thinking_is_not_read() -> None:
    assert answer_text(record(f"<think>1. Bad. [Principle]</think>{GOOD}")) == GOOD
    assert answer_text(record(f"so</think>{GOOD}", thinking_open=True)) == GOOD
