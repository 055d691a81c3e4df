"""Where private thinking ends in a completion: what comes before it is never read for a verdict.

Thinking is open at the beginning of a completion if the prompt's end left it open (R1's chat templates end with
`<think>`), or if the completion begins with an opening tag, white space aside. Then it lasts up to the next closing
tag; a completion without one never comes to an answer. Anywhere else an opening tag is a mention, of a response that
holds one say, and opens nothing.

A closing tag that thinking was not known to be open for is a mention inside a section (rubric, evaluation, quotes), and
ends thinking elsewhere: behind an endpoint, or in a recorded text, nobody tells how the prompt ended. What follows such
a tag is read by the same two rules, so that the answer is what follows the last tag that counts.

Which tags these are, the spec says. Those of other model families (`_FAMILIES`) are known besides and are no part of
any spec, so that a new one changes no hash. There each opening has its own closing, and what the spec uses as a tag of
its own is none of these.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from reasrm.protocol.grammar import Grammar
from reasrm.requests import THINKING_START

__all__ = ["after_thinking", "any_of", "begins_with_thinking", "ends_in_thinking"]

_FAMILIES = {
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "<|start_thinking|>": "<|end_thinking|>",  # Cohere
    "\u25c1think\u25b7": "\u25c1/think\u25b7",  # Kimi
    "<thought>": "</thought>",  # EXAONE Deep, Marco-o1
    "<longcat_think>": "</longcat_think>",
    "<think_fast>": "</think_fast>",  # K2
    "<think_faster>": "</think_faster>",
    "<|begin_of_thought|>": "<|end_of_thought|>",  # Sky-T1, OpenThinker
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<unused94>thought": "<unused95>",  # MedGemma
}
# Words of prompts more than of models: such a tag counts only where the completion begins with it.
_WRITTEN = {f"<{name}>": f"</{name}>" for name in ("reasoning", "reason", "thoughts", "scratchpad")}


def ends_in_thinking(prompt: str, literals: Iterable[str] = THINKING_START) -> bool:
    """Return whether a prompt, or its end, leaves thinking open."""
    tail = prompt.rstrip().casefold()
    return any(tail.endswith(literal.casefold()) for literal in (*literals, *_FAMILIES))


def begins_with_thinking(grammar: Grammar, text: str, start: int = 0) -> bool:
    """Return whether a normalised text, from `start` on, begins with an opening tag."""
    return bool(_closings_of(grammar, text, start))


def after_thinking(grammar: Grammar, text: str, *, thinking_open: bool = False) -> str | None:
    """Return what follows the thinking, or None if that never ends.

    Args:
        grammar: Its tags and its sections.
        text: A completion.
        thinking_open: Whether the prompt left thinking open.
    """
    own = frozenset() if thinking_open else _own_tags(grammar)
    foreign = (closing for opening, closing in _FAMILIES.items() if opening not in own)
    known = _folded((*grammar.thinking_end, *foreign))
    start, ends = 0, known if thinking_open else _closings_of(grammar, text, 0)
    for (begin, end), section in zip(*_closings(grammar, text), strict=True):
        closing = text[begin:end].casefold()
        counts = closing in ends if ends else closing in known and section < start
        if begin >= start and counts:
            start, ends = end, _closings_of(grammar, text, end)
    return None if ends else text[start:]


def _closings_of(grammar: Grammar, text: str, start: int) -> frozenset[str]:
    """Return what ends the thinking that a text opens at `start`, in lower case; nothing if it opens none."""
    if _begins_with(grammar.thinking_start).match(text, start):
        return _folded(grammar.thinking_end)
    opening = _begins_with((*_FAMILIES, *_WRITTEN)).match(text, start)
    if opening is None or opening[0].strip().casefold() in _own_tags(grammar):
        return frozenset()
    return frozenset({(_FAMILIES | _WRITTEN)[opening[0].strip().casefold()]})


def _own_tags(grammar: Grammar) -> frozenset[str]:
    """Return the tags that this judge is asked to write, in lower case."""
    names = (*grammar.sections, grammar.critique, grammar.rubric, getattr(grammar, "tag", None))
    return frozenset(f"<{name}>".casefold() for name in names)


def _closings(grammar: Grammar, text: str) -> tuple[list[tuple[int, int]], list[int]]:
    """Return where the closing tags stand, and where the innermost section around each begins, -1 if there is none."""
    known = any_of((*grammar.thinking_end, *_FAMILIES.values(), *_WRITTEN.values()))
    closings = [match.span() for match in known.finditer(text)]
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
    heads = re.escape(
        "".join(sorted({literal[:1] for literal in literals}))
    )  # nothing else is looked at twice
    known = "|".join(re.escape(literal) for literal in literals if literal)
    return re.compile(rf"(?=[{heads}])(?:{known})" if known else r"(?!)", re.IGNORECASE)


@lru_cache(maxsize=256)
def _begins_with(literals: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\s*(?:{any_of(literals).pattern})", re.IGNORECASE)


@lru_cache(maxsize=256)
def _folded(literals: Sequence[str]) -> frozenset[str]:
    return frozenset(literal.casefold() for literal in literals)
