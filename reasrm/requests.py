"""What a backend is asked and what it answers.

A prompt is a list of messages made of spans. A span is either ours (`trusted`) or somebody's text (the conversation,
the responses, a rubric, a reference). The distinction travels to the encoder, which lets only trusted spans become
control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from reasrm.errors import ConfigError
from reasrm.records import Credited, Recorded, Verdict

__all__ = [
    "THINKING_START",
    "Completion",
    "PromptMessage",
    "Request",
    "SamplingParams",
    "Span",
    "TemplateOption",
    "TokenScores",
    "how_it_ended",
    "merge_system",
]

THINKING_START = ("<think>", "<thinking>", "[THINK]", "<|channel|>analysis<|message|>")
"""Strings that open private thinking."""

_ENDS = {
    "stop": "stop eos eos_token stop_sequence end_turn complete completed done none null tool_calls tool_use "
    "function_call",
    "length": "length max_tokens model_length max_length max_new_tokens max_output_tokens incomplete "
    "model_context_window_exceeded",
    "content_filter": "content_filter content_filtered safety recitation prohibited_content blocklist spii refusal "
    "guardrail_intervened sensitive",
    "broken": "abort aborted error insufficient_system_resource cancelled canceled timeout network_error overloaded "
    "unavailable internal_error",
}
_FINISH_REASONS = {"": "stop", **{word: end for end, words in _ENDS.items() for word in words.split()}}

TemplateOption = bool | int | str
"""The value of a variable that a chat template takes beside the messages."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a message: our own words (trusted) or anybody else's."""

    text: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt, as spans in order."""

    role: str
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """The message as one string."""
        return "".join(span.text for span in self.spans)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy.

    Args:
        temperature: Softmax temperature, ≥ 0.
        top_p: Nucleus mass in (0, 1].
        max_tokens: Most tokens to generate, thinking included.
        seed: Seed of this request's own random stream.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to complete.

    Args:
        id: Unique among the requests in flight; comes back in the completion.
        messages: The prompt.
        sampling: How to sample.
        recorded: What a judge once answered, for the `replay` backend.
        structural: Literals that mean something in the protocol; backends that take only text escape them in
            untrusted spans.
        template_options: Variables of the chat template, such as `enable_thinking`.
        thinking_start: Strings that open thinking, so that a backend that sees the prompt can tell how it ends.
        together: This one and as many after it as make this number are of use only together: all are sent, or none.
    """

    id: str
    messages: tuple[PromptMessage, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    recorded: Recorded | None = None
    structural: tuple[str, ...] = ()
    template_options: Mapping[str, TemplateOption] = field(default_factory=dict)
    thinking_start: tuple[str, ...] = THINKING_START
    together: int = 1


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back for one request.

    Args:
        request_id: The request's id.
        text: The completion only, never the prompt, special tokens such as end-of-turn removed.
        finish_reason: `stop`, `length` (cut by `max_tokens`), `content_filter` (withheld by an endpoint, or declined),
            `too_long` (the prompt does not fit; nothing was generated) or `error`.
        token_ids: Generated ids, where the backend has them.
        num_tokens: Generated tokens, where known.
        num_prompt_tokens: Prompt tokens, where known.
        reasoning: Thinking that an endpoint returns apart from the text. Never read for a verdict.
        error: What went wrong, or why there is no text.
        error_code: With `error` as finish reason: `call_failed`, or `refused` by an endpoint that answers others.
        attempts: Calls made, ≥ 1.
        wasted: Prompt and completion tokens of those that brought no answer and may have been billed; None where nobody
            counted.
        decision: A replayed verdict, in the order shown.
        scores: Replayed or predicted scores, one per response shown.
        thinking_open: Whether the prompt ended inside thinking, so that the text begins there.
        credited: What the script of a recorded text's own suite took it for.
    """

    request_id: str
    text: str = ""
    finish_reason: str = "stop"
    token_ids: tuple[int, ...] | None = None
    num_tokens: int | None = None
    num_prompt_tokens: int | None = None
    reasoning: str | None = None
    error: str | None = None
    error_code: str = "call_failed"
    attempts: int = 1
    wasted: tuple[tuple[int | None, int | None], ...] = ()
    decision: Verdict | None = None
    scores: tuple[float, ...] | None = None
    thinking_open: bool = False
    credited: Credited | None = None

    @classmethod
    def replayed(cls, request_id: str, recorded: Recorded) -> Self:
        """Return what a judge once answered."""
        return cls(
            request_id,
            text=recorded.text,
            finish_reason=recorded.finish_reason,
            decision=recorded.decision,
            scores=recorded.scores if recorded.kind == "score" else None,
            thinking_open=recorded.thinking_open,
            credited=recorded.credited,
        )


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Teacher-forced log-probabilities of a continuation, natural log, one per continuation token."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def how_it_ended(word: str | None) -> str | None:
    """Return `stop`, `length`, `content_filter` or `broken` for what a server calls the end; None for unknown words."""
    name = str(word).strip().lower()
    return _FINISH_REASONS.get(re.sub(r"^(?:finish_?reason|stop_?reason)[._:]", "", name))


def merge_system(messages: Sequence[PromptMessage]) -> Sequence[PromptMessage]:
    """Return the messages with the system message put in front of the first user message.

    Raises:
        ConfigError: No user message follows the system message.
    """
    if not messages or messages[0].role != "system":
        return messages
    system, *rest = messages
    if not rest or rest[0].role != "user":
        raise ConfigError(
            "the chat template has no system role and no user message follows the system message",
            remedy="put a user message after the system message",
        )
    separator = Span("\n\n", trusted=True)
    return [PromptMessage("user", (*system.spans, separator, *rest[0].spans)), *rest[1:]]
