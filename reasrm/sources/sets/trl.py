"""Preference rows as TRL documents them: standard or conversational, with an explicit or an implicit prompt.

An implicit conversational prompt is the longest run of leading messages that both sides share. An implicit
string prompt is taken only where the two sides are the row's only texts. It has no marked end: the longest common
prefix is cut back to the last assistant marker or, without one, to the last white space that both sides have, never
inside a word; white space stays with the responses. A row where that leaves no prompt, or where one side is nothing
but prompt, is an error. What follows the prompt may hold calls and results of tools: they become one text.
"""

from __future__ import annotations

from reasrm.errors import RowError
from reasrm.hashing import pair_content_id
from reasrm.records import Conversation, Message, PreferencePair, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.prompts import read_prompt, refuse_other_texts, with_front
from reasrm.sources.tools import transcript
from reasrm.strictjson import parses

_SIDES = ("chosen", "rejected")
_MARKER = "\n\nAssistant:"


def _recognises(row: RowData) -> bool:
    return "chosen" in row or "rejected" in row


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    if row.get("prompt") is not None:
        prompt = fields.conversation(row, "prompt", place)
        whole = read_prompt(row, place, _SIDES)
        chosen = _completion(row, "chosen", prompt, place)
        rejected = _completion(row, "rejected", prompt, place)
        prompt = whole
    elif type(row.get("chosen")) is list and type(row.get("rejected")) is list:
        prompt, chosen, rejected = split_conversations(row, "chosen", "rejected", place)
        refuse_other_texts(row, place, _SIDES)
        prompt = with_front(row, prompt, place)
    else:
        refuse_other_texts(row, place, _SIDES)
        prompt_text, chosen, rejected = split_strings(
            fields.text(row, "chosen", place), fields.text(row, "rejected", place), place
        )
        prompt = with_front(row, (Message("user", prompt_text),), place)
    return (make_pair(row, place, prompt, chosen, rejected),)


def make_pair(row: RowData, place: str, prompt: Conversation, chosen: str, rejected: str) -> PreferencePair:
    """Return the pair with the row's id, or one from its content, and the optional fields it carries."""
    return PreferencePair(
        id=fields.row_id(row, ("id",), place) or pair_content_id(prompt, chosen, rejected),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        **fields.shared(row, place),
    )


def _completion(row: RowData, key: str, prompt: Conversation, place: str) -> str:
    """Read one side next to an explicit prompt, which some datasets repeat inside the side's messages."""
    value = row.get(key)
    if type(value) is list and len(value) > 1:
        turns = fields.messages(value, key, place)
        if turns[:-1] == prompt:
            return fields.last_response(turns, key, place)
    return fields.response(row, key, place)


def split_conversations(
    row: RowData, chosen_key: str, rejected_key: str, place: str
) -> tuple[Conversation, str, str]:
    """Return the shared leading messages and the two replies that follow them."""
    chosen = fields.conversation(row, chosen_key, place)
    rejected = fields.conversation(row, rejected_key, place)
    size = 0
    # A side's last message is its reply even where both replies are equal.
    for ours, theirs in zip(chosen[:-1], rejected[:-1], strict=False):
        if ours != theirs:
            break
        size += 1
    if size == 0:
        raise RowError(
            f"{chosen_key!r} and {rejected_key!r} share no leading message, so there is no prompt",
            code="no_prompt",
            place=place,
        )
    replies = chosen[size:], rejected[size:]
    if all(len(reply) == 1 or fields.is_tool_use(reply) for reply in replies) and max(map(len, replies)) > 1:
        return chosen[:size], transcript(replies[0]), transcript(replies[1])
    if len(chosen) != size + 1 or len(rejected) != size + 1:
        raise RowError(
            f"{chosen_key!r} and {rejected_key!r} part after message {size}, before their last turns "
            f"({len(chosen)} and {len(rejected)} messages)",
            code="prompt_mismatch",
            place=place,
        )
    return (
        chosen[:size],
        fields.last_response(chosen, chosen_key, place),
        fields.last_response(rejected, rejected_key, place),
    )


def split_strings(chosen: str, rejected: str, place: str) -> tuple[str, str, str]:
    """Return prompt, chosen and rejected response of two transcripts; each side is prompt + response."""
    if chosen == rejected:
        raise RowError(
            "chosen and rejected are the same text, so prompt and response cannot be told apart",
            code="identical",
            place=place,
        )
    if chosen[:1] in "{[" and parses(chosen.encode()) and parses(rejected.encode()):
        raise RowError(
            "chosen and rejected are JSON, so what they share is no prompt",
            code="no_prompt",
            place=place,
            remedy="give the rows an explicit 'prompt', or name its column: --columns prompt=COLUMN",
        )
    size = _common_prefix(chosen, rejected)
    if size == min(len(chosen), len(rejected)):
        raise RowError(
            "one side is a prefix of the other, so it holds a prompt but no response",
            code="no_response",
            place=place,
        )
    cut = _boundary(chosen, rejected, size)
    if not chosen[:cut].strip():
        raise RowError(
            "chosen and rejected share no leading text that ends at white space, so there is no prompt",
            code="no_prompt",
            place=place,
            remedy="give the rows an explicit 'prompt'",
        )
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _common_prefix(first: str, second: str) -> int:
    """Return how many leading characters two strings share, by bisection over slices."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _boundary(chosen: str, rejected: str, size: int) -> int:
    """Return where the prompt ends in a common prefix of `size` characters; 0 if nowhere."""
    turn = chosen.rfind(_MARKER, 0, size)
    if turn >= 0:
        return turn + len(_MARKER)
    # A cut before white space on both sides splits neither a word nor a character from its combining marks.
    cut = size if chosen[size].isspace() and rejected[size].isspace() else size - 1
    while cut > 0 and not chosen[cut].isspace():
        cut -= 1
    while cut > 0 and chosen[cut - 1].isspace():
        cut -= 1
    return max(cut, 0)


SOURCE = Source(
    name="trl",
    url="https://huggingface.co/docs/trl/dataset_formats",
    licence="a format, not a dataset: the rows bring their own",
    revision="TRL 1.16",
    label_rule="`chosen` is the better response, `rejected` the worse; there are no ties.",
    becomes="TRL preference rows: standard or conversational, explicit or implicit prompt",
    generic=3,
    example={
        "prompt": [{"role": "user", "content": "Capital of Norway?"}],
        "chosen": [{"role": "assistant", "content": "Oslo."}],
        "rejected": [{"role": "assistant", "content": "Bergen."}],
    },
    recognises=_recognises,
    read=_read,
    text_keys=("prompt", "chosen", "rejected"),
)
