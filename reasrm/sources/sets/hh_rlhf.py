"""HH-RLHF: two whole transcripts per row that should differ in the assistant's last turn only.

Each side is split at its last assistant marker. Rows whose sides differ before it are errors: they have no
shared prompt. Empty replies are kept; the import drops them by name.
"""

from __future__ import annotations

from reasrm.errors import RowError
from reasrm.records import Conversation, Message, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import make_pair

_HUMAN = "\n\nHuman:"
_ASSISTANT = "\n\nAssistant:"


def _recognises(row: RowData) -> bool:
    chosen = row.get("chosen")
    return type(chosen) is str and chosen.startswith(_HUMAN) and "prompt" not in row


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    before, chosen = _split(row, "chosen", place)
    other, rejected = _split(row, "rejected", place)
    if before != other:
        raise RowError(
            "chosen and rejected differ before the assistant's last turn, so they answer different prompts",
            code="prompt_mismatch",
            place=place,
        )
    return (make_pair(row, place, _turns(before), chosen, rejected),)


def _split(row: RowData, key: str, place: str) -> tuple[str, str]:
    before, marker, reply = fields.text(row, key, place).rpartition(_ASSISTANT)
    if not marker or not before.startswith(_HUMAN):
        raise RowError(
            f"field {key!r} is not a transcript that starts with {_HUMAN!r} and has a turn {_ASSISTANT!r}",
            code="bad_transcript",
            place=place,
        )
    if _HUMAN in reply:
        raise RowError(
            f"field {key!r} ends with the human's turn, so it has no reply", code="no_response", place=place
        )
    return before, reply.removeprefix(" ")


def _turns(transcript: str) -> Conversation:
    """Return a transcript's turns; the space after a marker belongs to the marker."""
    turns = []
    for human in transcript.split(_HUMAN)[1:]:
        first, *replies = human.split(_ASSISTANT)
        turns.append(Message("user", first.removeprefix(" ")))
        turns.extend(Message("assistant", reply.removeprefix(" ")) for reply in replies)
    return tuple(turns)


SOURCE = Source(
    name="hh-rlhf",
    url="https://github.com/anthropics/hh-rlhf",
    licence="MIT, LICENSE file; contains harmful text",
    revision="354e5c3cb8960630860dd5774a6ac2a58313bf4d",
    label_rule="`chosen` ends with the reply that a person preferred, `rejected` with the other; no ties.",
    becomes="pairs split at the last assistant turn",
    example={
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: 2+2?\n\nAssistant: Four.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: 2+2?\n\nAssistant: Five.",
    },
    recognises=_recognises,
    read=_read,
    text_keys=("chosen", "rejected"),
)
