"""A response taken apart: title line, opener, sentences, list or prose. Every bend works on this."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from reasrm.world.english.phrases import OPENER

__all__ = ["Draft", "first_up", "items_of", "sentences_of", "tokens_of"]

_BETWEEN = re.compile(r"(?<=[.!?])\s+")
_ENDS = (".", "!", "?")


def first_up(text: str, up: bool = True) -> str:
    """Return the text with its first letter upper case, or lower case."""
    return (text[:1].upper() if up else text[:1].lower()) + text[1:]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def items_of(text: str) -> list[str]:
    """Return the list items of a text: what follows `- ` at the start of a line."""
    return [line[2:].strip() for line in _lines(text) if line.startswith("- ")]


def tokens_of(text: str) -> list[str]:
    """Return a text's words as they are written, without list marks."""
    return [word for line in _lines(text) for word in line.removeprefix("- ").split()]


def sentences_of(text: str) -> list[str]:
    """Return a text's sentences: they end at `.`, `!` or `?` and a space, or with their line. A title is none."""
    lines = _lines(text)
    if len(lines) > 1 and not lines[0].endswith(_ENDS):
        lines = lines[1:]
    return [sentence for line in lines for sentence in _BETWEEN.split(line.removeprefix("- ")) if sentence]


@dataclass(frozen=True, slots=True)
class Draft:
    """A response in parts.

    Args:
        sentences: Its sentences, without opener.
        listed: Whether each is a list item.
        title: Its title line.
        opener: What it says before it begins.
    """

    sentences: tuple[str, ...]
    listed: bool = False
    title: str | None = None
    opener: str | None = None

    @classmethod
    def of(cls, text: str) -> Draft:
        """Take a text apart."""
        lines = _lines(text)
        title = lines[0] if len(lines) > 1 and not lines[0].endswith(_ENDS) else None
        sentences = sentences_of(text)
        opener = sentences.pop(0) if sentences and sentences[0].lower() == OPENER.lower() else None
        return cls(tuple(sentences), bool(items_of(text)), title, opener)

    @property
    def text(self) -> str:
        """The response as it is shown."""
        between = "\n" if self.listed else " "
        body = between.join(f"- {s}" if self.listed else s for s in self.sentences)
        opened = between.join(part for part in (self.opener, body) if part)
        return "\n".join(part for part in (self.title, opened) if part)

    def with_sentence(self, place: int, sentence: str) -> Draft:
        """Return the draft with one sentence replaced."""
        sentences = list(self.sentences)
        sentences[place] = sentence
        return replace(self, sentences=tuple(sentences))

    def append(self, place: int, words: str) -> Draft:
        """Return the draft with words put before the end mark of a sentence."""
        sentence = self.sentences[place]
        return self.with_sentence(place, f"{sentence[:-1]}{words}{sentence[-1]}")

    def without(self, words: str) -> Draft:
        """Return the draft with some words taken out wherever they stand."""
        return replace(self, sentences=tuple(s.replace(words, "") for s in self.sentences))
