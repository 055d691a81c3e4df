"""The sandbox's tokenizer: one token per word of the world, single bytes for everything else.

It is a byte-level BPE without merges whose vocabulary holds whole words, so any text comes back exactly as it went in
and real text costs about a token per byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reasrm.world import language
from reasrm.world.rules import HARD_RULES, NONE, PRINCIPLES

__all__ = ["END_OF_TURN", "build_tokenizer"]

END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Tags and rubric labels are single pieces; words and numbers take the space before them along.
_PIECES = r" ?\[[A-Z][A-Za-z ]+\]|\[\[|\]\]|</?[a-z_]+>| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\n|[^\S\n]+"
_SYMBOLS = ("[[", "]]", "[", "]", "(", ")", ".", ",", ":", ";", "!", "?", "-", "'", '"', "/", "\n")
_TAGS = ("<eval>", "</eval>", "<answer>", "</answer>", "<think>", "</think>", "<rubric>", "</rubric>")
_OTHER = (
    *(
        "system",
        "user",
        "assistant",
        "judge",
        "read",
        "check",
        "write",
        "what",
        "is",
        "one",
        "of",
        "name",
        "for",
        "must",
    ),
    *("A", "B", "ok", "bad", "rubric", "weight", "a", "i", "the", "to", "in", "or", "not", "no", "yes"),
)


def _words() -> Iterator[str]:
    for topic, words in language.TOPICS.items():
        yield topic
        yield from words
    for group in (
        *(
            language.NUMBERS,
            language.CLOSINGS,
            language.BOASTS,
            language.COURTESIES,
            language.CHEERS,
            language.JOINERS,
        ),
        *(tuple(language.AUDIENCES), HARD_RULES, PRINCIPLES, (NONE,), _OTHER, tuple("0123456789")),
        *language.PREFACES.values(),
    ):
        yield from group


def build_tokenizer() -> Any:
    """Return the tokenizer, a `PreTrainedTokenizerFast` with a chat template. The same on every call."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = [*(p for word in _words() for p in (word, f" {word}")), *_TAGS, *_SYMBOLS]
    pieces += [f"{space}{label}" for label in ("[Hard Rule]", "[Principle]") for space in ("", " ")]
    pieces += [f" {symbol}" for symbol in _SYMBOLS if symbol.strip()]
    units = [END_OF_TEXT, START_OF_TURN, END_OF_TURN, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    units += ["".join(unit for unit, _ in bytes_of.pre_tokenize_str(piece)) for piece in pieces]
    vocabulary = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"), bytes_of]
    )
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[START_OF_TURN],
        chat_template=_TEMPLATE,
    )
