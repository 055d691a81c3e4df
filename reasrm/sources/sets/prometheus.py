"""Two evaluation files of Prometheus, whose fields are whole judge prompts in sections.

The instruction, the response, the rubric and the reference are cut out of the sections; the judge
instructions around them are dropped, because our own prompt asks the question. The HHH file has two prompts
per row, which must agree in everything but the response. The MT-Bench file has one response and three scores
of one judge; its label is their median, which is the majority wherever two agree (305 of 320 rows), and all
three stay in `meta`. Absolute scores are no preferences: the import refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasrm.errors import RowError
from reasrm.hashing import content_id, pair_content_id
from reasrm.records import CandidateSet, Conversation, Message, PreferencePair, Row, Rubric
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData

_INSTRUCTION = "###The instruction to evaluate:\n"
_RESPONSE = "\n\n###Response to evaluate:\n"
_REFERENCE = "\n\n###Reference Answer (Score 5):\n"
_RUBRIC = "\n\n###Score Rubrics:\n"
_FEEDBACK = "\n\n###Feedback:"
_NUM_SCORES = 3


@dataclass(frozen=True, slots=True)
class _Sections:
    prompt: Conversation
    response: str
    reference: str | None
    rubric: Rubric


def _sections(row: RowData, key: str, place: str) -> _Sections:
    """Cut a judge prompt into its sections: the headings around the response from outside in."""
    rest = fields.text(row, key, place)
    _, found_instruction, rest = rest.partition(_INSTRUCTION)
    rest, found_feedback, _ = rest.rpartition(_FEEDBACK)
    rest, found_rubric, rubric = rest.rpartition(_RUBRIC)
    instruction, found_response, answer = rest.partition(_RESPONSE)
    headings = (_INSTRUCTION, _RESPONSE, _RUBRIC, _FEEDBACK)
    found = (found_instruction, found_response, found_rubric, found_feedback)
    for heading, match in zip(headings, found, strict=True):
        if not match:
            raise RowError(
                f"field {key!r} has no section {heading.strip()!r}", code="missing_section", place=place
            )
    response, has_reference, reference = answer.partition(_REFERENCE)
    return _Sections(
        (Message("user", instruction),), response, reference if has_reference else None, Rubric(text=rubric)
    )


def _read_pair(row: RowData, place: str) -> tuple[Row, ...]:
    chosen = _sections(row, "chosen_instruction", place)
    rejected = _sections(row, "rejected_instruction", place)
    if (chosen.prompt, chosen.rubric) != (rejected.prompt, rejected.rubric):
        raise RowError(
            "chosen_instruction and rejected_instruction differ outside the response",
            code="prompt_mismatch",
            place=place,
        )
    derived = pair_content_id(chosen.prompt, chosen.response, rejected.response)
    return (
        PreferencePair(
            id=fields.row_id(row, ("id",), place) or derived,
            prompt=chosen.prompt,
            chosen=chosen.response,
            rejected=rejected.response,
            rubric=chosen.rubric,
            reference=chosen.reference,
            subset=fields.optional_text(row, "source", place),
        ),
    )


def _read_absolute(row: RowData, place: str) -> tuple[Row, ...]:
    parts = _sections(row, "instruction", place)
    scores = fields.required(row, "gpt4_score", place)
    if not isinstance(scores, list) or [type(score) for score in scores] != [int] * _NUM_SCORES:
        raise fields.wrong_type("gpt4_score", "a list of three integers", scores, place)
    if not all(1 <= score <= 5 for score in scores):
        raise fields.bad_label("gpt4_score", scores, "three scores from 1 to 5", place)
    meta = {k: row[k] for k in ("idx", "response_source", "gpt4_score", "gpt4_feedback") if k in row}
    return (
        CandidateSet(
            id=fields.row_id(row, ("id",), place) or content_id(parts.prompt, (parts.response,)),
            prompt=parts.prompt,
            responses=(parts.response,),
            label=sorted(scores)[1],
            rubric=parts.rubric,
            reference=parts.reference,
            subset=fields.optional_text(row, "category", place),
            meta=meta,
        ),
    )


def _example(response: str, reference: str = "") -> str:
    return (
        f"Judge the response by the rubric.\n\n{_INSTRUCTION}Say hello politely.{_RESPONSE}{response}"
        f"{_REFERENCE + reference if reference else ''}{_RUBRIC}[Is it polite?]\nScore 1: rude.\n"
        f"Score 5: polite.{_FEEDBACK} "
    )


HHH = Source(
    name="prometheus-hhh",
    url="https://github.com/prometheus-eval/prometheus-eval",
    licence="Apache-2.0, LICENSE file",
    revision="dcfb44272d5d0414832f5dbb8c2a05ebc2614234",
    label_rule="The response inside `chosen_instruction` is better than the other one; no ties.",
    becomes="pairs",
    example={
        "source": "helpful",
        "chosen_instruction": _example("Good morning to you."),
        "rejected_instruction": _example("What now?"),
    },
    recognises=lambda row: "chosen_instruction" in row or "rejected_instruction" in row,
    read=_read_pair,
    text_keys=("chosen_instruction", "rejected_instruction"),
)

ABSOLUTE = Source(
    name="prometheus-absolute",
    url="https://github.com/prometheus-eval/prometheus-eval",
    licence="Apache-2.0, LICENSE file",
    revision="dcfb44272d5d0414832f5dbb8c2a05ebc2614234",
    label_rule="The gold score is the median of the three `gpt4_score`, from 1 (worst) to 5 (best).",
    becomes="scored single responses",
    example={
        "idx": 83,
        "response_source": "some-model",
        "category": "writing",
        "instruction": _example("Good day.", "Good morning to you."),
        "gpt4_score": [3, 2, 3],
        "gpt4_feedback": ["Polite but short.", "Curt.", "Acceptable."],
    },
    recognises=lambda row: "gpt4_score" in row,
    read=_read_absolute,
    text_keys=("instruction",),
)
