"""JudgeBench: response pairs with an objective label, and the judgments of published judges.

A row may carry `judgments`, one per order: the second was asked with the responses exchanged. Its `decision`,
like its `scores` and the verdict in its text, speaks of the order that was shown: read so, the published
score of the o1-mini file (65.71) comes out exactly; read in the row's own frame it would be 14.86.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasrm.records import Order, Recorded, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_LABELS: Mapping[int | str, Verdict] = {"A>B": Verdict("A"), "B>A": Verdict("B")}
_DECISIONS: Mapping[int | str, Verdict] = {**_LABELS, "A=B": Verdict("tie")}
_ID_KEYS = ("id", "pair_id")


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "question", place)
    first = fields.text(row, "response_A", place)
    second = fields.text(row, "response_B", place)
    target = fields.choice(row, "label", place, _LABELS)
    return (
        comparison(
            *(row, place, prompt, (first, second), target),
            id_keys=_ID_KEYS,
            meta={key: row[key] for key in ("original_id", "response_model") if key in row},
            subset=fields.optional_text(row, "source", place),
            recorded=_recorded(row, place),
        ),
    )


def _recorded(row: RowData, place: str) -> dict[Order, tuple[Recorded, ...]]:
    judgments = row.get("judgments")
    if judgments is None:
        return {}
    if not isinstance(judgments, list) or len(judgments) > len(Order):
        raise fields.wrong_type("judgments", "a list of at most two judgments", judgments, place)
    return {
        order: (_one(judgment, f"judgments[{n}]", place),)
        for n, (order, judgment) in enumerate(zip(Order, judgments, strict=False))
        if judgment is not None
    }


def _one(judgment: Any, where: str, place: str) -> Recorded:
    """Read a judgment as its text, else its scores, else its decision."""
    if not isinstance(judgment, dict):
        raise fields.wrong_type(where, "an object", judgment, place)
    inner = judgment.get("judgment")
    if isinstance(inner, dict):
        if inner.get("response"):
            return Recorded("text", text=fields.text(inner, "response", place))
        scores = inner.get("scores")
        if scores is not None:
            if not isinstance(scores, list) or [type(s) in (int, float) for s in scores] != [True, True]:
                raise fields.wrong_type(f"{where}.judgment.scores", "a list of two numbers", scores, place)
            return Recorded("score", scores=tuple(map(float, scores)))
    if judgment.get("decision") is None:
        return Recorded("decision")
    return Recorded("decision", decision=fields.choice(judgment, "decision", place, _DECISIONS))


SOURCE = Source(
    name="judgebench",
    url="https://github.com/ScalerLab/JudgeBench",
    licence="MIT, stated on the Hugging Face card of the data",
    revision="e2c52c284e735e139b3daa61c206ee208f36c461",
    label_rule='`label` "A>B" means response_A is right and response_B wrong, "B>A" the reverse; no ties.',
    becomes="pairs, with recorded judgments where the file has them",
    example={
        "pair_id": "p-1",
        "original_id": None,
        "source": "livebench-math",
        "question": "What is 3 + 4?",
        "response_model": "some-model",
        "response_A": "7",
        "response_B": "8",
        "label": "A>B",
    },
    recognises=lambda row: "question" in row and ("response_A" in row or "response_B" in row),
    read=_read,
    id_keys=_ID_KEYS,
    text_keys=("question", "response_A", "response_B"),
)
