"""LLMBar: instruction-following pairs with an objective label, and the completions of published judges.

A row of a result file carries `results`, a list of rounds. The last round is the one that was scored (a judge
whose two orders disagree is asked again with both opinions). `swap = True` showed the outputs exchanged, and
the completion speaks of what was shown. `winner` is what the suite's script made of the completion, by a rule that
differs between evaluators, in the row's own order; it is kept for `--verdict-policy upstream`. The Rating evaluators
rate each output alone (`score_1`, `score_2`: the same in both orders); where the ratings are equal or no numbers, their
`winner` favours the output shown second or first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reasrm.records import Credited, Order, Recorded, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_LABELS: Mapping[int | str, Verdict] = {1: Verdict("A"), 2: Verdict("B")}
_WINNERS: Mapping[Any, Credited] = {"1": "A", "2": "B", None: "none"}
_OTHER: Mapping[Credited, Credited] = {"A": "B", "B": "A"}
_RATING = re.compile(r"[+-]?[0-9]{1,9}")
_ORDERS = {"swap = False": Order.AB, "swap = True": Order.BA}


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "input", place)
    first = fields.text(row, "output_1", place)
    second = fields.text(row, "output_2", place)
    target = fields.choice(row, "label", place, _LABELS)
    return (comparison(row, place, prompt, (first, second), target, recorded=_recorded(row, place)),)


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
        where = f"results[-1].{key}"
        answer = answer if isinstance(answer, dict) else {"completion": answer}
        if "completion" in answer or "score_1" not in rounds[-1]:
            text, finish_reason = _completion(answer.get("completion"), f"{where}.completion", place)
            recorded = Recorded("text", text=text, finish_reason=finish_reason)
        else:
            recorded = _ratings(rounds[-1], order, place)
        found[order] = (replace(recorded, credited=_credited(answer, order, where, place)),)
    return found


def _completion(value: Any, where: str, place: str) -> tuple[str, str]:
    if not isinstance(value, list) or [type(part) for part in value] != [str, str]:
        raise fields.wrong_type(where, "[text, finish reason]", value, place)
    text, finish_reason = value
    return text, finish_reason


def _ratings(last: RowData, order: Order, place: str) -> Recorded:
    """Return the two ratings in the order shown; a rating that is no whole number leaves nothing to compare."""
    keys = ("score_1", "score_2") if order is Order.AB else ("score_2", "score_1")
    texts = [_completion(last.get(key), f"results[-1].{key}", place)[0].strip() for key in keys]
    if not all(_RATING.fullmatch(text) for text in texts):
        return Recorded("decision")
    return Recorded("score", scores=tuple(map(float, texts)))


def _credited(answer: RowData, order: Order, where: str, place: str) -> Credited | None:
    """Return what the script read, in the order shown; None where the file does not say."""
    if "winner" not in answer:
        return None
    winner = answer["winner"]
    if winner is not None and (not isinstance(winner, str) or winner not in _WINNERS):
        raise fields.wrong_type(f"{where}.winner", "'1', '2' or null", winner, place)
    credited = _WINNERS[winner]
    return credited if order is Order.AB or credited == "none" else _OTHER[credited]


SOURCE = Source(
    name="llmbar",
    url="https://github.com/princeton-nlp/LLMBar",
    licence="MIT, LICENSE file",
    revision="900616bff90b6c6c8e1681f7d079250637c55992",
    label_rule="`label` 1 means output_1 follows the instruction better, 2 means output_2; no ties.",
    becomes="pairs, with the last round's recorded answers where the file has them",
    generic=1,
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
