"""Completion → token ids: what a rollout of the same text would have been, for a model that learns to write it.

A completion is text like any other: nothing in it becomes a control token, so a critique that quotes `<|im_end|>` does
not end the turn. Three exceptions are the judge's own structure, where the tokenizer has control tokens for it:
`<think>` at the very beginning, the first `</think>` after it, and the end-of-turn token behind the text. Decoding the
ids, less the last one, gives the text back, which is how judging reads a completion.

Some chat templates open the thinking themselves, at the end of the prompt. There the completion begins inside it: a
`<think>` written at its beginning is left out, and the first `</think>` is a control token.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from reasrm.errors import ConfigError
from reasrm.protocol.encoder import PromptEncoder
from reasrm.requests import PromptMessage, Span

__all__ = ["CompletionEncoder", "find_end_of_turn"]

_OPEN, _CLOSE = "<think>", "</think>"
_ANY_DAY = {"date_string": "2000-01-01"}  # some templates print one; how an answer ends does not depend on it


class CompletionEncoder:
    """Encodes completions for one model.

    Args:
        encoder: Of the prompts.
        tokenizer: The tokenizer that `encoder` was made for.
        stop_ids: Ids at which the model's answers end.

    Attributes:
        end_of_turn_id: What the chat template puts behind an answer.

    Raises:
        ConfigError: The chat template ends an answer with nothing that generation would stop at.
    """

    def __init__(self, encoder: PromptEncoder, tokenizer: Any, stop_ids: Set[int]) -> None:
        self._encoder = encoder
        self.end_of_turn_id = find_end_of_turn(encoder)
        if self.end_of_turn_id not in stop_ids:
            token = tokenizer.convert_ids_to_tokens(self.end_of_turn_id)
            raise ConfigError(
                f"the chat template ends an answer with {token!r}, at which generation does not stop",
                place="chat template",
                remedy="add the token to eos_token_id of the model's generation_config.json",
            )
        ids = [tokenizer.convert_tokens_to_ids(text) for text in (_OPEN, _CLOSE)]
        self._think = tuple(ids) if encoder.control_ids.issuperset(ids) else None

    def encode(self, text: str, prompt_ids: Sequence[int] = ()) -> tuple[int, ...]:
        """Return the ids of a completion, end-of-turn id included.

        Args:
            text: The completion.
            prompt_ids: The prompt before it; tells whether the thinking is already open.
        """
        return (*self._encode_text(text, prompt_ids), self.end_of_turn_id)

    def _encode_text(self, text: str, prompt_ids: Sequence[int]) -> tuple[int, ...]:
        plain = self._encoder.encode_text
        if self._think is None:
            return plain(text)
        opening, closing = self._think
        tags = [number for number in prompt_ids if number in self._think]
        opened = bool(tags) and tags[-1] == opening
        written = text.startswith(_OPEN)
        if not opened and not written:
            return plain(text)
        head = () if opened else (opening,)
        body = text.removeprefix(_OPEN)
        if opened and written:  # the prompt's own `<think>` comes with the line break
            body = body.removeprefix("\n")
        thinking, tag, answer = body.partition(_CLOSE)
        return (*head, *plain(thinking), *((closing, *plain(answer)) if tag else ()))


def find_end_of_turn(encoder: PromptEncoder) -> int:
    """Return the first control token that the chat template puts behind the text of an answer.

    Raises:
        ConfigError: There is none.
    """
    first, second = (_turn(encoder, text) for text in ("x", "y"))
    tail: list[int] = []
    for a, b in zip(reversed(first), reversed(second), strict=False):
        if a != b:
            break
        tail.insert(0, a)
    end = next((number for number in tail if number in encoder.control_ids), None)
    if end is None:
        raise ConfigError(
            "the chat template puts no control token behind an answer",
            place="chat template",
            remedy="use an instruction-tuned model's tokenizer, or set its chat_template",
        )
    return end


def _turn(encoder: PromptEncoder, answer: str) -> tuple[int, ...]:
    chat = [
        PromptMessage("user", (Span("x", trusted=False),)),
        PromptMessage("assistant", (Span(answer, trusted=False),)),
    ]
    return encoder.encode(chat, add_generation_prompt=False, options=_ANY_DAY).ids
