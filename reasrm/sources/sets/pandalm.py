"""PandaLM test set: pairs judged by three people, ties included.

The majority of the three is the target. Three different labels have no majority and are an error of their
own, not a tie; the released file has none. Six of its responses are JSON booleans (a model answered "True"):
they are errors unless scalars are read as text.
"""

from __future__ import annotations

from collections.abc import Mapping

from reasrm.errors import RowError
from reasrm.records import Message, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_LABELS: Mapping[int | str, Verdict] = {0: Verdict("tie"), 1: Verdict("A"), 2: Verdict("B")}
_ANNOTATORS = ("annotator1", "annotator2", "annotator3")
_ID_KEYS = ("id", "idx")


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    instruction = fields.text(row, "instruction", place)
    given = fields.text(row, "input", place)
    prompt = (Message("user", f"{instruction}\n\n{given}" if given else instruction),)
    first = fields.text(row, "response1", place)
    second = fields.text(row, "response2", place)
    meta = {key: row[key] for key in ("cmp_key", "motivation_app", *_ANNOTATORS) if key in row}
    target = _majority(row, place)
    return (comparison(row, place, prompt, (first, second), target, id_keys=_ID_KEYS, meta=meta),)


def _majority(row: RowData, place: str) -> Verdict:
    votes = [fields.choice(row, key, place, _LABELS) for key in _ANNOTATORS]
    for vote in votes[:2]:
        if votes.count(vote) > 1:
            return vote
    raise RowError(
        f"the three annotators disagree ({', '.join(v.winner for v in votes)}), so there is no majority",
        code="no_majority",
        place=place,
    )


SOURCE = Source(
    name="pandalm",
    url="https://github.com/WeOpenML/PandaLM",
    licence="Apache-2.0, LICENSE file",
    revision="3871806e72b4832f815ecafd24d3503c73403f48",
    label_rule="The majority of three annotators: 1 means response1 is better, 2 response2, 0 a tie.",
    becomes="pairs with the majority of three annotators; ties kept as ties",
    example={
        "idx": 0,
        "motivation_app": "Editor",
        "cmp_key": "model-a_model-b",
        "instruction": "Make the sentence shorter.",
        "input": "I am of the opinion that it rains.",
        "response1": "I think it rains.",
        "response2": "It might possibly be raining, I think.",
        "annotator1": 1,
        "annotator2": 1,
        "annotator3": 0,
    },
    recognises=lambda row: "response1" in row and ("annotator1" in row or "cmp_key" in row),
    read=_read,
    id_keys=_ID_KEYS,
    text_keys=("instruction", "input", "response1", "response2"),
)
