"""Math-Step-DPO-10K: two ways to go on from one unfinished solution.

A response is the shared beginning and its continuation, as RM-R1 reads it; the row's own `chosen` and `rejected` are
single steps and no answers, so they are not read.
"""

from __future__ import annotations

from reasrm.hashing import pair_content_id
from reasrm.records import PreferencePair, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData

_TEXTS = ("prompt", "initial_reason_steps", "full_chosen", "full_rejected")


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    start = fields.text(row, "initial_reason_steps", place)
    chosen = start + fields.text(row, "full_chosen", place)
    rejected = start + fields.text(row, "full_rejected", place)
    extra = fields.shared(row, place)
    extra.setdefault("subset", fields.optional_text(row, "dataset", place))
    answer = row.get("answer")
    if type(answer) in (str, int, float) and answer != "":
        extra.setdefault("reference", str(answer))
    return (
        PreferencePair(
            id=fields.row_id(row, ("id",), place) or pair_content_id(prompt, chosen, rejected),
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            **extra,
        ),
    )


SOURCE = Source(
    name="math-step-dpo",
    url="https://huggingface.co/datasets/xinlai/Math-Step-DPO-10K",
    licence="CC-BY-NC-4.0, licenses/DATA_LICENSE in github.com/dvlab-research/Step-DPO",
    revision="10,795 rows, columns as Step-DPO's README and RM-R1's loader read them; no commit recorded",
    label_rule="`full_chosen` goes on rightly from `initial_reason_steps`, `full_rejected` does not; no ties.",
    becomes="pairs; the shared beginning stands before both continuations",
    example={
        "dataset": "gsm8k",
        "prompt": "What is 2*3+1?",
        "initial_reason_steps": "Step 1: 2*3 = 6.\nStep 2:",
        "chosen": " 6+1 = 7.",
        "rejected": " 6+1 = 8.",
        "full_chosen": " 6+1 = 7. The answer is 7.",
        "full_rejected": " 6+1 = 8. The answer is 8.",
        "answer": "7",
    },
    recognises=lambda row: "full_chosen" in row or "full_rejected" in row,
    read=_read,
    text_keys=_TEXTS,
)
