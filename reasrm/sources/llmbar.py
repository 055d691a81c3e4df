"""LLMBar: instruction-following pairs with an objective label, and the completions of published judges.

A row of a result file carries `results`, a list of rounds. The last round is the one that was scored (a judge
whose two orders disagree is asked again with both opinions). `swap = True` showed the outputs exchanged, and
the completion speaks of what was shown; the file's own `winner` is mapped back and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping

from reasrm.hashing import pair_content_id
from reasrm.records import Comparison, Order, Recorded, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData

__all__ = ["SOURCE"]

_LABELS: Mapping[int | str, Verdict] = {1: Verdict("A"), 2: Verdict("B")}
_ORDERS = {"swap = False": Order.AB, "swap = True": Order.BA}


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "input", place)
    first = fields.text(row, "output_1", place)
    second = fields.text(row, "output_2", place)
    return (
        Comparison(
            id=fields.row_id(row, ("id",), place) or pair_content_id(prompt, first, second),
            prompt=prompt,
            response_a=first,
            response_b=second,
            target=fields.choice(row, "label", place, _LABELS),
            recorded=_recorded(row, place),
            **fields.shared(row, place),
        ),
    )


def _recorded(row: RowData, place: str) -> dict[Order, tuple[Recorded, ...]]:
    rounds = row.get("results")
    if rounds is None:
        return {}
    if not isinstance(rounds, list) or not rounds or not isinstance(rounds[-1], dict):
        raise fields.wrong_type("results", "a non-empty list of objects", rounds, place)
    found: dict[Order, tuple[Recorded, ...]] = {}
    for key, order in _ORDERS.items():
        answer = rounds[-1].get(key)
        if answer is None:
            continue
        completion = answer.get("completion") if isinstance(answer, dict) else answer
        if not isinstance(completion, list) or [type(part) for part in completion] != [str, str]:
            raise fields.wrong_type(
                f"results[-1].{key}.completion", "[text, finish reason]", completion, place
            )
        found[order] = (Recorded("text", text=completion[0], finish_reason=completion[1]),)
    return found


SOURCE = Source(
    name="llmbar",
    url="https://github.com/princeton-nlp/LLMBar",
    licence="MIT, LICENSE file",
    revision="900616bff90b6c6c8e1681f7d079250637c55992",
    label_rule="`label` 1 means output_1 follows the instruction better, 2 means output_2; no ties.",
    example={
        "input": "Answer with one word: sky colour?",
        "output_1": "Blue",
        "output_2": "It is blue.",
        "label": 1,
    },
    recognises=lambda row: "output_1" in row or "output_2" in row,
    read=_read,
    text_keys=("input", "output_1", "output_2"),
)
