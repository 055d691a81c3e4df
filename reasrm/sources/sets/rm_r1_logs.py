"""Result logs of RM-R1: two conversations, ending with a chosen and a rejected reply, and a judge's trace.

`Is_Chosen_Answer_Shuffled_toPositionB` means what it says, that the chosen reply was shown as B: in all
published traces where it is true, `results` is 1 exactly when the trace ends with B. The chosen reply is the
row's own first, so such a trace belongs to the order BA. Best-of-n logs repeat `bon_uid` for every loser:
those rows get ids from their content and `bon_uid` as group.
"""

from __future__ import annotations

from reasrm.hashing import pair_content_id
from reasrm.records import Order, PreferencePair, Recorded, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import split_conversations

_ID_KEYS = ("id", "pair_uid")
_FLAG = "Is_Chosen_Answer_Shuffled_toPositionB"


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt, chosen, rejected = split_conversations(row, "text_chosen", "text_rejected", place)
    return (
        PreferencePair(
            id=fields.row_id(row, _ID_KEYS, place) or pair_content_id(prompt, chosen, rejected),
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            subset=fields.optional_text(row, "category_path", place),
            group=fields.row_id(row, ("bon_uid",), place),
            meta={"results": row["results"]} if "results" in row else {},
            recorded=_recorded(row, place),
        ),
    )


def _recorded(row: RowData, place: str) -> dict[Order, tuple[Recorded, ...]]:
    answer = fields.optional_text(row, "answers", place)
    if answer is None:
        return {}
    chosen_is_b = fields.required(row, _FLAG, place)
    if type(chosen_is_b) is not bool:
        raise fields.wrong_type(_FLAG, "a boolean", chosen_is_b, place)
    return {Order.BA if chosen_is_b else Order.AB: (Recorded("text", text=answer),)}


SOURCE = Source(
    name="rm-r1-logs",
    url="https://github.com/RM-R1-UIUC/RM-R1",
    licence="Apache-2.0, LICENSE file; the judged RMB rows carry no licence",
    revision="d4c2542f0608e019074b9b2322fe6502e6ab7ab0",
    label_rule="`text_chosen` ends with the better reply, `text_rejected` with the worse; there are no ties.",
    becomes="pairs with RM-R1's recorded traces",
    example={
        "pair_uid": "17",
        "category_path": "Pairwise_set/Helpfulness/Chat",
        "text_chosen": [{"role": "user", "content": "Tip?"}, {"role": "assistant", "content": "Sleep well."}],
        "text_rejected": [{"role": "user", "content": "Tip?"}, {"role": "assistant", "content": "No."}],
        "results": 1,
        "answers": "<eval>B gives a tip.</eval>\n<answer>[[B]]</answer>",
        "Is_Chosen_Answer_Shuffled_toPositionB": True,
    },
    recognises=lambda row: "text_chosen" in row or "text_rejected" in row,
    read=_read,
    id_keys=_ID_KEYS,
)
