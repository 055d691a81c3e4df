"""RewardBench (first version) and its translations: one right, one wrong response, and who wrote them.

The numbers that the set calls ids are unique within a subset only (3692 occurs in two), so a row is called by both:
`hep-python/3692`. Any other id is the user's own, and stays. In a table of texts a number is its digits.
"""

from __future__ import annotations

from reasrm.records import Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import make_pair


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    chosen = fields.response(row, "chosen", place)
    rejected = fields.response(row, "rejected", place)
    meta = {key: row[key] for key in ("chosen_model", "rejected_model") if key in row}
    named = {"meta": meta, **row}
    if str(row.get("id")).isdecimal() and row.get("subset") is not None:
        named["id"] = f"{fields.text(row, 'subset', place)}/{row['id']}"
    return (make_pair(named, place, prompt, chosen, rejected),)


SOURCE = Source(
    name="rewardbench",
    url="https://huggingface.co/datasets/allenai/reward-bench",
    licence="ODC-BY, stated on the Hugging Face card; parts carry their own terms",
    revision="05a9005",
    label_rule="`chosen` is the right response, `rejected` the wrong one; there are no ties.",
    becomes="pairs with subset",
    example={
        "prompt": "Is 7 a prime number?",
        "chosen": "Yes.",
        "chosen_model": "model-a",
        "rejected": "No.",
        "rejected_model": "model-b",
        "subset": "math-prm",
        "id": 12,
    },
    recognises=lambda row: "chosen_model" in row and "rejected_model" in row,
    read=_read,
    text_keys=("prompt", "chosen", "rejected"),
)
