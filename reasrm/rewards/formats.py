"""Whether a judgment has the shape that was asked for: the cold-start reward and format completeness.

Sources: RM-R1 App. I eq. 11 (R = R_format + R_answer, each 0/1; what the format is, the paper does not spell out);
Rubric-ARM, arXiv 2602.01511 (a judgment addresses every criterion, explains each, justifies the whole, decides; the
paper gives no numbers). How an addressed or explained criterion is recognised without a model is ours.
"""

from __future__ import annotations

import re

from reasrm.records import ParseStatus
from reasrm.rewards.base import Part, Rollout, each_row
from reasrm.rewards.outcome import is_right, wrote_nothing
from reasrm.rewards.part_sections import CompletenessPart, FormatAnswerPart, RubricFormatPart
from reasrm.rewards.reading import after_last, has_tags, words

__all__ = ["completeness", "format_answer"]

_LINE_NUMBER = re.compile(
    r"[ \t>*#(\[_-]*(?:(?:criterion|rule|principle)[ \t*#_]*)?(\d{1,3})(?:[.):\]](?!\d)|[ \t*]*[-–:])", re.I
)
_LISTED = re.compile(r"[ \t>*#(\[-]*\d{1,3}[.):\]]\s*(\S.*)")
_COMMON = (
    "the and for that this with from into each both than then does not any all are was were has have its their "
    "should must response responses answer hard rule principle weight"
)
_COMMON_WORDS = frozenset(_COMMON.split())


def format_answer(section: FormatAnswerPart | RubricFormatPart) -> Part:
    """Return R_format + R_answer ∈ {0, 1, 2}; without a target or a completion the row abstains.

    R_format is 1 for a readable verdict with all tags of the section, R_answer is 1 for the right verdict. The two are
    independent: a right verdict without the tags earns 1.
    """

    def reward(rollout: Rollout) -> float | None:
        right = is_right(rollout)
        if right is None:
            return None
        judgment = rollout.judgment
        shape = has_tags(after_last(judgment, section.after), section.tags)
        return float(judgment.status is ParseStatus.OK and shape) + float(right)

    return each_row(reward)


def completeness(section: CompletenessPart) -> Part:
    """Return the share of Rubric-ARM's four demands that a judgment meets, by the section's values.

    The rubric is the comparison's own if it has one, else the one the judge wrote; without either, or without
    a completion, the row abstains.
    A line of the evaluation addresses a criterion if it begins with its number or holds enough of its content words.
    Its explanation is that line and the next ones up to another criterion, the criterion's own words not counted.
    """

    def reward(rollout: Rollout) -> float | None:
        criteria = _criteria(rollout)
        if not criteria or wrote_nothing(rollout):
            return None
        judgment = rollout.judgment
        explained = _explanations(judgment.critique or "", criteria, section.overlap)
        enough = sum(len(said) >= section.min_words for said in explained.values())
        _, marker, closing = judgment.text.rpartition(section.justification_marker)
        justified = bool(marker) and len(words(_first_line(closing))) >= section.min_words
        return (
            section.criteria * len(explained) / len(criteria)
            + section.explanations * enough / len(criteria)
            + section.justification * justified
            + section.decision * (judgment.status is ParseStatus.OK)
        )

    return each_row(reward)


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
