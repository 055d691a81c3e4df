"""AlpacaEval's result files: what a judge said of two models' outputs, as a recorded judgment and never as a label.

`preference` is 1 plus the probability that the judge gave output 2, from the log-probabilities of its one token. It
becomes a recorded score of each output, their sum one, so that a replay has the judge's own confidence; the tokens'
log-probabilities stay in `meta`. A null preference is an unreadable judgment. The file does not say which output was
shown first.
"""

from __future__ import annotations

from typing import Any

from reasrm.records import Message, Order, Recorded, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_KEPT = ("generator_1", "generator_2", "annotator")


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    asked = [fields.text(row, "instruction", place), fields.optional_text(row, "input", place) or ""]
    prompt = (Message("user", "\n\n".join(part for part in asked if part)),)
    first, second = (fields.text(row, key, place) for key in ("output_1", "output_2"))
    meta = {key: row[key] for key in _KEPT if row.get(key) is not None}
    tokens = _logprobs(row.get("raw_completion"))
    if tokens:
        meta["logprobs"] = tokens
    return (
        comparison(
            *(row, place, prompt, (first, second), None),
            meta=meta,
            subset=fields.optional_text(row, "dataset", place),
            recorded={Order.AB: (_recorded(row, place),)},
        ),
    )


def _recorded(row: RowData, place: str) -> Recorded:
    value = row.get("preference")
    if value is None:
        return Recorded("decision", decision=None)
    if type(value) not in (int, float) or not 1 <= value <= 2:
        raise fields.bad_label("preference", value, "1 (output 1 is better) to 2 (output 2 is better)", place)
    return Recorded("score", scores=(2.0 - value, value - 1.0))


def _logprobs(completion: Any) -> dict[str, float]:
    """Return token → log-probability of the first token's alternatives, where the file has them."""
    try:
        found = completion["logprobs"]["content"][0]["top_logprobs"]
        return {str(item["token"]): float(item["logprob"]) for item in found}
    except (KeyError, IndexError, TypeError, ValueError):
        return {}


SOURCE = Source(
    name="alpaca-eval",
    url="https://github.com/tatsu-lab/alpaca_eval",
    licence="Apache-2.0, LICENSE file",
    revision="cd543a149df89434d8a54582c0151c0b945c3d20",
    label_rule="There are no labels: `preference`, from 1 (output 1) to 2 (output 2), is what a judge said.",
    becomes="unlabelled pairs with the judge's recorded probability",
    example={
        "instruction": "Name a prime above ten.",
        "output_1": "Twelve.",
        "generator_1": "model-a",
        "dataset": "helpful_base",
        "output_2": "Eleven.",
        "generator_2": "model-b",
        "annotator": "judge-1",
        "preference": 1.9,
    },
    recognises=lambda row: "instruction" in row and "output_1" in row and "generator_1" in row,
    read=_read,
    text_keys=("instruction", "output_1", "output_2"),
)
