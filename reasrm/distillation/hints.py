"""Kept traces as hints: what gives the verdict away is masked, the structure of the reasoning stays.

After SMEPO ("Hide to Guide"), which gives a policy an expert's trace whose reward-relevant spans are masked, so that it
has to work them out. There the spans are numbers and code; for a judge they are the verdict (`[VERDICT]`), sentences
that name a winner or loser (`[WINNER]`) and scores (`[SCORE]`). As there, a prefix of ⌊n · ratio⌋ of the trace's n
sentences or lines is kept. Masking knows the grammar of the spec and English; findings about single criteria stay.
Nobody reads `hints.jsonl` yet: a stage that shows them to a policy is to.
"""

from __future__ import annotations

import re
from math import floor

from reasrm.protocol.grammar import Grammar, MarkedGrammar, PhraseGrammar
from reasrm.protocol.parsing import normalise, parse
from reasrm.protocol.spec import JudgeSpec
from reasrm.requests import Completion

__all__ = ["mask_hint"]

_VERDICT, _WINNER, _SCORE = "[VERDICT]", "[WINNER]", "[SCORE]"
_NAME = r"(?i:response|chatbot|assistant|answer|output|candidate|model|option|reply)"
_ARTICLE = (
    r"(?=[ \t]+(?i:better|best|strong|superior|prefer|worse|worst|weak|inferior|winn|los))"  # "A better sum"
)
_SIDE = (
    rf"(?:\b{_NAME}[\s*_]*[(\[]?(?:[AaBb12]\b|(?i:one|two)\b)[)\]]?(?:['’]s)?"
    rf"|\b(?:B|A(?!{_ARTICLE}))\b(?:['’]s)?"
    rf"|(?i:\bthe (?:first|second|former|latter|other)(?: {_NAME})?\b))"
)
_JUDGED = (
    r"(?i:\b(?:better|best|stronger|strongest|superior|preferable|preferred|worse|worst|weaker|weakest|inferior|ahead"
    r"|winner|loser|wins?|won|loses?|lost|prevails?|prevailed|beats?|outperforms?|outperformed|surpass(?:es|ed)?"
    r"|edges?(?= out)|outranks?|outclass(?:es)?)\b)"
)
_FEW = r"(?:[ \t*_]+(?!(?i:than)\b)[\w'’,-]+){0,5}?[ \t*_]+"
_CHOOSING = (
    r"(?i:\b(?:prefer|prefers|preferring|favou?rs?|favou?ring|choose|chooses|choosing|pick|select|go with|going with"
    r"|leans?|leaning|vote|verdict|winner|decision|preference|(?:answer|choice|conclusion) is"
    r"|(?:better|best|stronger|superior) (?:one|of the two)"
    rf"|(?:better|best|stronger|superior|winning|preferred) {_NAME})\b)"
)
_WINNERS = re.compile(
    rf"(?i:\b(?:hence|thus|therefore|so|overall)\b),?[ \t*_]+{_SIDE}[ \t*_]*(?=[.!\n]|$)"
    rf"|{_SIDE}[ \t]+(?i:is|was|remains)(?:[ \t]+\w+)?[ \t]+"
    r"(?i:the (?:right|correct) (?:choice|pick|one|option|verdict))"
    rf"|{_SIDE}[ \t]*(?:>{{1,2}}|<{{1,2}}|≻|≺)[ \t]*{_SIDE}"
    rf"|{_SIDE}(?:{_FEW}){_JUDGED}(?:(?:[ \t]+[\w'’]+){{0,3}}?[ \t]+{_SIDE})?"
    rf"|{_CHOOSING}(?:[ \t*_:]+[\w'’,-]+){{0,4}}?[ \t*_:\"(]+{_SIDE}"
)
_SCORES = re.compile(
    r"(?<![\w.])[+-]?\d+(?:\.\d+)?[ \t]*(?:/[ \t]*(?:5|10|20|50|100)\b(?![./]\d)|(?i:out of)[ \t]+\d+\b)"
    r"|(?i:\b(?:scores?|scored|ratings?|rated|rates|grades?|graded|marks?|points?)\b)[^\w\n]{0,4}"
    r"(?i:(?:of|is|as|at|a|:|=)[ \t]+){0,2}[+-]?\d+(?:\.\d+)?"
    rf"|{_SIDE}[ \t]*[:=][ \t]*[+-]?\d+(?:\.\d+)?(?:[ \t]*/[ \t]*\d+)?\b"
    r"|(?<![\w.])\d+(?:\.\d+)?[ \t-]+(?i:points?|stars?)\b"
)
_PIECE = re.compile(r"[^\n]*?[.!?…](?=\s)\s*|[^\n]*\n+|[^\n]+")


def mask_hint(spec: JudgeSpec, text: str, prefix_ratio: float = 1.0) -> str | None:
    """Return a judgment as a hint, or None if its verdict could still be read.

    Args:
        spec: The protocol it follows.
        text: The judgment.
        prefix_ratio: Share of its sentences and lines that is shown, from the beginning.
    """
    for candidate in (
        text,
        normalise(text),
    ):  # a disguised verdict shows only in the form in which it is read
        masked = _mask(spec, candidate)
        if parse(spec, Completion("hint", text=masked)).status != "ok":
            pieces = _PIECE.findall(masked)
            return "".join(pieces[: floor(len(pieces) * prefix_ratio)])
    return None


def _mask(spec: JudgeSpec, text: str) -> str:
    text = _mask_verdicts(spec.grammar, text)
    return _SCORES.sub(_SCORE, _WINNERS.sub(_WINNER, text))


def _mask_verdicts(grammar: Grammar, text: str) -> str:
    if isinstance(grammar, MarkedGrammar):
        start = "[*_`]*".join(map(re.escape, grammar.open))
        if grammar.close == "\n":
            text = re.sub(rf"({start})[^\n]*", rf"\1 {_VERDICT}", text, flags=re.IGNORECASE)
        else:
            rest = rf"[^\n\[\]]{{0,80}}?{re.escape(grammar.close)}"
            text = re.sub(start + rest, _VERDICT, text, flags=re.IGNORECASE)
        if grammar.tag is not None:
            tag = re.escape(grammar.tag)
            whole = rf"(<{tag}>)(?:(?!<{tag}>).)*?(</{tag}>)"  # not over a second opening tag: linear
            text = re.sub(whole, rf"\1{_VERDICT}\2", text, flags=re.IGNORECASE | re.DOTALL)
    elif isinstance(grammar, PhraseGrammar):
        for phrase in sorted((*grammar.phrases, *grammar.whole), key=len, reverse=True):
            words = r"[\s*_`]+".join(map(re.escape, phrase.split()))
            text = re.sub(words, _VERDICT, text, flags=re.IGNORECASE)
    return text
