"""How the suites' own scripts read verdicts, for numbers that must equal the published ones.

Each rule looks at the whole completion, thinking and quotes included, as those scripts do:

- `first_listed`: the first menu entry, in menu order, that occurs. For marked words and scores this is FastChat's
  MT-Bench (a chain of ifs; a rating in single brackets counts where none stands in double ones) and RM-R1's script for
  RewardBench. For phrases it is LLMBar's: the CoT evaluators' phrase with anything behind it on its line, (a) asked for
  first, so that a text that speaks for both is credited to (a); without one, a line that begins with the bare name, as
  the Vanilla evaluators read. The suite chooses between the two by its evaluator's config, which a text does not tell,
  so this alone gives LLMBar's numbers only for its CoT and its bare-name texts. A result file carries what the
  script read (`winner`), and `parse` takes that before any rule.
- `first_anywhere`: where the grammar's mark is `[RESULT]`, prometheus-eval's parser. Pairwise, the first letter behind
  one of its marks that ends a line; pointwise, the number behind one of its marks that ends the text, perhaps with `/5`
  or `out of 5`. With another mark, which no shipped spec has, the menu word that occurs first.
- `unique_anywhere`: the only menu word that occurs anywhere; two different ones are an error (Arena-Hard's script and
  JudgeBench, RM-R1's script for RM-Bench). Labels beyond the menu, such as `[[A<B]]`, are not looked for, while
  Arena-Hard's pattern knows them; its second question to a judge that gave no label is not asked.
- `last_anywhere`: the menu word that occurs last. For rubric judges it is what their papers show, the last `Winner:`;
  no script of OpenRubrics was at hand.
- `last_position_else_anywhere`: the last verdict tag, unless it holds both letters; without a tag, the last menu word
  anywhere (RM-NLHF, as its paper and prompt describe it; no script was at hand).
"""

from __future__ import annotations

import re
from dataclasses import replace

from reasrm.errors import InternalError
from reasrm.protocol.grammar import (
    Grammar,
    MarkedGrammar,
    PhraseGrammar,
    RankingGrammar,
    RubricGrammar,
    ScoreGrammar,
    UpstreamRule,
)
from reasrm.records import Judgment, ParseStatus, Verdict

__all__ = ["read_upstream", "upstream_rule"]

_PROMETHEUS_LETTER = re.compile(
    r"(?:\[result(?:\](?:\s+response)?|:)|\[response\s|^result:?)\s*([ab])\]?[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_PROMETHEUS_NUMBER = re.compile(
    r"(?:\[score\]|\[result\]:?|result:?|score(?::|\s+of)?)[\s(\[]*(\d+)(?:[)\]]|/\s*5|\s*out\s*of\s*5)?\s*\Z",
    re.IGNORECASE,
)


def upstream_rule(grammar: Grammar) -> UpstreamRule | None:
    """Return how the suite's own script reads, if the grammar says it."""
    return None if isinstance(grammar, RankingGrammar | RubricGrammar) else grammar.upstream


def read_upstream(grammar: Grammar, base: Judgment) -> Judgment:
    """Read `base.text` by the rule that its grammar names."""
    rule = upstream_rule(grammar)
    if rule is None or isinstance(grammar, RankingGrammar | RubricGrammar):
        raise InternalError("the grammar names no upstream reading")
    if isinstance(grammar, ScoreGrammar):
        return _read_score(grammar, rule, base)
    text = base.text.strip()
    if isinstance(grammar, MarkedGrammar) and _is_prometheus(grammar):
        letter = _PROMETHEUS_LETTER.search(text)
        entry = None if letter is None else grammar.menu.get(letter[1].upper())
        return base if entry is None else replace(base, status=ParseStatus.OK, verdict=entry.verdict())
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


def _is_prometheus(grammar: MarkedGrammar | ScoreGrammar) -> bool:
    return (grammar.open, grammar.upstream) == ("[RESULT]", "first_anywhere")


def _last_content(tag: str, text: str) -> str | None:
    """Return the content of the last `<tag>…</tag>`, pairing each opening with the next closing."""
    content, start = None, text.find(f"<{tag}>")
    while start >= 0 and (end := text.find(f"</{tag}>", start)) >= 0:
        content = text[start + len(tag) + 2 : end]
        start = text.find(f"<{tag}>", end)
    return content


def _spellings(grammar: MarkedGrammar | PhraseGrammar) -> list[tuple[str, Verdict]]:
    """Return every way to speak a verdict, as patterns in menu order."""
    if isinstance(grammar, PhraseGrammar):  # LLMBar's patterns
        said = [(re.escape(phrase) + ".", entry.verdict()) for phrase, entry in grammar.phrases.items()]
        named = [(rf"(?:^|\n) ?{re.escape(name)}", entry.verdict()) for name, entry in grammar.whole.items()]
        return said + named
    gap, close = (r"\s*", r"(?!\w)") if grammar.close == "\n" else ("", re.escape(grammar.close))
    start = re.escape(grammar.open) + gap
    return [(start + re.escape(word) + close, entry.verdict()) for word, entry in grammar.menu.items()]


def _read_score(grammar: ScoreGrammar, rule: UpstreamRule, base: Judgment) -> Judgment:
    if _is_prometheus(grammar):
        numbers = _PROMETHEUS_NUMBER.findall(base.text)
    else:
        start, close = re.escape(grammar.open), "" if grammar.close == "\n" else re.escape(grammar.close)
        numbers = re.findall(rf"{start}\s*([0-9]+\.?[0-9]*){close}", base.text)
        if not numbers and (grammar.open, grammar.close) == ("[[", "]]"):  # FastChat's second try
            numbers = re.findall(r"\[([0-9]+\.?[0-9]*)\]", base.text)
    if not numbers:
        return base
    number = float(numbers[-1 if rule == "last_anywhere" else 0])
    if not grammar.minimum <= number <= grammar.maximum:
        return replace(base, status=ParseStatus.OFF_MENU, detail=f"{number:g} is out of range")
    return replace(base, status=ParseStatus.OK, score=number)
