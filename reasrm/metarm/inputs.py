"""What a MetaRM reads: the conversation, both responses, the critique. The verdict is hidden.

Source: RM-NLHF's released input, `<conv_his>` conversation and responses `</conv_his>` `<critics>` critique
`</critics>` without a chat template (the form `plain`, in our words). The form `judge` is ours: the prompt that the
judge itself gets, then its critique in its own tag, so that a MetaRM made from the policy reads what the policy has
learned to read.

Everything but the frame was written by strangers or by a policy in training, so no text becomes a control token, and
tags of the frame inside a text are broken up. A verdict inside a critique is taken out where it has the form that the
grammar reads; one in prose ("so A wins") stays.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reasrm.metarm.card import Form
from reasrm.protocol.encoder import PromptEncoder, TextEncoder
from reasrm.protocol.grammar import MarkedGrammar, PhraseGrammar, fold_word
from reasrm.protocol.parsing import normalise
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison

__all__ = ["Encoded", "MetaEncoder", "hide_verdict", "plain_text"]

_REMEMBERED = 4096
_SHOWN = ("id", "prompt", "response_a", "response_b", "rubric", "principle", "reference")
"""What a prompt can depend on; the id is in its markers."""
_FRAME = re.compile(r"(?i)[<＜﹤](?=\s*/?\s*(?:conv\s*_\s*his|critics)\s*[>＞﹥])")
_AROUND = r"[\s*_`'\".:;,!()]*"
"""What the parser lets stand between a mark and its word."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input.

    Args:
        ids: Token ids.
        start: Where the critique begins.
    """

    ids: tuple[int, ...]
    start: int


class MetaEncoder:
    """Comparisons and critiques to ids, for one tokenizer.

    Args:
        tokenizer: A fast tokenizer; with a chat template for the form `judge`.
        spec: The judge's protocol.
        form: How the input is laid out.
        max_tokens: Longest input.

    Raises:
        ConfigError: The tokenizer cannot be used, see `PromptEncoder`.
    """

    def __init__(self, tokenizer: Any, spec: JudgeSpec, form: Form, max_tokens: int) -> None:
        self._spec, self._form, self._max_tokens = spec, form, max_tokens
        self._prompts = PromptEncoder(tokenizer) if form == "judge" else None
        self._text = self._prompts or TextEncoder(tokenizer)
        if self._prompts is not None:
            self._prompts.refuse_garbling(spec.structural)
        self._opening, self._closing = _sequence_marks(tokenizer) if form == "plain" else ((), ())
        self._heads: OrderedDict[tuple[object, ...], tuple[int, ...]] = OrderedDict()

    def encode(self, comparison: Comparison, critique: str) -> Encoded | None:
        """Return the ids, or None if they are too many or there is no critique.

        Args:
            comparison: As shown to the judge.
            critique: What the judge wrote about it.

        Raises:
            RowError: The comparison cannot be shown under the spec.
            InputError: A text cannot be encoded.
        """
        critique = hide_verdict(critique, self._spec)
        if not critique.strip():
            return None
        head = self._head(comparison)
        ids = (*head, *self._tail(critique))
        return Encoded(ids, len(head)) if len(ids) <= self._max_tokens else None

    def _head(self, comparison: Comparison) -> tuple[int, ...]:
        """Encode what all critiques of a comparison share, and remember it for the others."""
        key = tuple(getattr(comparison, name) for name in _SHOWN)
        found = self._heads.get(key)
        if found is None:
            found = self._encode_head(comparison)
            self._heads[key] = found
            if len(self._heads) > _REMEMBERED:
                self._heads.popitem(last=False)
        return found

    def _encode_head(self, comparison: Comparison) -> tuple[int, ...]:
        if self._prompts is not None:
            messages = build_prompt(self._spec, comparison)
            return self._prompts.encode(messages, options=self._spec.template_options).ids
        return (*self._opening, *self._text.encode_text(plain_text(comparison)))

    def _tail(self, critique: str) -> tuple[int, ...]:
        if self._form == "judge":
            tag = getattr(self._spec.grammar, "critique", None) or "critique"
            return self._text.encode_text(f"<{tag}>\n{critique.strip()}\n</{tag}>")
        framed = f"<critics>\n{_unframed(critique.strip())}\n</critics>"
        return (*self._text.encode_text(framed), *self._closing)


def _sequence_marks(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the tokenizer puts before and behind a text, such as BERT's `[CLS]` and `[SEP]`."""
    found = tokenizer("a", return_special_tokens_mask=True)
    ids, own = found["input_ids"], [n for n, mark in enumerate(found["special_tokens_mask"]) if not mark]
    return tuple(ids[: own[0]]), tuple(ids[own[-1] + 1 :])


def plain_text(comparison: Comparison) -> str:
    """Return conversation and responses between RM-NLHF's tags."""
    turns = "\n".join(f"{message.role}:\n{_unframed(message.content)}" for message in comparison.prompt)
    sides = (("A", comparison.response_a), ("B", comparison.response_b))
    responses = "\n".join(f"Response {side}:\n{_unframed(text)}" for side, text in sides)
    return f"<conv_his>\n{turns}\n{responses}\n</conv_his>\n"


def _unframed(text: str) -> str:
    # Not a space: some tokenizers see none.
    return _FRAME.sub("(", text)


def hide_verdict(critique: str, spec: JudgeSpec) -> str:
    """Return a critique without verdicts in the form that the spec's grammar reads, emphasis and case aside."""
    grammar, seen = spec.grammar, normalise(critique)
    if isinstance(grammar, PhraseGrammar):
        if fold_word(seen.strip().rstrip(".")) in {fold_word(phrase) for phrase in grammar.whole}:
            return ""
        patterns = [_loosely(phrase.split(), r"[\s*_`]+") for phrase in grammar.phrases]
    elif isinstance(grammar, MarkedGrammar):
        patterns = _marked_patterns(grammar)
    else:
        return critique
    hidden = seen
    for pattern in patterns:
        hidden = re.sub(f"[*_`]*(?:{pattern})[*_`]*", "", hidden, flags=re.IGNORECASE)
    return critique if hidden == seen else hidden


def _marked_patterns(grammar: MarkedGrammar) -> list[str]:
    patterns = []
    if grammar.tag is not None:
        tag = re.escape(grammar.tag)
        patterns.append(rf"<{tag}>[^<]{{0,200}}(?:</{tag}>)?")
    if grammar.open.strip():
        words = "|".join(_loosely(fold_word(word), r"[\s*_`]*") for word in grammar.menu)
        close = re.escape(grammar.close.strip()) or r"(?!\w)"
        patterns.append(f"{_loosely(grammar.open.strip(), '[*_`]*')}{_AROUND}(?:{words}){_AROUND}{close}")
    return patterns


def _loosely(parts: Iterable[str], between: str) -> str:
    return between.join(re.escape(part) for part in parts)
