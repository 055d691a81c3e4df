"""Whether a judgment does all that Rubric-ARM asks of one."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveInt

from reasrm.records import ParseStatus
from reasrm.rewards.base import NonNegative, RewardPart, Rollout, Share
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.reading import words

_LINE_NUMBER = re.compile(
    r"[ \t>*#(\[_-]*(?:(?:criterion|rule|principle)[ \t*#_]*)?(\d{1,3})(?:[.):\]](?!\d)|[ \t*]*[-–:])", re.I
)
_LISTED = re.compile(r"[ \t>*#(\[-]*\d{1,3}[.):\]]\s*(\S.*)")
_COMMON = (
    "the and for that this with from into each both than then does not any all are was were has have its their "
    "should must response responses answer hard rule principle weight"
)
_COMMON_WORDS = frozenset(_COMMON.split())


class CompletenessPart(RewardPart):
    """Every criterion addressed and explained, a justification of the whole, a decision.

    formula: `criteria`·(share addressed) + `explanations`·(share explained) + `justification` + `decision`
    source: Rubric-ARM (arXiv 2602.01511) names the four demands and gives no numbers: 0.25 each is ours, and so is the
        way to recognise them
    abstains: neither the row nor the judge has a rubric; the policy wrote nothing

    The rubric is the row's own if it has one, else the one the judge wrote. Rubric-ARM's reward is the outcome (1
    or 0) plus this. An explanation is the line that addresses a criterion and the next ones up to another
    criterion.

    Args:
        criteria: Value of addressing every criterion (by share).
        explanations: Value of explaining every criterion (by share).
        justification: Value of an overall justification.
        decision: Value of a readable verdict.
        justification_marker: Literal that opens the overall justification.
        overlap: A line of the evaluation addresses a criterion if it begins with its number or holds this share of its
            content words.
        min_words: Fewest words of an explanation, the criterion's own not counted, and of the justification.
    """

    kind: Literal["completeness"] = "completeness"
    criteria: NonNegative = 0.25
    explanations: NonNegative = 0.25
    justification: NonNegative = 0.25
    decision: NonNegative = 0.25
    justification_marker: str = Field(default="Justification:", min_length=1)
    overlap: Share = 0.5
    min_words: PositiveInt = 5

    def value(self, rollout: Rollout) -> float | None:
        """Return the values of the demands that a judgment meets."""
        criteria = _criteria(rollout)
        if not criteria or wrote_nothing(rollout):
            return None
        judgment = rollout.judgment
        explained = _explanations(judgment.critique or "", criteria, self.overlap)
        enough = sum(len(said) >= self.min_words for said in explained.values())
        _, marker, closing = judgment.text.rpartition(self.justification_marker)
        justified = bool(marker) and len(words(_first_line(closing))) >= self.min_words
        return (
            self.criteria * len(explained) / len(criteria)
            + self.explanations * enough / len(criteria)
            + self.justification * justified
            + self.decision * (judgment.status is ParseStatus.OK)
        )


def _criteria(rollout: Rollout) -> list[str]:
    """Return the criteria to address: structured ones, else the numbered lines of the text, else its lines."""
    rubric, text = rollout.comparison.rubric, rollout.judgment.rubric
    if rubric is not None:
        if rubric.criteria:
            return [criterion.text for criterion in rubric.criteria]
        text = rubric.text
    lines = [line.strip() for line in (text or "").splitlines() if words(line)]
    listed = [match.group(1) for line in lines if (match := _LISTED.match(line))]
    return listed or lines


def _explanations(evaluation: str, criteria: list[str], overlap: float) -> dict[int, list[str]]:
    """Return what is said about each criterion addressed, without numbers and the criterion's own words."""
    content = [_content_words(criterion) for criterion in criteria]
    repeated = [frozenset(words(criterion)) for criterion in criteria]
    said: dict[int, list[str]] = {}
    current: int | None = None
    for line in evaluation.splitlines():
        found = _addressed(line, content, overlap)
        current = current if found is None else found
        if current is not None:
            own = repeated[current]
            new = [word for word in words(line) if word not in own and not word.isdigit()]
            said.setdefault(current, []).extend(new)
    return said


def _addressed(line: str, content: list[frozenset[str]], overlap: float) -> int | None:
    """Return the criterion that a line is about: by its number, else the one it shares the most words with."""
    number = _LINE_NUMBER.match(line)
    if number is not None and 1 <= int(number.group(1)) <= len(content):
        return int(number.group(1)) - 1
    present = set(words(line))
    shares = [len(own & present) / len(own) if own else 0.0 for own in content]
    best = max(range(len(shares)), key=shares.__getitem__)
    return best if shares[best] > 0 and shares[best] >= overlap else None


def _content_words(criterion: str) -> frozenset[str]:
    return frozenset(word for word in words(criterion) if len(word) > 2 and word not in _COMMON_WORDS)


def _first_line(text: str) -> str:
    """Return the first line with words, up to a closing tag."""
    return next((line for line in text.partition("</")[0].splitlines() if words(line)), "")
