"""RM-R1's own training sets: a finished judge prompt in `context_messages`, and `winner`, which has two meanings.

In the sets for reinforcement learning `winner` is the label, `model_a` or `model_b`; in the distilled set it is the
text to learn, a whole judgment. The value decides which. Prompt and responses are cut out of the judge prompt, so that
our own prompts are built from them; RM-R1's misspelt speaker in half of its multi-turn prompts, which tells the label,
is left behind with the rest of its wording. A distilled row carries its text as a recorded judgment in the order shown,
for the `replay` backend, and the verdict of that text as label (`meta.label_from`): RM-R1 kept the texts whose verdict
equals the label but did not check those of its second teacher.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reasrm.errors import RowError
from reasrm.records import Conversation, Message, Order, Recorded, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison

_LABELS: Mapping[int | str, Verdict] = {"model_a": Verdict("A"), "model_b": Verdict("B")}
_VERDICT = re.compile(r"\[\[([AB])\]\]")
_MARKUP = re.compile(r"\[\[[AB]\]\]|</?(?:answer|eval|type|rubric|solution)>")
_VERDICT_WINDOW = 100  # where RM-R1 itself looks
_QUESTION = "[Client Question]\n"
_RESPONSE = "[The {} of Chatbot {}'s Response]"
_CONVERSATION = "[The {} of the Conversation between Chatbot {} and the Client]"
_TURN = re.compile(r"^(User|Chatbot [AB]|Chabot [AB]): ", re.M)


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    turns = fields.conversation(row, "context_messages", place)
    asked = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    prompt, responses = _comparison(asked, place)
    winner = fields.text(row, "winner", place)
    target: Verdict | None
    known: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    if winner not in _LABELS and _MARKUP.search(winner):
        found = set(_VERDICT.findall(winner[-_VERDICT_WINDOW:]))
        target = Verdict(found.pop()) if len(found) == 1 else None
        known["recorded"] = {Order.AB: (Recorded("text", text=winner),)}
        meta["label_from"] = "trace"
    else:
        target = fields.choice(row, "winner", place, _LABELS)
    return (comparison(row, place, prompt, responses, target, meta=meta, **known),)


def _comparison(asked: str, place: str) -> tuple[Conversation, tuple[str, str]]:
    """Cut prompt and responses out of RM-R1's user message, of one question or of two conversations."""
    if _CONVERSATION.format("Start", "A") in asked:
        first, second = (_turns(_between(asked, _CONVERSATION, side, place), place) for side in "AB")
        if first[:-1] != second[:-1] or len(first) < 2 or {first[-1].role, second[-1].role} != {"assistant"}:
            raise RowError(
                "the two conversations of the judge prompt differ before their last reply",
                code="prompt_mismatch",
                place=place,
            )
        return first[:-1], (first[-1].content, second[-1].content)
    responses = _between(asked, _RESPONSE, "A", place), _between(asked, _RESPONSE, "B", place)
    question = asked.partition(_RESPONSE.format("Start", "A"))[0]
    if question.count(_QUESTION) != 1:
        raise _no_section(_QUESTION, place)
    text = question.partition(_QUESTION)[2].removesuffix("\n\n")
    return (Message("user", text),), responses


def _between(asked: str, marker: str, side: str, place: str) -> str:
    """Return what stands between a section's start and end, each of which must be there once."""
    start, end = marker.format("Start", side) + "\n", "\n" + marker.format("End", side)
    if asked.count(start) != 1 or asked.count(end) != 1 or asked.index(start) > asked.index(end):
        raise _no_section(start, place)
    return asked[asked.index(start) + len(start) : asked.index(end)]


def _no_section(heading: str, place: str) -> RowError:
    return RowError(
        f"'context_messages' has no one section {heading.strip()!r}, so its parts cannot be told apart",
        code="missing_section",
        place=place,
    )


def _turns(transcript: str, place: str) -> Conversation:
    """Return the turns of a transcript in RM-R1's wording, both spellings of its speakers."""
    marks = list(_TURN.finditer(transcript))
    if not marks or marks[0].start() != 0:
        raise _no_section("User: ", place)
    ends = [mark.start() - 1 for mark in marks[1:]] + [len(transcript)]
    return tuple(
        Message("user" if mark[1] == "User" else "assistant", transcript[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    )


SOURCE = Source(
    name="rm-r1-sets",
    url="https://huggingface.co/collections/gaotang/rm-r1",
    licence="none stated for the sets; RM-R1's code is Apache-2.0, the parts carry their own terms",
    revision="prompts as github.com/RM-R1-UIUC/RM-R1 writes them at d4c2542; no commit of the sets recorded",
    label_rule='`winner` is the label, "model_a" or "model_b"; where it is a whole judgment, the verdict of that.',
    becomes="pairs cut out of RM-R1's judge prompts; a distilled row also carries its trace",
    example={
        "context_messages": [
            {"role": "system", "content": "Judge two chatbots."},
            {
                "role": "user",
                "content": f"{_QUESTION}2+2?\n\n{_RESPONSE.format('Start', 'A')}\n5\n"
                f"{_RESPONSE.format('End', 'A')}\n\n{_RESPONSE.format('Start', 'B')}\n4\n"
                f"{_RESPONSE.format('End', 'B')}",
            },
        ],
        "winner": "model_b",
    },
    recognises=lambda row: "context_messages" in row and "winner" in row,
    read=_read,
    text_keys=("winner",),
)
