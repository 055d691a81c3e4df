"""What a criterion took over from the responses it was written by, or says of their places.

OpenRubrics and CDRRM forbid facts, names, numbers and positions in their prompts and look at nothing; these checks
look. Words of the request are no leak, whatever the responses say. The rules know English and err on the side of a
leak: a criterion that is dropped costs little, one that carries the answer costs the measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reasrm.critiques.naming import names_in
from reasrm.critiques.wording import content_stems, words_of

__all__ = ["LEAKS", "Leak", "LeakReason", "leaks"]

LeakReason = Literal["leak_span", "leak_number", "leak_name", "position", "comparative"]
LEAKS: tuple[LeakReason, ...] = ("leak_span", "leak_number", "leak_name", "position", "comparative")
"""Words of a response · a number of one · a name of one · names a place or a label · compares responses."""

_ANSWER = "(?:answer|assistant|candidate|completion|draft|model|one|output|reply|response|solution|version)s?"
_RIVAL = "(?:alternative|another|competing|other|rejected|rival)"
_SHOWN = "(?:given|listed|placed|presented|printed|shown)"
_PLACE = "(?:first|second|last|earlier|later)"
_LABEL = re.compile(
    rf"(?i)\b(?:(?:chosen|preferred|rejected|winning|losing)\s{_ANSWER}|the\s(?:chosen|rejected|winner|loser)"
    rf"|{_ANSWER}\s(?:(?:that|which)\s(?:appears|comes|stands|(?:is|was)\s{_SHOWN})|{_SHOWN})\s{_PLACE}"
    rf"|(?:left|(?:left|right)[ -]hand)\s{_ANSWER}|{_ANSWER}\son\sthe\s(?:left|right))\b"
)
_COMPARES = re.compile(
    rf"(?i)\b(?:{_RIVAL}\s{_ANSWER}|(?:than|with|to|unlike)\s(?:(?:the|an?|any|its)\s)?{_RIVAL}"
    rf"|(?:better|inferior|preferable|stronger|superior|weaker|worse)\s(?:than|to|{_ANSWER})"
    rf"|(?:of|between)\s(?:the\s)?two\s{_ANSWER}|(?:both|either|neither)\s{_ANSWER}|unlike\s(?:the\s)?{_ANSWER})\b"
)
_NUMBER = re.compile(r"\b[0-9]+(?:[.,:][0-9]+)*\b")
_WORDS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_SPELLED = {word: str(n) for n, word in enumerate(_WORDS, 2)}
_TOKEN = re.compile(r"[^\W_][\w&.’'-]*[^\W_]|[^\W\d_]")
_SENTENCE_END = ".!?:;•*#\n"
_NO_NAMES = frozenset({"a", "b", "i", "answer", "assistant", "response"})


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: why it is one, and the words."""

    reason: LeakReason
    found: str


def leaks(
    criteria: Sequence[str], request: str, responses: Sequence[str], *, ngram: int = 4
) -> list[tuple[Leak, ...]]:
    """Return the leaks of each criterion, at most one for each reason, in the order of `LEAKS`.

    - `leak_span`: `ngram` words in a row, one of them a content word, that a response has and the request lacks.
    - `leak_number`: a number (`3` and `three` are one) that a response has and the request lacks.
    - `leak_name`: a capitalised word inside a sentence, or one with several capitals, that a response has, never in
      lower case, and the request lacks.
    - `position`: `Response A`, `the first one`, a bare `B`, `the answer that comes first`; `the chosen response`,
      `the winner`.
    - `comparative`: `better than`, `the other response`, `both answers`: no single answer can be tested on it.

    Args:
        criteria: Texts.
        request: All texts of the request.
        responses: What the author saw; without any, only positions and comparisons can be found.
        ngram: The length of a run of words.
    """
    asked = _Text(request, ngram)
    said = [_Text(response, ngram) for response in responses]
    finders = (_span, _number, _name, _position, _comparison)
    return [
        tuple(
            Leak(reason, found)
            for reason, finder in zip(LEAKS, finders, strict=True)
            if (found := finder(_Text(text, ngram), asked, said)) is not None
        )
        for text in criteria
    ]


class _Text:
    """A text and what is compared of it."""

    def __init__(self, text: str, ngram: int) -> None:
        words = words_of(text)
        self.text, self.folded = text, text.casefold()
        self.words = frozenset(words)
        self.runs = [" ".join(words[n : n + ngram]) for n in range(len(words) - ngram + 1)]
        self.run_set = frozenset(self.runs)
        self.numbers = {_plain(found[0]): found[0] for found in _NUMBER.finditer(text)}
        self.numbers |= {_SPELLED[word]: word for word in words if word in _SPELLED}
        self.tokens = frozenset(_token(found) for found in _TOKEN.finditer(text))

    def has(self, phrase: str) -> bool:
        return phrase.casefold() in self.folded


def _span(criterion: _Text, asked: _Text, said: Sequence[_Text]) -> str | None:
    for run in criterion.runs:
        if run not in asked.run_set and any(run in one.run_set for one in said) and content_stems(run):
            return run
    return None


def _number(criterion: _Text, asked: _Text, said: Sequence[_Text]) -> str | None:
    for number, written in criterion.numbers.items():
        if number not in asked.numbers and any(number in one.numbers for one in said):
            return written
    return None


def _plain(number: str) -> str:
    return number.replace(",", "")


def _name(criterion: _Text, asked: _Text, said: Sequence[_Text]) -> str | None:
    for name in _names(criterion.text):
        lower = name.lower()
        if lower in _NO_NAMES or any(word in asked.words for word in words_of(name)) or asked.has(name):
            continue
        if any(name in one.tokens and lower not in one.tokens for one in said):
            return name
    return None


def _names(text: str) -> Iterator[str]:
    """Yield words with a capital: any inside a sentence, at its beginning those with a second capital or a digit."""
    for found in _TOKEN.finditer(text):
        token = _token(found)
        before = _before(text, found.start()).rstrip(" \t\"'“(")
        inside = bool(before) and before[-1] not in _SENTENCE_END
        if token[0].isupper() and (inside or any(c.isupper() or c.isdigit() for c in token[1:])):
            yield token


def _before(text: str, end: int) -> str:
    """Return the last characters before a place, few enough that a long text costs no more than its length."""
    return text[max(0, end - 80) : end]


def _token(found: re.Match[str]) -> str:
    return re.sub(r"['’]s$", "", found[0])


def _position(criterion: _Text, asked: _Text, said: Sequence[_Text]) -> str | None:
    for side, found in names_in(criterion.text).mentions(criterion.text):
        phrase = _before(criterion.text, found.end()).split()[-2:]  # `option B` may be the request's own
        if side is not None and not (len(phrase) == 2 and asked.has(" ".join(phrase))):
            return found[0].strip()
    return _unless_asked(_LABEL, criterion, asked)


def _comparison(criterion: _Text, asked: _Text, said: Sequence[_Text]) -> str | None:
    return _unless_asked(_COMPARES, criterion, asked)


def _unless_asked(pattern: re.Pattern[str], criterion: _Text, asked: _Text) -> str | None:
    return next((found[0] for found in pattern.finditer(criterion.text) if not asked.has(found[0])), None)
