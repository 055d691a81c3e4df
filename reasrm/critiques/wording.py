"""The words of a critique: content-word stems, and for or against by a word list with negation.

The list is ours, small and open to be read: words that praise, words that fault, words that turn what follows round.
A word counts by its Porter stem, an adverb by its adjective's. A stance word is turned by every negation
among the three words before it; words such as `lacks` fault by themselves and turn what follows too, unless
they are negated (`does not lack clarity` praises). A span of text is for its side if more words praise than
fault, against it if fewer; a draw goes to the first one (`fails to tell the story in a clear way`).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rouge_score.tokenizers import DefaultTokenizer

__all__ = ["Stance", "content_stems", "is_verdict_only", "stance_of", "stem", "words_of"]

Stance = Literal["for", "against"]

_FOR = """
accurate adequate admirable advantage appropriate apt beautiful benefit best better careful clear coherent comprehensive
complete concise consistent convincing correct creative detailed effective efficient elegant engaging excellent
faithful fluent friendly good great helpful honest ideal impressive insightful interesting logical meaningful nice
organized original perfect pleasant polished polite precise prefer professional proper readable reasonable relevant
reliable respectful right rich robust safe satisfy solid sound strength strong succeed succinct successful
suitable superior thorough thoughtful useful valid valuable vivid win winner
"""
_AGAINST = """
ambiguous awkward bad biased boring careless confuse contradict cliche cumbersome dangerous deficient disadvantage
disappoint disjointed disorganized drawback error exaggerate fabricate fallacy false falter flaw generic hallucinate
harm harmful illogical inaccurate inadequate inappropriate incoherent incomplete inconsistent incorrect ineffective
inefficient inferior insufficient invalid irrelevant issue lazy lengthy lie lose loser messy misguided misinterpret
mislead misleading misrepresent mistake misunderstand monotonous nonsense offensive outdated overlong poor problem
redundant repetitive rude sexist shallow shortcoming sloppy superficial toxic truncate unclear unfaithful unhelpful
unnecessary unnatural unrelated unsafe unsupported untrue useless vague verbose weak weakness worse worst wrong
"""
_FAULTS_AND_TURNS = "absence fail forget ignore lack miss missing neglect omit overlook skip"
# `could be more accurate` and `should be clear` say that it is not.
_TURNS = (
    "barely cannot could few fewer hardly least less never neither no nobody none nor not nothing rarely should "
    "without"
)
# `not only correct`, `no doubt`: no negation.
_NO_TURN_BEFORE = {"only", "just", "merely", "doubt"}
_REACH = 3
# `completely wrong`, `clearly false`: how much, not how good.
_DEGREES = {"clearly", "completely", "perfectly", "strongly"}

_VERDICTS = "best better choose choice inferior lose loser prefer preferable preferred superior win winner worse worst"
_STOP = """
a about above after again all also although am among an and another any are as at be because been before being below
between both but by can could did do does doing done down during each either even every for from further get given had
has have having he her here hers him his how however i if in indeed into is it its itself just like made make makes may
me might more most much must my nor of off on once one ones only onto or other others our out over own per quite rather
really same shall she should since so some such than that the their theirs them then there therefore these they this
those though through thus to too two under until up upon us very was we were what when where whereas which while who
whom whose why will with within would yet you your
answer assistant chatbot output response reply completion
"""
# What a sentence may hold beside a verdict and say nothing more.
_FILLER = """
overall finally final conclusion conclude summary verdict judgment judgement decision slightly somewhat significantly
clearly considered considering consider think believe say therefore hence pick comparison reason above reasons user
"""

# A character of a script written without blanks is a word of its own.
_WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff])[^\W_])+"
)
_SHORT_NOT = re.compile(r"n['’]t\b")
_KEPT = 1 << 16


def words_of(text: str) -> list[str]:
    """Return the words in lower case; `n't` is a word `not`."""
    return _WORD.findall(_SHORT_NOT.sub(" not", text.replace("can't", "cannot").lower()))


@lru_cache(maxsize=_KEPT)
def stem(word: str) -> str:
    """Return the Porter stem of an English word of more than three letters; any other word as it is."""
    if not word.isascii() or len(word) > 40:
        return word
    found: list[str] = _tokenizer().tokenize(word)
    return found[0] if found else word


@cache
def _tokenizer() -> DefaultTokenizer:
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(True)


def content_stems(text: str) -> frozenset[str]:
    """Return the stems of the words that are not function words, nouns for a response, or negations."""
    passed_over = _lists()["stop"]
    return frozenset(stem(word) for word in words_of(text) if word not in passed_over)


def stance_of(text: str) -> Stance | None:
    """Return whether the text praises or faults; None if it does neither."""
    signs = _signs(words_of(text))
    if not signs:
        return None
    return "for" if (sum(signs) or signs[0]) > 0 else "against"


def is_verdict_only(text: str) -> bool:
    """Tell whether a text says who wins and nothing else (`Overall, the response is better`)."""
    content = content_stems(text)
    return bool(content & _lists()["verdict"]) and content <= _lists()["verdict"] | _lists()["filler"]


def _signs(words: list[str]) -> list[int]:
    """Return +1 or -1 for each stance word, negation applied."""
    lists = _lists()
    turns: list[int] = []
    signs: list[int] = []
    for place, word in enumerate(words):
        if word in lists["turn"]:
            if words[place + 1 : place + 2] and words[place + 1] not in _NO_TURN_BEFORE:
                turns.append(place)
            continue
        if word in _DEGREES:
            continue
        root = stem(word)
        if root not in lists["for"]:
            root = stem(word.removesuffix("ly"))
        sign = (root in lists["for"]) - (root in lists["against"])
        if not sign:
            continue
        if sum(1 for turn in turns[-_REACH:] if place - turn <= _REACH) % 2:
            sign = -sign
        elif root in lists["fault and turn"]:
            turns.append(place)
        signs.append(sign)
    return signs


@cache
def _lists() -> dict[str, frozenset[str]]:
    both = frozenset(stem(word) for word in _FAULTS_AND_TURNS.split())
    turn = frozenset(_TURNS.split())
    return {
        "for": frozenset(stem(word) for word in _FOR.split()),
        "against": frozenset(stem(word) for word in _AGAINST.split()) | both,
        "fault and turn": both,
        "turn": turn,
        "stop": frozenset(_STOP.split()) | turn,
        "verdict": frozenset(stem(word) for word in _VERDICTS.split()),
        "filler": frozenset(stem(word) for word in _FILLER.split()),
    }
