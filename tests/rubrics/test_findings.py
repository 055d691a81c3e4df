"""Diagnoses: what is none, what quotes words that nobody wrote, what can tell responses apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasrm.rubrics.findings import Finding, Rejected, can_separate, read_findings, render_findings

REQUEST, RESPONSE = "name a colour, and explain why", "azure, because  of\nthe sky"
ITEM = {
    "dimension": "Completeness",
    "status": "fail",
    "severity": 2,
    "claim": "The reason is thin.",
    "evidence": "because of the sky",
    "anchor": "explain why",
}


def read(*items: Any) -> Any:
    return read_findings(json.dumps(items), REQUEST, RESPONSE)


def test_findings_are_read_and_quotes_may_fold_white_space() -> None:
    (found,) = read(ITEM)
    assert found == Finding(
        "completeness", "fail", 2, "The reason is thin.", "because of the sky", "explain why"
    )
    (passed,) = read({**ITEM, "status": "pass", "severity": 0, "evidence": ""})
    assert passed.status == "pass"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"evidence": "because of the sea"}, "evidence_missing"),  # invented
        ({"anchor": "in two sentences"}, "evidence_missing"),
        ({"evidence": ""}, "evidence_missing"),
        ({"severity": 0}, "evidence_missing"),  # what fails has a severity
        ({"status": "pass", "severity": 0, "evidence": "of the sea"}, "evidence_missing"),
        ({"anchor": ""}, "finding_invalid"),
        ({"claim": " "}, "finding_invalid"),
        ({"status": "failed"}, "finding_invalid"),
        ({"dimension": "style"}, "finding_invalid"),
        ({"severity": 4}, "finding_invalid"),
        ({"severity": True}, "finding_invalid"),
        ({"severity": "2"}, "finding_invalid"),
        ({"verdict": "A"}, "finding_invalid"),
        ({"evidence": ["because"]}, "finding_invalid"),
        ({"claim": "x" * 1001}, "finding_invalid"),
    ],
)
def test_a_finding_that_does_not_hold_spoils_the_diagnosis(change: dict[str, Any], reason: str) -> None:
    found = read({**ITEM, "status": "pass", "severity": 0}, {**ITEM, **change})
    assert isinstance(found, Rejected)
    assert found.reason == reason
    assert "finding 2" in str(found.detail)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unreadable"),
        ("no findings", "unreadable"),
        ('[{"dimension"', "unreadable"),
        ("[]", "finding_invalid"),
        ("[1]", "finding_invalid"),
        (json.dumps([ITEM] * 41), "finding_invalid"),
        ("[" * 50_000, "unreadable"),
    ],
)
def test_what_is_no_list_of_findings(text: str, reason: str) -> None:
    found = read_findings(text, REQUEST, RESPONSE)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_findings_are_numbered_by_their_answer() -> None:
    text, numbers = render_findings(read(ITEM, {**ITEM, "severity": 1}), 2)
    assert numbers == ("2.1", "2.2")
    assert [json.loads(line)["number"] for line in text.splitlines()] == ["2.1", "2.2"]


def test_diagnoses_that_say_the_same_of_all_answers_separate_nothing() -> None:
    found = read(ITEM)
    other = read({**ITEM, "claim": "Another one."})
    assert not can_separate([found, other])
    assert can_separate([found, read({**ITEM, "severity": 1})])
    assert can_separate([found, read(ITEM, ITEM)])
