"""The rows that SFT learns from: TRL's conversational prompt/completion rows that also say whose text is whose.

```json
{"id": "q17", "prompt": [{"role": "user", "content": "...", "untrusted": [[40, 92]]}],
 "completion": [{"role": "assistant", "content": "<think>...</think>... [[A]]"}], "meta": {"spec_hash": "..."}}
```

`untrusted` lists the character intervals of a message that are somebody's text, as the prompt builder made them;
without it the whole message counts as somebody's text. So the encoder gets the very spans that judging gives it, and
prompt ids in SFT equal prompt ids in judging. TRL itself and other readers of its rows ignore the extra keys.

`meta.spec_hash` says by which protocol the prompt was built, `meta.num_candidates` how many responses a listwise
prompt shows, `meta.rubric_saw_label` that it shows a rubric whose author knew the label of the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasrm.config import nearest
from reasrm.errors import RowError
from reasrm.hashing import digest
from reasrm.requests import PromptMessage, Span

__all__ = ["SAW_LABEL", "SFTRow", "read_sft_row"]

SAW_LABEL = "rubric_saw_label"
"""Key of `meta` of a row whose prompt shows a rubric that carries the label."""

_ROLES = ("system", "user", "assistant")
_KEYS = ("role", "content", "untrusted")
_FRONT = ("system", "system_prompt", "tools")
"""Keys of a row that other readers put into the prompt; here a prompt is learned as it stands."""


@dataclass(frozen=True, slots=True)
class SFTRow:
    """One judgment to learn: a prompt as the judge sees it and the text it should answer.

    Args:
        id: Unique name of the row.
        messages: The prompt, as spans.
        completion: The judge's whole answer, thinking included, without the end-of-turn token.
        meta: Whatever else is known: `spec_hash`, source, teacher.
    """

    id: str
    messages: tuple[PromptMessage, ...]
    completion: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is written to a file."""
        return {
            "id": self.id,
            "prompt": [_write_message(message) for message in self.messages],
            "completion": [{"role": "assistant", "content": self.completion}],
            "meta": dict(self.meta),
        }


def read_sft_row(value: Mapping[str, Any], place: str) -> SFTRow:
    """Read a row of a file.

    Args:
        value: The JSON object.
        place: File and line, for errors.

    Raises:
        RowError: A field is missing, empty or of the wrong type; the row has a system turn or tools beside its prompt;
            intervals overlap or leave the text.
    """
    for key in _FRONT:
        if str(value.get(key) or "").strip():
            raise RowError(
                f"the row has {key!r} beside its prompt",
                code="unread_text",
                place=place,
                remedy=f"write it as a system message of the prompt, or pass --columns {key}= to leave it out",
            )
    prompt = _messages(value, "prompt", place)
    completion = _messages(value, "completion", place)
    messages = tuple(_read_message(m, f"{place}: prompt[{n}]") for n, m in enumerate(prompt))
    if len(completion) != 1 or completion[0].get("role") != "assistant":
        raise _wrong("'completion' is not one assistant message", place, "write one row per answer")
    text = _text(completion[0], "content", f"{place}: completion[0]")
    _known_keys(completion[0], ("role", "content"), f"{place}: completion[0]")
    if not text.strip():
        raise RowError("the completion is empty", code="empty", place=place, remedy="drop the row")
    meta = value.get("meta", {})
    if not isinstance(meta, Mapping):
        raise _wrong("'meta' is not an object", place, "make it an object or leave it out")
    row_id = value.get("id")
    if row_id is None:
        row_id = digest([[[m.role, m.text] for m in messages], text])
    if not isinstance(row_id, str) or not row_id:
        raise _wrong(f"'id' is {row_id!r}, not a text", place, "write the id as a text or leave it out")
    return SFTRow(row_id, messages, text, dict(meta))


def _write_message(message: PromptMessage) -> dict[str, Any]:
    intervals: list[list[int]] = []
    end = 0
    for span in message.spans:
        start, end = end, end + len(span.text)
        if not span.trusted and span.text:
            intervals.append([start, end])
    written: dict[str, Any] = {"role": message.role, "content": message.text}
    return written if intervals == [[0, end]] else {**written, "untrusted": intervals}


def _messages(value: Mapping[str, Any], name: str, place: str) -> list[Mapping[str, Any]]:
    if name not in value:
        raise RowError(
            f"the field {name!r} is missing",
            code="missing_field",
            place=place,
            remedy="SFT rows hold 'prompt' and 'completion', both lists of messages",
        )
    messages = value[name]
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        raise _wrong(f"{name!r} is not a list of messages", place, "write it as [{'role', 'content'}, ...]")
    if not messages:
        raise RowError(f"{name!r} is empty", code="empty", place=place, remedy="drop the row")
    return messages


def _read_message(message: Mapping[str, Any], place: str) -> PromptMessage:
    _known_keys(message, _KEYS, place)
    role = _text(message, "role", place)
    if role not in _ROLES:
        raise _wrong(f"the role is {role!r}", place, f"use one of {', '.join(_ROLES)}")
    content = _text(message, "content", place)
    if "untrusted" not in message:
        return PromptMessage(role, (Span(content, trusted=False),))
    return PromptMessage(role, _spans(content, message["untrusted"], place))


def _spans(content: str, intervals: Any, place: str) -> tuple[Span, ...]:
    """Cut a message at the intervals that are somebody's text."""
    if not isinstance(intervals, list):
        raise _wrong("'untrusted' is not a list of intervals", place, "write [[start, end], ...]")
    spans: list[Span] = []
    position = 0
    for interval in intervals:
        pair = interval if isinstance(interval, list) and len(interval) == 2 else (None, None)
        start, end = pair
        if type(start) is not int or type(end) is not int or not position <= start < end <= len(content):
            raise _wrong(
                f"'untrusted' holds {interval!r}, out of order or outside the {len(content)} characters",
                place,
                "write rising intervals of characters, [start, end) each",
            )
        if position < start:
            spans.append(Span(content[position:start], trusted=True))
        spans.append(Span(content[start:end], trusted=False))
        position = end
    if position < len(content):
        spans.append(Span(content[position:], trusted=True))
    return tuple(spans)


def _text(message: Mapping[str, Any], name: str, place: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        code = "wrong_type" if name in message else "missing_field"
        raise RowError(f"{name!r} is {value!r}, not a text", code=code, place=place, remedy="write a text")
    return value


def _known_keys(message: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    """Refuse keys that may hold text (reasoning, tool calls, names): nothing is left out in silence."""
    for key in message:
        if key not in known:
            guess = nearest(str(key), known)
            raise RowError(
                f"a message has the unknown key {key!r}",
                code="unknown_field",
                place=place,
                remedy=f"did you mean {guess!r}?" if guess else "put all text into 'content'",
            )


def _wrong(message: str, place: str, remedy: str) -> RowError:
    return RowError(message, code="wrong_type", place=place, remedy=remedy)
