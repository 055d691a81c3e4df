"""Findings: what a diagnosis says about one response, read strictly and held against the texts (CDRRM, step A).

CDRRM's code looks whether evidence and anchor are there; ours looks whether they occur, too: in the response, in the
request. What does not occur was invented, and then nothing of the diagnosis is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reasrm.rubrics.prompts import DIMENSIONS
from reasrm.scorers.replies import read_list
from reasrm.strictjson import dumps

__all__ = ["Finding", "Rejected", "can_separate", "read_findings", "render_findings"]

_STATUSES = ("pass", "fail", "partial", "not_applicable")
_KEYS = frozenset({"dimension", "status", "severity", "claim", "evidence", "anchor"})
_LONGEST, _MOST = 1000, 40


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why an answer is of no use, and the words that show it."""

    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a response.

    Args:
        dimension: One of `DIMENSIONS`.
        status: `pass`, `fail`, `partial` or `not_applicable`.
        severity: 0, or 1 to 3 for what is partial or fails.
        claim: One sentence.
        evidence: A quote from the response.
        anchor: A quote from the request.
    """

    dimension: str
    status: str
    severity: int
    claim: str
    evidence: str
    anchor: str


def read_findings(text: str, request: str, response: str) -> tuple[Finding, ...] | Rejected:
    """Return the findings of a reply, or why it is none: `unreadable`, `finding_invalid` or `evidence_missing`.

    Args:
        text: The reply, thinking left out.
        request: All texts of the request.
        response: The response that was examined.
    """
    items = read_list(text)
    if items is None:
        return Rejected("unreadable", "no JSON array")
    if not 0 < len(items) <= _MOST:
        return Rejected("finding_invalid", f"{len(items)} findings")
    asked, said, found = _folded(request), _folded(response), []
    for n, item in enumerate(items, 1):
        finding = _finding(item)
        if finding is None:
            return Rejected("finding_invalid", f"finding {n}")
        if finding.status in ("fail", "partial") and not (finding.evidence and finding.severity):
            return Rejected("evidence_missing", f"finding {n}: {finding.claim[:80]}")
        for quote, source in ((finding.evidence, said), (finding.anchor, asked)):
            if _folded(quote) not in source:
                return Rejected("evidence_missing", f"finding {n}: {quote[:80]}")
        found.append(finding)
    return tuple(found)


def can_separate(diagnoses: Sequence[Sequence[Finding]]) -> bool:
    """Whether the diagnoses differ in what passes and fails, so that criteria can come of them."""
    profiles = [Counter((f.dimension, f.status, f.severity) for f in findings) for findings in diagnoses]
    return any(profile != profiles[0] for profile in profiles)


def render_findings(findings: Sequence[Finding], answer: int) -> tuple[str, tuple[str, ...]]:
    """Return a diagnosis as the next author reads it, a JSON object a line, and the numbers of its findings.

    Args:
        findings: What was found.
        answer: The number of the answer, from 1.
    """
    numbers = tuple(f"{answer}.{n}" for n in range(1, len(findings) + 1))
    lines = (
        dumps({"number": number, **asdict(finding)}).decode()
        for number, finding in zip(numbers, findings, strict=True)
    )
    return "\n".join(lines), numbers


def _finding(item: Any) -> Finding | None:
    if not isinstance(item, dict) or item.keys() != _KEYS:
        return None
    texts = [item[key] for key in ("dimension", "status", "claim", "evidence", "anchor")]
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        return None
    dimension, status, claim, evidence, anchor = (text.strip() for text in texts)
    dimension, status = dimension.lower().replace("_", " "), status.lower()
    severity = item["severity"]
    if dimension not in DIMENSIONS or status not in _STATUSES or not claim or not anchor:
        return None
    if type(severity) is not int or not 0 <= severity <= 3:
        return None
    return Finding(dimension, status, severity, claim, evidence, anchor)


def _folded(text: str) -> str:
    return " ".join(text.split())
