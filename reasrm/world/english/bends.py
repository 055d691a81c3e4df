"""Bends, kind by kind: each makes a draft meet a demand or break it, in English as good as before.

A bend does what can be done and promises nothing; whoever bends checks the text afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from reasrm.world.english.drafts import Draft, first_up
from reasrm.world.english.phrases import ENDINGS, FOREIGN, NUMBERS, PLACES, SAYINGS, STARTS, TAGS, TITLES

__all__ = ["BENDS", "Bend"]

Bend = Callable[[Random, Draft, str, bool, Sequence[str]], Draft]
"""Takes the draw, the draft, the demand's value, whether to meet it, and sentences that may be added."""


def _place(draw: Random, draft: Draft) -> int:
    return draw.randrange(len(draft.sentences))


def _mapped(draft: Draft, change: Callable[[str], str]) -> Draft:
    title = None if draft.title is None else change(draft.title)
    opener = None if draft.opener is None else change(draft.opener)
    return replace(draft, title=title, opener=opener, sentences=tuple(map(change, draft.sentences)))


def _lower(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    return _mapped(draft, str.lower if meet else first_up)


def _question(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    last = draft.sentences[-1]
    for tag in TAGS:
        last = last.removesuffix(tag)
    last = last.rstrip(".!?")
    return draft.with_sentence(-1, last + (draw.choice(TAGS) if meet else "."))


def _include(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    if meet:
        return draft.append(_place(draw, draft), f" {PLACES[value]}")
    return draft.without(f" {PLACES[value]}")


def _avoid(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    return _include(draw, draft, value, not meet, spare)


def _resized(draw: Random, draft: Draft, count: int, spare: Sequence[str]) -> Draft:
    fresh = [sentence for sentence in spare if sentence not in draft.sentences] or list(spare)
    more = draw.sample(fresh, min(len(fresh), max(0, count - len(draft.sentences))))
    return replace(draft, sentences=(*draft.sentences, *more)[: max(1, count)])


def _near(draw: Random, wanted: int, meet: bool) -> int:
    return wanted if meet else draw.choice([n for n in (wanted - 1, wanted + 1) if n > 0])


def _sentences(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    return _resized(draw, draft, _near(draw, int(value), meet) - (draft.opener is not None), spare)


def _items(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    if not meet and draw.random() < 0.3:
        return replace(draft, listed=False)
    return _resized(draw, replace(draft, listed=True), _near(draw, int(value), meet), spare)


def _first(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    sentence = draft.sentences[0]
    for start in STARTS:
        if sentence.startswith(f"{start}, "):
            sentence = first_up(sentence.removeprefix(f"{start}, "))
    others = ["", *(start for start in STARTS if start != value)]
    start = value if meet else draw.choice(others)
    opened = sentence if not start else f"{start}, {first_up(sentence, up=False)}"
    return replace(draft.with_sentence(0, opened), title=None, opener=None)


def _end(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    last = draft.sentences[-1]
    for words in (*TAGS, *ENDINGS.values()):
        last = last.removesuffix(words).removesuffix(f"{words}.")
    others = ["", *(words for phrase, words in ENDINGS.items() if phrase != value)]
    return draft.with_sentence(
        -1, last.rstrip(".!?") + (ENDINGS[value] if meet else draw.choice(others)) + "."
    )


def _quote(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    lead = ", true to the saying "
    for saying in SAYINGS:
        draft = draft.without(f'{lead}"{saying}"').without(f"{lead}{saying}")
    other = draw.choice([saying for saying in SAYINGS if saying != value])
    words = f'"{value}"' if meet else draw.choice((value, f'"{other}"', ""))
    return draft.append(_place(draw, draft), lead + words) if words else draft


def _language(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    foreign = {sentence for sentences in FOREIGN.values() for sentence in sentences}
    kept = tuple(s for s in draft.sentences if s not in foreign) or tuple(spare[:1])
    others = ["", *(name for name in FOREIGN if name != value)]
    language = value if meet else draw.choice(others)
    return replace(draft, sentences=(*kept, draw.choice(FOREIGN[language])) if language else kept)


def _digit(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    for phrase, same in NUMBERS.items():
        draft = draft.without(f" {phrase}").without(f" {same}")
    phrase = draw.choice(list(NUMBERS))
    words = phrase if meet else draw.choice((NUMBERS[phrase], ""))
    return draft.append(_place(draw, draft), f" {words}") if words else draft


def _no_digit(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    return _digit(draw, draft, value, not meet, spare)


def _short(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    if meet:
        fit = [s for s in (*draft.sentences, *spare) if len(s.split()) < int(value)]
        return replace(draft, sentences=tuple(fit[: len(draft.sentences)]) or draft.sentences)
    place = _place(draw, draft)
    others = [sentence for sentence in spare if sentence not in draft.sentences] or list(spare)
    joined = draft.sentences[place].rstrip(".!?") + ", and " + first_up(draw.choice(others), up=False)
    return draft.with_sentence(place, joined)


def _title(draw: Random, draft: Draft, value: str, meet: bool, spare: Sequence[str]) -> Draft:
    return replace(draft, title=draw.choice(TITLES) if meet else None)


BENDS: Mapping[str, Bend] = {
    "short": _short,
    "sentences": _sentences,
    "items": _items,
    "language": _language,
    "include": _include,
    "avoid": _avoid,
    "digit": _digit,
    "no digit": _no_digit,
    "quote": _quote,
    "end": _end,
    "question": _question,
    "first": _first,
    "title": _title,
    "lower case": _lower,
}
"""By kind, in the order in which one draft is bent by several."""
