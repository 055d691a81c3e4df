"""The prompt of a row in a general schema, with all that the row says: `system` and `tools` are turns in front of it.

What stands in another column under a name that people give to questions is never dropped in silence: the row is
refused, and the error holds the `--columns` that mends it. A column that only repeats what prompt or responses say is
no loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reasrm.errors import RowError
from reasrm.records import Conversation, Message
from reasrm.sources import fields
from reasrm.sources.fields import OPTIONAL, SYSTEM, RowData
from reasrm.sources.tools import definitions

__all__ = ["QUESTIONS", "read_prompt", "refuse_other_texts", "refuse_unread", "with_front"]

QUESTIONS = (
    *("prompt", "question", "instruction", "instructions", "query", "input", "inputs", "problem", "task"),
    *("user_prompt", "user", "messages", "conversations", "conversation", "dialogue", "dialog", "chat"),
    *("history", "context", "post", "passage", "document", "source_text"),
)
_KNOWN = OPTIONAL | {
    "id",
    "prompt",
    "chosen",
    "rejected",
    "responses",
    "response",
    "response_a",
    "response_b",
    "label",
}
_MIN_WORDS = 3


def read_prompt(row: RowData, place: str, responses: tuple[str, ...]) -> Conversation:
    """Return the explicit prompt of a row.

    Args:
        row: The row.
        place: For errors.
        responses: Names of its response fields: what they repeat is no loss.

    Raises:
        RowError: It has no prompt, or says more than is read.
    """
    turns = fields.conversation(row, "prompt", place)
    said = "\n".join([*(turn.content for turn in turns), *_texts(row, responses)])
    lost = [key for key in QUESTIONS[1:] if key in row and _says_more(row[key], said)]
    if lost:
        joined = "+".join([*lost, "prompt"])
        raise _unread(
            f"the row has a prompt and the text column {lost[0]!r}, which is not read",
            f"--columns prompt={joined} to put it in front, or --columns {lost[0]}= if it is not for the judge",
            place,
        )
    return with_front(row, turns, place)


def with_front(row: RowData, turns: Conversation, place: str) -> Conversation:
    """Return a prompt with the row's `system` and `tools` as turns in front of it."""
    front = []
    for key in SYSTEM:
        said = fields.optional_text(row, key, place)
        if (
            said
            and said.strip()
            and not any(turn.role == "system" and turn.content == said for turn in turns)
        ):
            front.append(Message("system", said))
    offered = definitions(row.get("tools"))
    if offered is not None:
        front.append(Message("system", offered))
    return (*front, *turns)


def refuse_other_texts(row: RowData, place: str, read: tuple[str, ...]) -> None:
    """Raise `RowError` if a row whose prompt is implicit has other texts than those that hold it.

    Columns called as questions count however short they are; others count as text from three words on. Tools and,
    beside messages, a system turn are read apart.
    """
    said = "\n".join(_texts(row, read))
    others = [key for key in row if key not in read and _says_more(row[key], said)]
    asking = [key for key in QUESTIONS if key in others]
    apart = {*asking, *_KNOWN, *SYSTEM, "tools"}
    asking += [key for key in others if key not in apart and _is_text(key, row[key])]
    if not asking and isinstance(row.get(read[0]), str):
        asking = [key for key in SYSTEM if key in others]
    if not asking:
        return
    chats = [key for key in asking if isinstance(row[key], list)]
    named = chats[0] if chats else "+".join(key for key in asking if isinstance(row[key], str)) or asking[0]
    leave_out = f"--columns {asking[0]}= if it is not for the judge"
    raise _unread(
        f"the row has the text column {asking[0]!r} beside {' and '.join(map(repr, read))}, "
        "so what these share is not taken for the prompt",
        leave_out if asking[0] in SYSTEM else f"--columns prompt={named}, or {leave_out}",
        place,
    )


def refuse_unread(row: RowData, place: str, prompts: Iterable[Conversation]) -> None:
    """Raise `RowError` if a reader left out the row's `system`."""
    for key in SYSTEM:
        said = row.get(key)
        if isinstance(said, str) and said.strip():
            for prompt in prompts:
                if not any(said in turn.content for turn in prompt):
                    raise _unread(
                        f"the row has {key!r}, which this source does not read",
                        f"--columns {key}= if it is not for the judge",
                        place,
                    )


def _unread(message: str, remedy: str, place: str) -> RowError:
    return RowError(message, code="unread_text", place=place, remedy=f"pass {remedy}")


def _says_more(value: Any, said: str) -> bool:
    return any(text.strip() and text.strip() not in said for text in _strings(value))


def _is_text(key: str, value: Any) -> bool:
    """Whether an unknown column holds prose or messages rather than a fact about the row."""
    if isinstance(value, str):
        return len(value.split()) >= _MIN_WORDS and not key.endswith(
            ("_id", "id", "url", "source", "model", "license")
        )
    return isinstance(value, list) and any(
        isinstance(item, Mapping) and not {"role", "from"}.isdisjoint(item) for item in value
    )


def _texts(row: RowData, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        yield from _strings(row.get(key))


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts in a value; the roles of messages are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Mapping):
        for key, child in value.items():
            if key not in ("role", "from", "type", "name", "id"):
                yield from _strings(child)
