"""From the body of a 200 to a completion: every shape in which servers give an answer, or say that there is none.

What is not an answer is named and never taken for one: a refusal, a filter's verdict, a tool call, and thinking
without an answer. Thinking is never read as an answer, also where a server puts all of its text into the reasoning
field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from reasrm.generation.endpoint.bodies import excerpt, one_line, read_json, whole
from reasrm.generation.endpoint.refusals import Refusal, refusal_in
from reasrm.requests import Completion, how_it_ended

__all__ = ["RefusedError", "UnusableAnswerError", "read_reply", "served_model"]

_MOST_TOKENS = 2**40
_NOT_THE_MODEL = ("user", "system", "developer", "tool", "function")
_ANSWER = ("role", "content", "name", "id", "refusal")
_THINKING = ("thinking", "reasoning", "redacted_thinking", "reasoning_content", "thought")


class UnusableAnswerError(Exception):
    """A 200 that holds no answer; it may come when asked again. `usage` is what it says of its tokens."""

    usage: tuple[int | None, int | None] = (None, None)


class RefusedError(Exception):
    """A 200 that holds an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def served_model(payload: Mapping[str, Any]) -> str | None:
    """Return what the server calls the model that answered."""
    name = payload.get("model")
    return one_line(name, 200) or None if isinstance(name, str) else None


def read_reply(body: bytes, request_id: str) -> tuple[Completion, Mapping[str, Any]]:
    """Return the completion that a body holds, and the body.

    Raises:
        UnusableAnswerError: There is no answer in it.
        RefusedError: It holds an error.
    """
    try:
        payload = read_json(body)
    except ValueError as error:
        raise UnusableAnswerError(f"status 200, but the body is not JSON: {excerpt(body)}") from error
    if not isinstance(payload, Mapping):
        raise UnusableAnswerError(f"status 200, but the body is no object: {excerpt(body)}")
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    for holder in (payload, choice):
        refusal = refusal_in(holder) if isinstance(holder, Mapping) else None
        if refusal is not None:  # a text beside it is what came before the failure
            raise RefusedError(refusal)
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise UnusableAnswerError(f"status 200, but no answer in the body: {excerpt(body)}")
    if message.get("role") in _NOT_THE_MODEL:
        raise UnusableAnswerError(f"status 200, but the message is of the role {message['role']!r}")
    usage = payload.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    prompt, generated = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    completion = Completion(request_id, num_tokens=generated, num_prompt_tokens=prompt)
    try:
        return _end(_with_text(completion, message, body), choice, message), payload
    except UnusableAnswerError as error:
        error.usage = (prompt, generated)
        raise


def _with_text(completion: Completion, message: Mapping[str, Any], body: bytes) -> Completion:
    content = message.get("content")
    if not isinstance(content, str | list | Mapping | None):
        raise UnusableAnswerError(f"status 200, but no answer in the body: {excerpt(body)}")
    parts = content if isinstance(content, list) else [content]
    texts, thoughts, refusals = list[str](), list[str](), list[str]()
    for part in parts:
        kind = str(part.get("type")) if isinstance(part, Mapping) else "text"
        if kind in _THINKING:
            thoughts += _texts(part)
        elif kind == "refusal":
            refusals += _texts(part)
        elif kind in ("text", "output_text", "None"):
            texts += _texts(part)
    apart = (message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details"))
    thoughts += next((found for value in apart if (found := list(_texts(value)))), [])
    refusals += _texts(message.get("refusal"))
    refused = whole("".join(refusals))
    return replace(
        completion,
        text=whole("".join(texts)) or refused,
        reasoning=whole("\n".join(thoughts)) or None,
        finish_reason="content_filter" if refused.strip() else "stop",
        error=f"the model refused: {one_line(refused)}" if refused.strip() else None,
    )


def _end(completion: Completion, choice: Mapping[str, Any], message: Mapping[str, Any]) -> Completion:
    """Say how the answer ended, and why there is none."""
    word = choice.get("finish_reason")
    end = how_it_ended(word) if isinstance(word, str | None) else None
    if end == "broken":
        raise UnusableAnswerError(f"the endpoint broke the answer off with {word!r}")
    if completion.finish_reason == "content_filter":
        return completion
    if end is None:
        said = f"; it said {one_line(completion.text)!r}" if completion.text.strip() else ""
        named = one_line(str(word), 60)
        return replace(
            completion,
            finish_reason="error",
            error=f"the endpoint ended the answer with {named!r}, which is unknown{said}",
        )
    if end == "content_filter":
        error = "withheld by the endpoint's content filter" + ("" if word == end else f" ({word})")
        return replace(completion, finish_reason=end, error=error)
    return replace(
        completion, finish_reason=end, error=_why_empty(completion, message) if end == "stop" else None
    )


def _why_empty(completion: Completion, message: Mapping[str, Any]) -> str | None:
    if completion.text.strip():
        return None
    if message.get("tool_calls") or message.get("function_call"):
        return "the model called a tool instead of answering"
    if completion.reasoning:
        return (
            f"the answer is empty, and all {len(completion.reasoning)} characters came as reasoning; "
            "check the server's reasoning parser and chat template"
        )
    others = [one_line(str(name), 40) for name, value in message.items() if value and name not in _ANSWER]
    return f"the answer is empty, and the message has only {', '.join(others[:5])}" if others else None


def _texts(part: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a part of a message, whatever it calls them."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, list) and depth < 4:
        for child in part:
            yield from _texts(child, depth + 1)
    elif isinstance(part, Mapping) and depth < 4:
        names = ("text", "refusal", "thinking", "reasoning", "summary", "content", "value")
        yield from next((list(_texts(part[name], depth + 1)) for name in names if part.get(name)), [])


def _count(value: object) -> int | None:
    """Return a number of tokens; None for what is none, or none that a file can hold."""
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
