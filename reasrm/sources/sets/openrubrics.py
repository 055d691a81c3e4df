"""OpenRubrics: a prompt, a rubric and two responses.

A rubric whose lines all end with [Hard Rule] or [Principle] is read as criteria, any other as text. The column names
come from the code of three users; the files were not seen. Rows without responses train rubric writers and are no
comparisons (`rubric_shapes` reads them). Its author was told which response is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reasrm.records import Row, Rubric, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_COLUMNS = ("instruction", "rubric", "response_a", "response_b", "winner")
_LABELS: Mapping[int | str, Verdict] = {
    "A": Verdict("A"),
    "B": Verdict("B"),
    "a": Verdict("A"),
    "b": Verdict("B"),
}


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    text = fields.text(row, "rubric", place)
    rest = {key: value for key, value in row.items() if key != "rubric"}
    return (
        comparison(
            rest,
            place,
            fields.conversation(row, "instruction", place),
            (fields.text(row, "response_a", place), fields.text(row, "response_b", place)),
            fields.choice(row, "winner", place, _LABELS),
            meta={"pair_id": row["pair_id"]} if row.get("pair_id") is not None else None,
            rubric=replace(Rubric.read(text) or Rubric(text=text), saw_label=True),
            subset=fields.optional_text(row, "source", place),
        ),
    )


SOURCE = Source(
    name="openrubrics",
    url="https://huggingface.co/datasets/OpenRubrics/OpenRubrics",
    licence="not confirmed; the owner's code is MIT",
    revision="column names as three public loaders read them; the files were not seen",
    label_rule='`winner` is "A" or "B" in either case; there are no ties.',
    becomes="pairs with the rubric as hard rules and principles",
    example={
        "instruction": "Answer in three words: how are you?",
        "rubric": "1. The answer has exactly three words. [Hard Rule]\n2. The answer is polite. [Principle]",
        "response_a": "Fine, thank you.",
        "response_b": "Fine.",
        "winner": "A",
        "source": "instruction_following",
    },
    recognises=lambda row: "instruction" in row and all(name in row for name in _COLUMNS),
    read=_read,
    text_keys=("instruction", "rubric", "response_a", "response_b"),
    assumed=_COLUMNS,
)
