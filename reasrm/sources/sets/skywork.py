"""Skywork-Reward-Preference-80K: two conversations per row, of several origins.

The option `clean=rm-r1` leaves out the origin `magpie_ultra` whole, as RM-R1 does (arXiv 2505.02387, appendix on
data): its rejected replies hold chat markup of further turns, which tells the label.
"""

from __future__ import annotations

from reasrm.errors import RowError
from reasrm.records import Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import make_pair, split_conversations

_COLUMNS = {"chosen", "rejected", "source"}
_LEFT_OUT = "magpie_ultra"


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt, chosen, rejected = split_conversations(row, "chosen", "rejected", place)
    subset = fields.optional_text(row, "source", place)
    return (make_pair({"subset": subset, **row}, place, prompt, chosen, rejected),)


def _read_cleaned(row: RowData, place: str) -> tuple[Row, ...]:
    if row.get("source") == _LEFT_OUT:
        raise RowError(f"the origin {_LEFT_OUT!r} is left out by clean=rm-r1", code="cleaned", place=place)
    return _read(row, place)


SOURCE = Source(
    name="skywork-80k",
    url="https://huggingface.co/datasets/Skywork/Skywork-Reward-Preference-80K-v0.2",
    licence="none stated; the parts carry their own terms (HelpSteer2 CC-BY-4.0, others differ)",
    revision="v0.2, 77,016 rows; no commit recorded",
    label_rule="`chosen` ends with the better reply, `rejected` with the worse; there are no ties.",
    becomes="pairs with their origin as subset; `--option clean=rm-r1` leaves `magpie_ultra` out",
    example={
        "chosen": [{"content": "2+2?", "role": "user"}, {"content": "4", "role": "assistant"}],
        "rejected": [{"content": "2+2?", "role": "user"}, {"content": "5", "role": "assistant"}],
        "source": "magpie_pro",
    },
    recognises=lambda row: row.keys() == _COLUMNS and type(row["chosen"]) is list,
    read=_read,
    options={"clean": {"none": {}, "rm-r1": {"read": _read_cleaned}}},
)
