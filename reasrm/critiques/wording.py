"""The words of a critique: content-word stems, and for or against by a word list with negation.

The list is ours, small and open to be read: qualities and deeds that praise, qualities and deeds that fault, words
that turn what follows round. A word counts by its form (`useful`, `usefully`, but not `uses`, which shares its
stem), comparatives among them (`clearer`, `the weakest`; `longer` and `simpler` are neither). A stance word is
turned by every negation among the three content words before it; words such as `lacks` fault by themselves and turn
what follows too, unless they are negated (`does not lack clarity` praises). A span of text is for its side if more
words praise than fault, against it if fewer; a draw goes to the first one (`fails to tell the story in a clear
way`). A wish faults, whatever else is said (`could have been more detailed`). Where none of these speaks, deeds do:
`meets the request` praises, `does not mention` and `only repeats` fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rouge_score.tokenizers import DefaultTokenizer

__all__ = [
    "Stance",
    "content_stems",
    "is_negated",
    "is_verdict_only",
    "stance_of",
    "stem",
    "topic_key",
    "words_of",
]

Stance = Literal["for", "against"]

_GOOD = """
accurate adequate admirable apt appropriate beautiful beneficial best better clear coherent commendable compelling
complete comprehensive comprehensible concise consistent convincing correct creative detailed diverse easier easy
effective efficient elegant engaging excellent exceptional faithful flawless fluent friendly good great helpful honest
ideal impeccable impressive informative insightful interesting logical meaningful nice optimal organized perfect
persuasive pleasant polished polite precise preferable professional properly readable reasonable relevant reliable
respectful rich right robust safe skillful solid sound specific straightforward strong successful succinct suitable
superb superior thorough thoughtful understandable useful valid valuable vivid accuracy clarity coherence completeness
consistency correctness efficiency originality precision relevance
"""
# Qualities of both lists that take endings; the other words speak only when they are compared (`deeper`, `wordier`).
_COMPARED = """
clear clumsy easy friendly great lazy messy nice polite poor rich rude safe shallow sloppy sound strong vague weak
"""
_ONLY_COMPARED = "clean crisp deep fresh full lively neat sharp smart smooth tight warm wise"
_ONLY_COMPARED_BAD = "bland choppy clunky dry dull flat harsh muddy risky rough wordy"
_PRAISES = (
    "advantage benefit convince enhance excel practical prefer proper satisfy strength succeed win winner"
)
_BAD = """
abrupt ambiguous awkward bad biased boring careless clumsy confusing cumbersome dangerous deficient difficult
disappointing disjointed disorganized erroneous extraneous false faulty flawed generic harmful empty illogical
imprecise inaccurate inadequate inappropriate incoherent incomplete inconsistent incorrect ineffective inefficient
inferior insufficient invalid irrelevant lazy lengthy messy misguided misleading mistaken monotonous offensive
outdated overlong poor problematic redundant repetitive rude sexist shallow sloppy superficial toxic truncated unclear
unfaithful unhelpful unnatural unnecessary unrelated unsafe unsupported untrue useless vague verbose weak worse worst
wrong bias inaccuracy inconsistency inefficiency redundancy repetition verbosity
"""
_FAULTS = """
cliche compromise confuse contradict contradiction detract deviate deviation diminish disadvantage disappoint drawback
error exaggerate fabricate fallacy falter flaw hallucinate harm hinder issue limitation lose loser miscalculate
miscalculation misinterpret misinterpretation mislead misstep misrepresent misstate mistake misunderstand
misunderstanding nonsense omission oversight pitfall shortcoming struggle truncate undermine weakness
"""
_FAULTS_AND_TURNS = """
absence fail failure forget forgot forgotten ignore lack miss neglect omit omitted overlook skip
"""
# Deeds, heard where no quality is named: they praise, or fault where negated; the next ones only fault, negated.
_DEEDS = """
accomplish achieve addresses addressed addressing adhere align capture clearly comply demonstrate detail execute
fulfill follow handle match meet perfectly understand understanding well
"""
_PLAIN_DEEDS = """
account acknowledge address answer attempt clarify consider contain cover discuss elaborate explain explore give grasp
include list mention note offer present produce provide reach recognize reflect specify state support use
"""
_BARE = "just merely only repeat restate simply"
_TURNS = """
avoid avoided avoiding avoids barely cannot few fewer free hardly instead least less never neither no nobody none nor
not nothing rarely should without
"""
_REACH = 3
# `completely wrong`, `clearly false`: how much, not how good.
_DEGREES = {"clearly", "completely", "perfectly", "strongly"}
_WISH = re.compile(
    r"\b(?:could|should|might|would)(?:\s(?:also|perhaps|potentially|further|still))*\s"
    r"(?:have|benefit|further|improve|be\s(?:(?:a\sbit|better|clarified|enhanced|expanded|further|improved|more)"
    r"|(?:(?:even|much)\s)?(?:cleaner|clearer|deeper|fuller|richer|safer|sharper|smoother|stronger|tighter)))\b"
    r"|\b(?:room\sfor|needs?|requires?)\s(?:\w+\s)?improvement\b"
    r"|\btoo\s(?:brief|broad|casual|complex|few|formal|general|generic|informal|little|long|many|much|narrow|short|simple"
    r"|simplistic|technical|vague|verbose|wordy)\b"
)
# No negation, no praise: `not only`, `as well as`, `to the right of`.
_NO_STANCE = re.compile(
    r"\bnot\s(?:just|merely|only|simply)\b|\bno\sdoubt\b|\bspecifically\b|\bas\swell\b|\bthe\sfollowing\b|\b(?:far|immediate|the|to)\sright\s(?:of|side|hand)\b"
)

# Words for one quality, a line each: who says two of them with opposite stances turns himself round.
_TOPICS = """
accuracy accurate correct erroneous error false faulty inaccuracy inaccurate incorrect mistake right true untrue wrong
ambiguous clarity clear confusing understandable unclear vague
appropriate inappropriate suitable
coherence coherent disjointed illogical incoherent logical
complete completeness comprehensive incomplete thorough truncated
concise lengthy overlong succinct verbose verbosity
consistency consistent inconsistency inconsistent
dangerous harmful safe unsafe
efficiency efficient inefficiency inefficient
engaging boring
helpful unhelpful useful useless
irrelevant relevance relevant unrelated
polite rude
"""

_VERDICTS = """
best better choose choice inferior lose loser prefer preferable preferred stronger strongest superior weaker weakest
win winner worse worst
"""
_STOP = """
a about above additionally after again all also although am among an and another any are as at be because been before
being below between both but by can consequently conversely could did do does doing done down during each either even
every for from further furthermore get given had has have having he her here hers him his how however i if in indeed
into is it its itself just lastly like made make makes may me might more moreover most much must my nor of off on once
one ones only onto or other others our out over own per quite rather really same shall she should since so some such
than that the their theirs them then there therefore these they this those though through thus to too two under until up
upon us very was we were what when where whereas which while who whom whose why will with within would yet you your
answer assistant chatbot output response reply completion
"""
# What a sentence may hold beside a verdict and say nothing more.
_FILLER = """
overall finally final conclusion conclude summary verdict judgment judgement decision slightly somewhat significantly
clearly considered considering consider think believe say hence pick comparison reason above reasons user analysis
assessment based careful carefully consideration criteria evaluation given hand instruction provided
"""

# A character of a script written without blanks is a word of its own.
_WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff])[^\W_])+"
)
_SHORT_NOT = re.compile(r"n['’]t\b")
_KEPT = 1 << 16


def words_of(text: str) -> list[str]:
    """Return the words in lower case; `n't` is a word `not`."""
    return _WORD.findall(_spelled(text))


def _spelled(text: str) -> str:
    return _SHORT_NOT.sub(" not", text.replace("can't", "cannot").lower())


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


def topic_key(text: str) -> frozenset[str]:
    """Return what a text is about whatever its stance: its content, words for one quality (`_TOPICS`) as one."""
    lists, topics = _lists(), _topics()
    words = [word for word in words_of(text) if word not in lists["stop"] and word not in _DEGREES]
    return frozenset(topics.get(word) or stem(word) for word in words) or frozenset(words_of(text))


def stance_of(text: str, *, deeds: bool = True) -> Stance | None:
    """Return whether the text praises or faults; None if it does neither.

    Args:
        text: A clause.
        deeds: Whether deeds are heard where no quality is named.
    """
    plain = _NO_STANCE.sub(" ", " ".join(_spelled(text).replace("rather than", "instead").split()))
    if _WISH.search(plain):
        return "against"
    words = _WORD.findall(plain)
    signs = _signs(words, "for", "against")
    if not signs and deeds:
        signs = _signs(words, "deed", "bare")
    if not signs:
        return None
    return "for" if (sum(signs) or signs[0]) > 0 else "against"


def is_negated(text: str) -> bool:
    """Tell whether an odd number of words turn the text round (`avoids`, `not`, `without`)."""
    plain, turns = _NO_STANCE.sub(" ", _spelled(text)), _lists()["turn"]
    return sum(word in turns for word in _WORD.findall(plain)) % 2 == 1


def is_verdict_only(text: str) -> bool:
    """Tell whether a text says who wins and nothing else (`Overall, the response is better`)."""
    content = content_stems(text)
    return bool(content & _lists()["verdict"]) and content <= _lists()["verdict"] | _lists()["filler"]


def _signs(words: list[str], praise: str, fault: str) -> list[int]:
    """Return +1 or -1 for each word of two lists, negation applied; a plain deed counts only where it is negated."""
    lists = _lists()
    turns: list[int] = []
    signs: list[int] = []
    place = 0  # counts content words
    for index, word in enumerate(words, 1):
        place += word not in lists["stop"]
        if word in lists["turn"]:
            # The last word turns nothing round.
            turns.extend([place] if index < len(words) else [])
            continue
        if word in _DEGREES and praise == "for":
            continue
        sign = (word in lists[praise]) - (word in lists[fault])
        plain = not sign and praise == "deed" and word in lists["plain deed"]
        if not sign and not plain:
            continue
        turned = sum(place - turn <= _REACH for turn in turns[-_REACH:]) % 2
        if plain and not turned:
            continue
        sign = sign or 1
        if turned:
            sign = -sign
        elif word in lists["fault and turn"]:
            turns.append(place)
        signs.append(sign)
    return signs


@cache
def _lists() -> dict[str, frozenset[str]]:
    both, turn = _forms(_FAULTS_AND_TURNS), frozenset(_TURNS.split())
    return {
        "for": _qualities(_GOOD) | _forms(_PRAISES) | _compared(_ONLY_COMPARED),
        "against": _qualities(_BAD) | _forms(_FAULTS) | _compared(_ONLY_COMPARED_BAD) | both,
        "fault and turn": both,
        "deed": _forms(_DEEDS),
        "plain deed": _forms(_PLAIN_DEEDS),
        "bare": _forms(_BARE),
        "turn": turn,
        "stop": frozenset(_STOP.split()) | turn,
        "verdict": frozenset(map(stem, _VERDICTS.split())),
        "filler": frozenset(map(stem, _FILLER.split())),
    }


@cache
def _topics() -> dict[str, str]:
    lines = (line.split() for line in _TOPICS.strip().splitlines())
    return {
        form: words[0] for words in lines for word in words for form in (*_quality(word), *_inflected(word))
    }


def _qualities(words: str) -> frozenset[str]:
    """Return adjectives and nouns with their adverbs, degrees and nouns in -ness and, of nouns in -y, their plurals."""
    return frozenset(form for word in words.split() for form in _quality(word))


def _compared(words: str) -> frozenset[str]:
    """Return comparatives and superlatives."""
    return frozenset(form for word in words.split() for form in _endings(word))


def _endings(word: str) -> tuple[str, str]:
    base = f"{word[:-1]}i" if word.endswith("y") else word.removesuffix("e")
    return f"{base}er", f"{base}est"


def _quality(word: str) -> Iterator[str]:
    yield from (word, f"{word}ly", f"{word}ness", f"{word}ally")
    if word in _COMPARED.split():
        yield from _endings(word)
    if word.endswith("le"):
        yield f"{word[:-1]}y"
    if word.endswith("y"):
        yield from (f"{word[:-1]}{end}" for end in ("ies", "ily", "iness"))


def _forms(words: str) -> frozenset[str]:
    """Return verbs and nouns with their endings -s, -ed, -ing."""
    return frozenset(form for word in words.split() for form in _inflected(word))


def _inflected(word: str) -> Iterator[str]:
    base = word.removesuffix("e")
    yield from (word, f"{word}s", f"{word}es", f"{base}ed", f"{base}ing")
    if word.endswith("y"):
        yield from (f"{word[:-1]}ies", f"{word[:-1]}ied")
    if word[-1] in "nt":
        yield from (f"{word}{word[-1]}{end}" for end in ("ed", "ing"))
