"""What all local engines share: windows of requests, prompts as ids, the length check, completions from ids.

Nothing is cut to fit. A prompt that leaves no room for `max_tokens` comes back as `too_long` with the
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from reasrm.protocol.encoder import EncodedPrompt
from reasrm.protocol.thinking import ends_in_thinking
from reasrm.requests import Completion, PromptMessage, Request, TemplateOption

__all__ = [
    "EncodedRequest",
    "Encoder",
    "encode_window",
    "failed",
    "opens_thinking",
    "read_ids",
    "windows",
]

_TAIL = 64  # ids that hold an opening tag and the white space behind it, however small its pieces are


class Encoder(Protocol):
    """The part of `PromptEncoder` that an engine uses."""

    def encode(
        self,
        messages: Sequence[PromptMessage],
        add_generation_prompt: bool = True,
        options: Mapping[str, TemplateOption] | None = None,
    ) -> EncodedPrompt:
        """Return the prompt as ids."""
        ...

    def check(
        self,
        messages: Sequence[PromptMessage],
        options: Mapping[str, TemplateOption],
        structural: Sequence[str] = (),
    ) -> None:
        """Raise what no row can change."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return ids as text, special tokens included."""
        ...


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request with its prompt as ids, known to fit."""

    request: Request
    ids: tuple[int, ...]

    @property
    def footprint(self) -> int:
        """Tokens that the request occupies when it runs to its limit."""
        return len(self.ids) + self.request.sampling.max_tokens


def windows(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    """Yield lists of up to `size` requests, pulling no further than the list in hand."""
    iterator = iter(requests)
    while window := list(islice(iterator, size)):
        yield window


def failed(request: Request, error: object, *, finish_reason: str = "error", attempts: int = 1) -> Completion:
    """Return the completion of a request that could not be answered, naming it."""
    reason = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    return Completion(
        request.id,
        finish_reason=finish_reason,
        error=f"request {request.id!r}: {reason}",
        attempts=attempts,
    )


def encode_window(
    window: Iterable[Request], encoder: Encoder, context: int | None
) -> tuple[list[EncodedRequest], list[Completion]]:
    """Encode requests.

    Args:
        window: The requests.
        encoder: Messages to ids.
        context: Most tokens the model takes, prompt and completion together; None where it has no limit.

    Returns:
        What fits, longest first (so that padding is small and memory runs out early if at all), and the
        completions of what does not fit or cannot be encoded.

    Raises:
        ConfigError: No prompt of this kind can be encoded, see `PromptEncoder.check`.
    """
    fitting: list[EncodedRequest] = []
    rejected: list[Completion] = []
    for request in window:
        encoder.check(request.messages, request.template_options, request.structural)
        try:
            prompt = encoder.encode(request.messages, options=request.template_options)
            encoded = EncodedRequest(request, tuple(prompt.ids))
        except Exception as error:
            rejected.append(failed(request, error))
            continue
        if context is not None and encoded.footprint > context:
            rejected.append(_too_long(encoded, context))
        else:
            fitting.append(encoded)
    fitting.sort(key=lambda encoded: -len(encoded.ids))
    return fitting, rejected


def _too_long(encoded: EncodedRequest, context: int) -> Completion:
    num_prompt, num_new = len(encoded.ids), encoded.request.sampling.max_tokens
    return Completion(
        encoded.request.id,
        finish_reason="too_long",
        num_prompt_tokens=num_prompt,
        error=(
            f"request {encoded.request.id!r}: prompt of {num_prompt} tokens and max_tokens {num_new}: "
            f"{num_prompt + num_new} together, but the model takes {context}; "
            f"lower max_tokens, shorten the row, or use a model with a longer context"
        ),
    )


def read_ids(
    encoded: EncodedRequest, ids: Sequence[int], *, encoder: Encoder, stop_ids: Set[int], pad_id: int | None
) -> Completion:
    """Make a completion of raw generated ids, which may go on after the end.

    The answer ends at its first stop id, or at `max_tokens`. `finish_reason` is `stop` exactly in the first
    case. `token_ids` keeps the stop id, since the model wrote it and training needs it. The text is
    everything decoded except stop and pad ids: decoding with `skip_special_tokens` would also delete think
    tags in tokenizers where those are special, and with them the boundary between thinking and answer. Whether the
    prompt ended inside thinking is told by its last ids.
    """
    kept = list(ids[: encoded.request.sampling.max_tokens])
    end = next((i for i, token in enumerate(kept) if token in stop_ids), None)
    if end is not None:
        del kept[end + 1 :]
    text = encoder.decode([token for token in kept if token not in stop_ids and token != pad_id])
    return Completion(
        encoded.request.id,
        text=text,
        finish_reason="length" if end is None else "stop",
        token_ids=tuple(kept),
        num_tokens=len(kept),
        num_prompt_tokens=len(encoded.ids),
        thinking_open=opens_thinking(encoder, encoded.ids, encoded.request.thinking_start),
    )


def opens_thinking(encoder: Encoder, prompt: Sequence[int], literals: Sequence[str]) -> bool:
    """Return whether a prompt, as ids, ends inside thinking: R1's chat templates end with `<think>`."""
    return ends_in_thinking(encoder.decode(list(prompt[-_TAIL:])), literals)
