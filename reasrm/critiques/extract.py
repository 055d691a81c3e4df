"""Core arguments of a written critique, by rules: no model, no network, the same on every machine.

RM-NLHF lets one call of a large model extract, match and count (released prompt); its extraction rules are: an argument
is about one response and for or against it, repeats count once, and a fatal error (critical factual error, harm, a
fundamental misunderstanding) is marked. These rules read the same from text: lines and list items, sentences, clauses;
each with its side (`naming`) and stance (`wording`). A clause without a name speaks of the response last named. A
clause about both sides gives an argument for each; a comparison is for one and against the other. Text that only says
who wins, praises and faults nothing, or speaks of no response gives none. Words inside double quotes are the
responses', not the judge's, and have no stance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reasrm.critiques.naming import Named, ends_with_name, neutral, roles, starts_with_name
from reasrm.critiques.wording import Stance, content_stems, is_verdict_only, stance_of, words_of
from reasrm.records import CoreArgument, Critique, Side

__all__ = ["content_key", "core_arguments", "distinct", "read_critique"]

_ITEM = re.compile(r"^\s*(?:[-*•+–]|\(?\d{1,3}[.)]|#{1,6})\s+")
# `[[A>>B]]` is a verdict and names nobody.
_MARKUP = re.compile(r"\*\*|__|`|^#{1,6}\s|\[\[\s?[AB]\s?[<>=]{1,2}\s?[AB]\s?\]\]")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[A-Z0-9\"'(\[*])|;\s")
_CONTRAST = re.compile(
    r"(?i),?\s+(?:but|while|whereas|although|though|because|yet)\s+|,?\s+however,?\s+|(?<=\w),?\s+since\s+"
)
_AND = re.compile(r",\s+(?:and\s+)?|\s+and\s+")
_QUOTED = re.compile(r"[\"“][^\"“”\n]*[\"”]")
_HEADING = re.compile(r"(?i)^(?:[\w()\[\]'’]+\s+){0,5}[\w()\[\]'’]+\s*:\s*$")
_PRAISES = re.compile(r"(?i)\b(?:strengths?|pros|advantages?|positives?)\b")
_FAULTS = re.compile(r"(?i)\b(?:weakness(?:es)?|cons|disadvantages?|drawbacks?|negatives?)\b")
_FATAL = re.compile(
    r"(?i)\b(?:fatal\w*|harm(?:ful|s)?|danger\w*|fabricat\w*|hallucinat\w*|toxic|illegal"
    r"|(?:completely|entirely|totally|fundamental\w*|critical\w*) (?:\w+ )?"
    r"(?:wrong|incorrect|false|misunderst\w+|error\w*)"
    r"|factual(?:ly)? (?:wrong|incorrect|inaccura\w+|false|error\w*|mistake\w*))\b"
)
_LONGEST_NAME = 80
_SLIGHT = re.compile(r"(?i)\b(?:minor|small|slight(?:ly)?|tiny)\b")


def read_critique(critique: Critique) -> tuple[CoreArgument, ...]:
    """Return a critique's own core arguments, or those of its text if it lists none."""
    return distinct(critique.arguments) if critique.arguments else core_arguments(critique.text or "")


def core_arguments(text: str, *, about: Side | None = None) -> tuple[CoreArgument, ...]:
    """Return the distinct core arguments of a text, in its order.

    Args:
        text: A critique in free text.
        about: The response that an unnamed subject means before any is named (feedback on one response).
    """
    found: list[CoreArgument] = []
    current = Named((about,) if about else ())
    leaning: Stance | None = None
    for line in text.splitlines():
        # One blank between words keeps every pattern below linear.
        plain = " ".join(_MARKUP.sub("", _ITEM.sub("", line)).split())
        if _HEADING.match(plain):
            current = roles(plain) if roles(plain).about else current
            leaning = "for" if _PRAISES.search(plain) else "against" if _FAULTS.search(plain) else None
            continue
        if plain and not _ITEM.match(line):
            leaning = None
        for clause in _clauses(plain):
            named = roles(clause)
            if named.about:
                current = named
            found.extend(_arguments(clause, named if named.about else Named(current.about), leaning))
    return distinct(found)


def distinct(arguments: Iterable[CoreArgument]) -> tuple[CoreArgument, ...]:
    """Return the arguments without repeats (same side, stance and content words): first mentions, fatal if any is."""
    kept: dict[object, CoreArgument] = {}
    for argument in arguments:
        key = (argument.about, argument.stance, content_key(argument.text))
        first = kept.setdefault(key, argument)
        if argument.fatal and not first.fatal:
            kept[key] = replace(first, fatal=True)
    return tuple(kept.values())


def content_key(text: str) -> frozenset[str]:
    """Return what two texts share that say the same: content-word stems, or all words where there are none."""
    return content_stems(text) or frozenset(words_of(text))


def _arguments(clause: str, named: Named, leaning: Stance | None) -> Iterator[CoreArgument]:
    stance = leaning or _own_stance(clause)
    if stance is None:
        return
    sides = [(side, stance) for side in named.about]
    if named.against is not None:
        sides.append((named.against, "for" if stance == "against" else "against"))
    for side, own in sides:
        wording = neutral(clause, side)
        if is_verdict_only(wording):
            return
        yield CoreArgument(side, own, wording, fatal=own == "against" and _is_fatal(clause))


def _is_fatal(clause: str) -> bool:
    return _FATAL.search(clause) is not None and _SLIGHT.search(clause) is None


def _clauses(line: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(line):
        for part in _CONTRAST.split(sentence):
            yield from (clause.strip(" ,.") for clause in _at_and(part) if clause.strip(" ,."))


def _at_and(part: str) -> Iterator[str]:
    """Split at `and` and commas where a new judgment begins: another subject, or the opposite stance.

    Both sides of the place must judge; `A and B are correct` and `clear, short and correct` stay whole.
    """
    pieces = _AND.split(part)
    clause, judged = pieces[0], _own_stance(pieces[0])
    for joint, piece in zip((place[0] for place in _AND.finditer(part)), pieces[1:], strict=True):
        stance = _own_stance(piece)
        named = starts_with_name(piece)
        if judged is not None and (
            (named and not ends_with_name(clause[-_LONGEST_NAME:]))
            or (stance not in (None, judged) and not named)
        ):
            yield clause
            clause, judged = piece, stance
        else:
            clause, judged = clause + joint + piece, judged or stance
    yield clause


def _own_stance(text: str) -> Stance | None:
    return stance_of(_QUOTED.sub(" ", text))
