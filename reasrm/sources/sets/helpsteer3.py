"""HelpSteer3: pairs with people's preferences and reasons, and pairs whose responses were each commented on.

A preference row has an overall strength and up to three people's. The critique is the reasons of those who agree
with the overall preference; `meta.votes` holds everyone's strength, positive where it agrees. A feedback row has no
label of its own: each comment begins with a grade in words, and the response with the higher mean grade is taken for
the better. Zero is a tie here, never "the second".
"""

from __future__ import annotations

import re
from typing import Any

from reasrm.records import Critique, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import (
    by_sign,
    comparison,
    exchange_names,
    of_both_sides,
    side_meta,
    verdict_of,
)

_GRADES = {"not": 0, "slightly": 1, "partially": 2, "mostly": 3, "perfectly": 4}
_GRADE = re.compile(r"\W*the response is (not|slightly|partially|mostly|perfectly) helpful", re.I)


def _read_preference(row: RowData, place: str) -> tuple[Row, ...]:
    target, strength = by_sign(row, "overall_preference", place)
    sign = -1 if target.winner == "A" else 1
    votes = _votes(row, place)
    reasons = [reason for score, reason in votes if target.winner == "tie" or score * sign > 0]
    meta: dict[str, Any] = {"strength": strength}
    if votes:
        meta["votes"] = [score * sign for score, _ in votes]
    return (_pair(row, place, target, meta, Critique(text="\n\n".join(reasons)) if reasons else None),)


def _votes(row: RowData, place: str) -> list[tuple[int, str]]:
    """Return each person's strength and reasons, as far as the row has them."""
    votes = row.get("individual_preference")
    if votes is None:
        return []
    if not isinstance(votes, list) or not all(isinstance(vote, dict) for vote in votes):
        raise fields.wrong_type("individual_preference", "a list of {score, reasoning}", votes, place)
    found = []
    for n, vote in enumerate(votes):
        named = {f"individual_preference[{n}].{key}": value for key, value in vote.items()}
        score = fields.integer(named, f"individual_preference[{n}].score", place)
        found.append((score, fields.text(named, f"individual_preference[{n}].reasoning", place)))
    return found


def _read_feedback(row: RowData, place: str) -> tuple[Row, ...]:
    comments = [_comments(row, key, place) for key in ("feedback1", "feedback2")]
    first, second = (_grade(each) for each in comments)
    target = None if first is None or second is None else verdict_of(first, second)
    meta = side_meta(target, score=(first, second))
    if first is not None and second is not None:
        meta["margin"] = abs(first - second)
    return (_pair(row, place, target, meta, of_both_sides(*("\n".join(each) for each in comments))),)


def _comments(row: RowData, key: str, place: str) -> list[str]:
    value = fields.required(row, key, place)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise fields.wrong_type(key, "a list of strings", value, place)


def _grade(comments: list[str]) -> float | None:
    """Return the mean grade of the comments that begin with one."""
    grades = [_GRADES[match[1].lower()] for match in map(_GRADE.match, comments) if match]
    return sum(grades) / len(grades) if grades else None


def _pair(
    row: RowData, place: str, target: Verdict | None, meta: dict[str, Any], critique: Critique | None
) -> Row:
    domain = fields.optional_text(row, "domain", place)
    language = fields.optional_text(row, "language", place)
    if domain == "code":  # then `language` is the programming language
        row = {key: value for key, value in row.items() if key != "language"}
        meta = meta | ({} if language is None else {"programming_language": language})
    return comparison(
        row,
        place,
        fields.conversation(row, "context", place),
        (fields.text(row, "response1", place), fields.text(row, "response2", place)),
        target,
        meta=meta,
        subset=domain,
        critique=critique,
    )


PREFERENCE = Source(
    name="helpsteer3-preference",
    url="https://huggingface.co/datasets/nvidia/HelpSteer3",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2505.11475, config preference; no commit recorded",
    label_rule="`overall_preference` below 0 means response1 is better, above 0 response2; 0 is a tie.",
    becomes="pairs with strength, votes, and as critique the reasons of those who agree with the label",
    example={
        "domain": "general",
        "language": "english",
        "context": [{"role": "user", "content": "How far is the moon?"}],
        "response1": "About 384,000 km.",
        "response2": "Very far.",
        "overall_preference": -2,
        "individual_preference": [
            {"score": -3, "reasoning": "@Response 1 gives the distance."},
            {"score": -1, "reasoning": "@Response 1 is more precise than @Response 2."},
            {"score": 1, "reasoning": "@Response 2 is easier to read."},
        ],
    },
    recognises=lambda row: "overall_preference" in row,
    read=_read_preference,
    text_keys=("context", "response1", "response2"),
    exchange=exchange_names,
)

FEEDBACK = Source(
    name="helpsteer3-feedback",
    url="https://huggingface.co/datasets/nvidia/HelpSteer3",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2503.04378, config feedback; no commit recorded",
    label_rule="The response with the higher mean grade (not, slightly, partially, mostly, perfectly helpful) is "
    "better; equal means are a tie, and without a grade there is no label.",
    becomes="pairs; the higher mean of the grades in words is better",
    example={
        "domain": "stem",
        "language": "english",
        "context": [{"role": "user", "content": "Boiling point of water?"}],
        "response1": "Hot.",
        "response2": "100 °C at sea level.",
        "feedback1": [
            "The response is not helpful. It gives no number.",
            "The response is slightly helpful.",
        ],
        "feedback2": ["The response is perfectly helpful. It names the pressure, too."],
    },
    recognises=lambda row: "feedback1" in row and "feedback2" in row and "response1" in row,
    read=_read_feedback,
    text_keys=("context", "response1", "response2"),
    exchange=exchange_names,
)
