"""Chatbot Arena conversations: two whole conversations with two models and one vote of the user.

The last replies are compared where everything before them is the same. After the first turn it is not, because each
model answered for itself: such a row is an error unless `multi_turn=transcript` makes the rest of each conversation,
under the same speaker names on both sides, the response. Both kinds of tie are ties; `meta.tie` keeps them apart.

The 55k set holds the same in other columns: the user's turns and each model's replies as JSON lists, the vote as three
columns of which one is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from reasrm.errors import RowError
from reasrm.records import Conversation, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison, side_meta

_ID_KEYS = ("id", "question_id")
_BOTH_BAD = "tie (bothbad)"
_WINNERS: Mapping[int | str, Verdict] = {
    "model_a": Verdict("A"),
    "model_b": Verdict("B"),
    "tie": Verdict("tie"),
    _BOTH_BAD: Verdict("tie"),
}
_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    first, second, size = _conversations(row, place)
    if len(first) != size + 1 or len(second) != size + 1:
        raise RowError(
            f"the conversations differ before their last reply (after message {size}), so there is no shared prompt",
            code="prompt_mismatch",
            place=place,
            remedy="pass --source chatbot-arena --option multi_turn=transcript to compare whole conversations",
        )
    replies = (
        fields.last_response(first, "conversation_a", place),
        fields.last_response(second, "conversation_b", place),
    )
    return (_pair(row, place, first[:size], replies),)


def _read_transcripts(row: RowData, place: str) -> tuple[Row, ...]:
    first, second, size = _conversations(row, place)
    if len(first) == len(second) == size + 1:
        return _read(row, place)
    return (_pair(row, place, first[:size], (_transcript(first[size:]), _transcript(second[size:]))),)


def _conversations(row: RowData, place: str) -> tuple[Conversation, Conversation, int]:
    """Return both conversations and how many leading messages, last ones excluded, they share."""
    first = _conversation(row, "conversation_a", place)
    second = _conversation(row, "conversation_b", place)
    size = 0
    for ours, theirs in zip(first[:-1], second[:-1], strict=False):
        if ours != theirs:
            break
        size += 1
    if size == 0:
        raise RowError("the conversations share no leading message", code="no_prompt", place=place)
    return first, second, size


def _conversation(row: RowData, key: str, place: str) -> Conversation:
    """Read messages."""
    value = _unpacked(row, key, place)
    if isinstance(value, list) and value:
        return fields.messages(value, key, place)
    raise fields.wrong_type(key, "a non-empty list of messages, or one as JSON", row[key], place)


def _unpacked(row: RowData, key: str, place: str) -> Any:
    """Return a value that some releases write as JSON in a string; None where that is no JSON."""
    value = fields.required(row, key, place)
    if isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value


def _transcript(turns: Conversation) -> str:
    return "\n\n".join(f"{_SPEAKERS.get(turn.role, turn.role)}: {turn.content}" for turn in turns)


def _pair(row: RowData, place: str, prompt: Conversation, responses: tuple[str, str]) -> Row:
    target = fields.choice(row, "winner", place, _WINNERS)
    models = (fields.optional_text(row, f"model_{side}", place) for side in "ab")
    meta: dict[str, Any] = side_meta(target, model=(next(models), next(models)))
    if target.winner == "tie":
        meta["tie"] = "both_bad" if row["winner"] == _BOTH_BAD else "equal"
    return comparison(row, place, prompt, responses, target, id_keys=_ID_KEYS, meta=meta)


_FLAGS = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}


def _of_lists(row: RowData, place: str) -> RowData:
    """Return a row of the 55k set as a row of the conversations."""
    lists = {key: _list(row, key, place) for key in ("prompt", "response_a", "response_b")}
    sizes = {key: len(items) for key, items in lists.items()}
    if len(set(sizes.values())) > 1:
        raise RowError(f"prompts and replies differ in number: {sizes}", code="prompt_mismatch", place=place)
    votes = [winner for flag, winner in _FLAGS.items() if fields.integer(row, flag, place) == 1]
    if len(votes) != 1:
        told = {flag: row[flag] for flag in _FLAGS}
        raise fields.bad_label("winner_…", told, "one of three columns is 1, the others 0", place)
    sides = {
        f"conversation_{side}": [
            {"role": role, "content": content}
            for asked, said in zip(lists["prompt"], lists[f"response_{side}"], strict=True)
            for role, content in (("user", asked), ("assistant", said))
        ]
        for side in "ab"
    }
    return {**{key: value for key, value in row.items() if key not in lists}, **sides, "winner": votes[0]}


def _list(row: RowData, key: str, place: str) -> list[Any]:
    value = _unpacked(row, key, place)
    # A model that failed left null; it said nothing.
    if isinstance(value, list) and value and all(item is None or isinstance(item, str) for item in value):
        return [item or "" for item in value]
    raise fields.wrong_type(key, "a non-empty list of texts, or one as JSON", row[key], place)


ARENA_55K = Source(
    name="arena-55k",
    url="https://huggingface.co/datasets/lmsys/lmsys-arena-human-preference-55k",
    licence="Apache-2.0, not confirmed",
    revision="57,477 rows, columns as its competition lists them; the files were not seen",
    label_rule="One of `winner_model_a`, `winner_model_b` and `winner_tie` is 1.",
    becomes="pairs; the vote is three columns of which one is 1; `--option multi_turn=transcript` as `chatbot-arena`",
    example={
        "id": 30192,
        "model_a": "model-a",
        "model_b": "model-b",
        "prompt": '["Hi"]',
        "response_a": '["??"]',
        "response_b": '["Hello!"]',
        "winner_model_a": 0,
        "winner_model_b": 1,
        "winner_tie": 0,
    },
    recognises=lambda row: "winner_model_a" in row and "winner_model_b" in row,
    read=lambda row, place: _read(_of_lists(row, place), place),
    options={
        "multi_turn": {
            "refuse": {},
            "transcript": {"read": lambda row, place: _read_transcripts(_of_lists(row, place), place)},
        }
    },
)
SOURCE = Source(
    name="chatbot-arena",
    url="https://huggingface.co/datasets/lmsys/chatbot_arena_conversations",
    licence="prompts CC-BY-4.0, outputs CC-BY-NC-4.0, not confirmed; behind the card's terms of use",
    revision="33,000 rows, columns as the card lists them; no commit recorded",
    label_rule='`winner` is "model_a", "model_b", or one of two kinds of tie.',
    becomes="pairs; `--option multi_turn=transcript` compares whole conversations",
    example={
        "question_id": "q1",
        "model_a": "model-a",
        "model_b": "model-b",
        "winner": "model_b",
        "judge": "arena_user_1",
        "conversation_a": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "??"}],
        "conversation_b": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1,
    },
    recognises=lambda row: "conversation_a" in row and "conversation_b" in row,
    read=_read,
    id_keys=_ID_KEYS,
    options={"multi_turn": {"refuse": {}, "transcript": {"read": _read_transcripts}}},
)
