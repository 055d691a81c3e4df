"""Where private thinking ends in a completion: what comes before it is never read for a verdict.

Thinking is open at the beginning of a completion if the prompt's end left it open (R1's chat templates end with
`<think>`), or if the completion begins with an opening tag, white space aside. Then it lasts up to the next closing
tag; a completion without one never comes to an answer. Anywhere else an opening tag is a mention, of a response that
holds one say, and opens nothing.

A closing tag that thinking was not known to be open for is a mention inside a section (rubric, evaluation, quotes), and
ends thinking elsewhere: behind an endpoint, or in a recorded text, nobody tells how the prompt ended. What follows such
a tag is read by the same two rules, so that the answer is what follows the last tag that counts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from reasrm.protocol.grammar import Grammar
from reasrm.requests import THINKING_START

__all__ = ["after_thinking", "any_of", "begins_with_thinking", "ends_in_thinking"]


def ends_in_thinking(prompt: str, literals: Iterable[str] = THINKING_START) -> bool:
    """Return whether a prompt, or its end, leaves thinking open."""
    tail = prompt.rstrip().casefold()
    return any(tail.endswith(literal.casefold()) for literal in literals)


def begins_with_thinking(grammar: Grammar, text: str, start: int = 0) -> bool:
    """Return whether a normalised text, from `start` on, begins with an opening tag."""
    return _begins_with(grammar.thinking_start).match(text, start) is not None


def after_thinking(grammar: Grammar, text: str, *, thinking_open: bool = False) -> str | None:
    """Return what follows the thinking, or None if that never ends.

    Args:
        grammar: Its tags and its sections.
        text: A completion.
        thinking_open: Whether the prompt left thinking open.
    """
    start, inside = 0, thinking_open or begins_with_thinking(grammar, text)
    for (begin, end), section in zip(*_closings(grammar, text), strict=True):
        if begin >= start and (inside or section < start):
            start, inside = end, begins_with_thinking(grammar, text, end)
    return None if inside else text[start:]


def _closings(grammar: Grammar, text: str) -> tuple[list[tuple[int, int]], list[int]]:
    """Return where the closing tags stand, and where the innermost section around each begins, -1 if there is none."""
    closings = [match.span() for match in any_of(grammar.thinking_end).finditer(text)]
    begins = [begin for begin, _ in closings]
    sections = [-1] * len(closings)
    for name in grammar.sections if closings else ():
        opened = -1
        for match in any_of((f"<{name}>", f"</{name}>")).finditer(text):
            if not match[0].startswith("</"):
                opened = match.end()
            elif opened >= 0:
                for n in range(bisect_right(begins, opened - 1), bisect_right(begins, match.start())):
                    sections[n] = max(sections[n], opened)
                opened = -1
    return closings, sections


@lru_cache(maxsize=256)
def any_of(literals: Sequence[str]) -> re.Pattern[str]:
    """Compile a pattern that matches any of the literals, or nothing for none of them."""
    return re.compile("|".join(map(re.escape, literals)) or r"(?!)", re.IGNORECASE)


@lru_cache(maxsize=256)
def _begins_with(literals: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\s*(?:{any_of(literals).pattern})", re.IGNORECASE)
