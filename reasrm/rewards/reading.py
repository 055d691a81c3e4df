"""Reading a completion for its shape: tags, words, what follows the thinking. Linear in the length of the text.

The text is the policy's own, so nothing in it is trusted: a tag counts only where it is opened and closed once.
"""

from __future__ import annotations

import re

from reasrm.records import Judgment

__all__ = ["after_last", "critique_of", "has_layout", "has_tags", "whole_text", "words"]

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.lower())


def after_last(judgment: Judgment, literal: str) -> str:
    """Return what follows the last occurrence of `literal`; the whole text where there is none or it is empty.

    Thinking that the prompt opened and that never comes to the literal leaves nothing.
    """
    _, found, rest = judgment.text.rpartition(literal) if literal else ("", "", judgment.text)
    return "" if literal and not found and judgment.thinking_open else rest


def critique_of(judgment: Judgment) -> str:
    """Return the critique that a judgment holds, without blanks around it; empty where it has none."""
    return (judgment.critique or "").strip()


def whole_text(judgment: Judgment) -> str:
    """Return a completion with the `<think>` that the prompt opened it with, where it did."""
    text = judgment.text
    return f"<think>\n{text}" if judgment.thinking_open and "<think>" not in text else text


def _span(text: str, tag: str) -> tuple[int, int] | None:
    """Return where the one `<tag>…</tag>` of a text in lower case stands, or None unless it is one, and not empty."""
    opening, closing = f"<{tag.lower()}>", f"</{tag.lower()}>"
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None
    start, end = text.index(opening), text.index(closing)
    if end < start or not text[start + len(opening) : end].strip():
        return None
    return start, end + len(closing)


def has_tags(text: str, tags: tuple[str, ...]) -> bool:
    """Return whether each tag stands exactly once, closed, not empty, one after the other; `a|b` is one of two."""
    text, position = text.lower(), 0
    for tag in tags:
        spans = [span for name in tag.split("|") if (span := _span(text, name)) is not None]
        if len(spans) != 1 or spans[0][0] < position:
            return False
        position = spans[0][1]
    return True


def has_layout(text: str, tags: tuple[str, ...], *, prefilled: bool = False) -> bool:
    """Return whether the text is these tags and nothing else, once each, none empty.

    Args:
        text: A completion.
        tags: In this order.
        prefilled: Whether the first opening tag may stand at the end of the prompt instead.
    """
    first, text = f"<{tags[0].lower()}>", text.lower()
    if prefilled and first not in text:
        text = first + text
    position = 0
    for tag in tags:
        span = _span(text, tag)
        if span is None or span[0] < position or text[position : span[0]].strip():
            return False
        position = span[1]
    return not text[position:].strip()
