"""Prometheus's training sets: Preference-Collection (pairs) and Feedback-Collection (one scored response).

`instruction` is a whole judge prompt and is not read; the parts it was made of are in the `orig_` columns. The rubric
is the criterion with the five score descriptions that the row has. The feedback of a pair ends with its own verdict:
it becomes the critique where that verdict is the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasrm.hashing import content_id
from reasrm.records import CandidateSet, Critique, Row, Rubric, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import WINNERS, RowData
from reasrm.sources.pairing import comparison, exchange_names, side_meta

_LABELS: Mapping[int | str, Verdict] = {"A": WINNERS["A"], "B": WINNERS["B"]}
_SCORES = {"1", "2", "3", "4", "5"}


def _read_preference(row: RowData, place: str) -> tuple[Row, ...]:
    target = fields.choice(row, "orig_preference", place, _LABELS)
    responses = fields.text(row, "orig_response_A", place), fields.text(row, "orig_response_B", place)
    scores = _score(row.get("orig_score_A")), _score(row.get("orig_score_B"))
    meta: dict[str, Any] = side_meta(target, score=scores)
    if scores[0] is not None and scores[1] is not None:
        meta["margin"] = abs(scores[0] - scores[1])
    return (
        comparison(
            row,
            place,
            fields.conversation(row, "orig_instruction", place),
            responses,
            target,
            meta=meta,
            critique=_feedback(row, target, place),
            **_shown(row, place),
        ),
    )


def _feedback(row: RowData, target: Verdict, place: str) -> Critique | None:
    said, _, verdict = (fields.optional_text(row, "output", place) or "").rpartition("[RESULT]")
    text = said.strip().removeprefix("Feedback:").strip()
    return Critique(text=text) if text and verdict.strip() == target.winner else None


def _read_feedback(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "orig_instruction", place)
    answer = fields.text(row, "orig_response", place)
    score = _score(fields.required(row, "orig_score", place))
    if score is None:
        raise fields.bad_label("orig_score", row["orig_score"], "1 (worst) to 5 (best)", place)
    feedback = fields.optional_text(row, "orig_feedback", place)
    extra = fields.shared(row, place)
    for key, value in _shown(row, place).items():
        extra.setdefault(key, value)
    if feedback:
        extra.setdefault("critique", Critique(text=feedback))
    return (
        CandidateSet(
            id=fields.row_id(row, ("id",), place) or content_id(prompt, (answer,)),
            prompt=prompt,
            responses=(answer,),
            label=score,
            **extra,
        ),
    )


def _shown(row: RowData, place: str) -> dict[str, Any]:
    """Return rubric and reference."""
    criteria = fields.optional_text(row, "orig_criteria", place)
    lines = [] if criteria is None else [f"[{criteria}]"]
    for n in range(1, 6):
        description = fields.optional_text(row, f"orig_score{n}_description", place)
        if description is not None:
            lines.append(f"Score {n}: {description}")
    return {
        "rubric": Rubric(text="\n".join(lines)) if lines else None,
        "reference": fields.optional_text(row, "orig_reference_answer", place),
    }


def _score(value: Any) -> int | None:
    """Return a score from 1 to 5, which the files write as a string."""
    known = str(value).strip() if type(value) in (str, int) else ""
    return int(known) if known in _SCORES else None


_SHOWN = {
    "orig_instruction": "Cheer me up.",
    "orig_reference_answer": "I am sorry that today was hard. Shall we talk about it?",
    "orig_criteria": "Does the response show empathy?",
    "orig_score1_description": "None.",
    "orig_score5_description": "It answers the feeling.",
}

PREFERENCE = Source(
    name="preference-collection",
    url="https://huggingface.co/datasets/prometheus-eval/Preference-Collection",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2405.01535, columns as the card lists them; no commit recorded",
    label_rule='`orig_preference` is "A" or "B"; there are no ties.',
    becomes="pairs with rubric, reference and critique",
    example={
        **_SHOWN,
        "orig_response_A": "I am sorry to hear that.",
        "orig_response_B": "Ok.",
        "orig_score_A": "4",
        "orig_score_B": "2",
        "orig_preference": "A",
        "output": "Feedback: Response A answers the feeling, Response B does not. [RESULT] A",
    },
    recognises=lambda row: "orig_response_A" in row and "orig_response_B" in row,
    read=_read_preference,
    text_keys=("orig_instruction", "orig_response_A", "orig_response_B"),
    exchange=exchange_names,
)

FEEDBACK = Source(
    name="feedback-collection",
    url="https://huggingface.co/datasets/prometheus-eval/Feedback-Collection",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2310.08491, columns as the card lists them; no commit recorded",
    label_rule="The gold score is `orig_score`, from 1 (worst) to 5 (best).",
    becomes="scored responses",
    example={
        **_SHOWN,
        "orig_response": "Ok.",
        "orig_feedback": "The response does not answer the feeling.",
        "orig_score": "2",
        "output": "The response does not answer the feeling. [RESULT] 2",
    },
    recognises=lambda row: "orig_response" in row and "orig_score" in row,
    read=_read_feedback,
    text_keys=("orig_instruction", "orig_response"),
)
