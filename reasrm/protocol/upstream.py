"""How the suites' own scripts read verdicts, for numbers that must equal the published ones.

Each rule looks at the whole completion, thinking and quotes included, as those scripts do:

- `first_listed`: the first menu entry, in menu order, that occurs anywhere (LLMBar's pattern list: a text that speaks
  for both outputs is credited to (a); FastChat's MT-Bench chain of ifs).
- `first_anywhere`: the menu word that occurs first (Prometheus's parser searches from the start).
- `unique_anywhere`: the only menu word that occurs anywhere; two different ones are an error (JudgeBench, and RM-R1's
  evaluation).
- `last_anywhere`: the menu word that occurs last (the last `Winner:` line of a rubric judge).
- `last_position_else_anywhere`: the last verdict tag, unless it holds both letters; without a tag, the last menu word
  anywhere (RM-NLHF).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from reasrm.protocol.grammar import MarkedGrammar, PhraseGrammar, ScoreGrammar
from reasrm.records import Judgment, ParseStatus, Verdict

__all__ = ["read_upstream"]

Rule = Literal[
    "first_listed", "first_anywhere", "unique_anywhere", "last_anywhere", "last_position_else_anywhere"
]


def read_upstream(
    grammar: MarkedGrammar | PhraseGrammar | ScoreGrammar, rule: Rule, base: Judgment
) -> Judgment:
    """Read `base.text` by a suite's own rule."""
    if isinstance(grammar, ScoreGrammar):
        return _read_score(grammar, rule, base)
    text = base.text
    if rule == "last_position_else_anywhere" and isinstance(grammar, MarkedGrammar) and grammar.tag:
        inside = _last_content(grammar.tag, text)
        text, rule = (text, "last_anywhere") if inside is None else (inside, "unique_anywhere")
    places = [([m.start() for m in re.finditer(spelled, text)], v) for spelled, v in _spellings(grammar)]
    said = [(starts, verdict) for starts, verdict in places if starts]
    if not said:
        return base
    if rule == "first_listed":
        return replace(base, status=ParseStatus.OK, verdict=said[0][1])
    if rule == "first_anywhere":
        return replace(base, status=ParseStatus.OK, verdict=min(said, key=lambda item: item[0][0])[1])
    if rule == "last_anywhere":
        return replace(base, status=ParseStatus.OK, verdict=max(said, key=lambda item: item[0][-1])[1])
    if len(said) > 1:
        return replace(base, status=ParseStatus.AMBIGUOUS, detail="several verdicts occur in the text")
    return replace(base, status=ParseStatus.OK, verdict=said[0][1])


def _last_content(tag: str, text: str) -> str | None:
    """Return the content of the last `<tag>…</tag>`, pairing each opening with the next closing."""
    content, start = None, text.find(f"<{tag}>")
    while start >= 0 and (end := text.find(f"</{tag}>", start)) >= 0:
        content = text[start + len(tag) + 2 : end]
        start = text.find(f"<{tag}>", end)
    return content


def _spellings(grammar: MarkedGrammar | PhraseGrammar) -> list[tuple[str, Verdict]]:
    """Return every way to speak a verdict, as patterns in menu order."""
    if isinstance(grammar, PhraseGrammar):
        return [(re.escape(phrase), e.verdict()) for phrase, e in (grammar.phrases | grammar.whole).items()]
    gap, close = (r"\s*", r"(?!\w)") if grammar.close == "\n" else ("", re.escape(grammar.close))
    start = re.escape(grammar.open) + gap
    return [(start + re.escape(word) + close, entry.verdict()) for word, entry in grammar.menu.items()]


def _read_score(grammar: ScoreGrammar, rule: Rule, base: Judgment) -> Judgment:
    close = "" if grammar.close == "\n" else re.escape(grammar.close)
    numbers = re.findall(rf"{re.escape(grammar.open)}\s*([0-9]+(?:\.[0-9]+)?){close}", base.text)
    if not numbers:
        return base
    number = float(numbers[-1 if rule == "last_anywhere" else 0])
    if not grammar.minimum <= number <= grammar.maximum:
        return replace(base, status=ParseStatus.OFF_MENU, detail=f"{number:g} is out of range")
    return replace(base, status=ParseStatus.OK, score=number)
