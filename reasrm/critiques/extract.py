"""Core arguments of a written critique, by rules: no model, no network, the same on every machine.

RM-NLHF lets one call of a large model extract, match and count (released prompt); its extraction rules are: an argument
is about one response and for or against it, repeats count once, and a fatal error (critical factual error, harm, a
fundamental misunderstanding) is marked. These rules read the same from text: lines and list items, sentences, clauses;
each with its side (`naming`) and stance (`wording`). A clause without a name speaks of the response last named. A
clause about both sides gives an argument for each; a comparison is for one and against the other. Text that only says
who wins, praises and faults nothing, or speaks of no response gives none; what follows `because` has the stance of what
precedes it, whatever its words. Words inside double quotes are the responses', not the judge's, and have no stance;
blocks of code and of formulas are passed over, and so is the solution that a judge writes of its own (`My answer:`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from reasrm.critiques.naming import Named, Names, names_in
from reasrm.critiques.wording import Stance, content_stems, is_verdict_only, stance_of, words_of
from reasrm.records import CoreArgument, Side

__all__ = ["content_key", "core_arguments", "distinct", "favoured_side"]

_ITEM = re.compile(r"^\s*(?:[-*•+–]|\(?\d{1,3}[.)]|#{1,6})\s+")
# `[[A>>B]]` is a verdict and names nobody.
_MARKUP = re.compile(
    r"\*\*|__|`|^#{1,6}\s|\[\[\s?[AB]\s?[<>=]{1,2}\s?[AB]\s?\]\]|(?<!\S)\*(?=\S)|(?<=\S)\*(?!\S)"
)
_SENTENCE = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[A-Z0-9\"'(\[*])|;\s")
_CONTRAST = re.compile(
    r"(?i)(,?\s+(?:but|while|whereas|although|though|because|yet)\s+|,?\s+however,?\s+|(?<=\w),?\s+since\s+"
    r"|,?\s+as\s+(?=(?:it|they)\s))"
)
# What is granted ends where the next clause begins: `While it is clear, it misses the point`.
_GRANTS = re.compile(r"(?i)^\W*(?:although|despite|though|while|whereas)\b")
_GRANTED = re.compile(
    r",\s+(?=(?:an?|both|it|its|neither|overall|some|that|the|their|there|these|they|this)\b|[A-Z])"
)
_REASONS = ("because", "since", "as")
_AND = re.compile(r",\s+(?:and\s+)?|\s+and\s+")
_QUOTED = re.compile(r"[\"“][^\"“”\n]*[\"”]")
_NO_BLANK = "\0"  # holds a quotation together while its sentence is split
_WORDS = r"[\w()\[\]'’&/,-]+"
_HEADING = re.compile(rf"(?i)^(?:{_WORDS}\s+){{0,6}}{_WORDS}\s*:\s*$")
_MARKED_HEADING = re.compile(rf"^\s*(?:#{{1,6}}\s+|\*\*)(?:{_WORDS}\s+){{0,6}}{_WORDS}(?:\*\*)?\s*$")
# `- **Correctness:** ...`, `1. Assistant B: ...`: what comes before the colon has no stance of its own.
_LABEL = re.compile(
    rf"^(?:\*\*|__)?(?P<label>(?:{_WORDS}\s){{0,5}}{_WORDS})(?:\*\*|__)?:(?:\*\*|__)?\s+(?=\S)"
)
_SAYS = re.compile(r"(?i)\b(?:is|are|was|were|has|have|does|do|did|fails?|misses|lacks?|not)\b")
_JUDGES_OWN = re.compile(
    r"(?i)^\W*(?:the |generating )?my (?:own )?(?:answer|solution|response|calculation|approach)\b"
)
_PLANS = re.compile(
    r"(?i)\b(?:we (?:need|should|must|have) |let['’]?s |let us |here(?:['’]s| is| are)\b"
    r"|whether (?:they|the|both|each) |which (?:one|response|output|answer|assistant)\b)"
)
_BLOCKS = {"```": "```", "\\[": "\\]", "$$": "$$"}
# What can follow `and` as a judgment of its own: it has a verb.
_PREDICATE = re.compile(
    r"(?i)^(?:\w+ ){0,2}(?:not|it|this|that|they|which|is|are|was|were|has|have|had|do|did|can|could|may|might|would"
    r"|\w{2,}(?:(?<![us])s|ed|ing))\b"
)
_PRAISES = re.compile(r"(?i)\b(?:strengths?|pros|advantages?|positives?)\b")
_FAULTS = re.compile(r"(?i)\b(?:weakness(?:es)?|cons|disadvantages?|drawbacks?|negatives?)\b")
_FATAL = re.compile(
    r"(?i)\b(?:fatal\w*|harm(?:ful|s)?|danger\w*|fabricat\w*|hallucinat\w*|toxic|illegal"
    r"|(?:completely|entirely|totally|fundamental\w*|critical\w*) (?:\w+ )?"
    r"(?:wrong|incorrect|false|flaw\w*|misunderst\w+|oversight|error\w*)"
    r"|factual(?:ly)? (?:wrong|incorrect|inaccura\w+|false|error\w*|mistake\w*))\b"
)
_LONGEST_NAME = 80
_SLIGHT = re.compile(r"(?i)\b(?:minor|small|slight(?:ly)?|tiny)\b")


def core_arguments(
    text: str, *, about: Side | None = None, repeats: bool = False
) -> tuple[CoreArgument, ...]:
    """Return the core arguments of a text, in its order.

    Args:
        text: A critique in free text.
        about: The response that an unnamed subject means before any is named (feedback on one response).
        repeats: Keep an argument that says what an earlier one says.
    """
    found: list[CoreArgument] = []
    names = names_in(text, single=about is not None)
    unnamed = current = Named((about,) if about else ())
    leaning: Stance | None = None
    for line in _prose(text):
        head, plain, heading = _read_line(line)
        leaning = _leaning(head) if head else leaning if _ITEM.match(line) else None
        for part in (head, plain):
            if _JUDGES_OWN.match(part):
                current = unnamed
        named = names.roles(head)
        current = named if named.about else current
        for clause, reason in () if heading else _clauses(plain, names):
            named = names.roles(clause)
            if named.about and reason and not set(named.about) & set(current.about):
                reason = _other(reason)
            current = named if named.about else current
            sides = named if named.about else Named(current.about)
            found.extend(_arguments(clause, sides, leaning or reason, names))
    return tuple(found) if repeats else distinct(found)


def distinct(
    arguments: Iterable[CoreArgument], key: Callable[[str], Hashable] | None = None
) -> tuple[CoreArgument, ...]:
    """Return the arguments without repeats: first mentions, fatal if any is.

    Args:
        arguments: Repeats have the same side, stance and key.
        key: What two texts share that say the same; `content_key` unless given.
    """
    kept: dict[object, CoreArgument] = {}
    for argument in arguments:
        said = (argument.about, argument.stance, (key or content_key)(argument.text))
        first = kept.setdefault(said, argument)
        if argument.fatal and not first.fatal:
            kept[said] = replace(first, fatal=True)
    return tuple(kept.values())


def favoured_side(arguments: Iterable[CoreArgument]) -> Side | None:
    """Return the side that the arguments speak for, each counting one; None if they balance."""
    balance = sum(1 if (a.about == "A") is (a.stance == "for") else -1 for a in arguments)
    return None if not balance else "A" if balance > 0 else "B"


def content_key(text: str) -> frozenset[str]:
    """Return what two texts share that say the same: content-word stems, or all words where there are none."""
    return content_stems(text) or frozenset(words_of(text))


def _prose(text: str) -> Iterator[str]:
    """Yield the lines outside blocks of code and formulas; a block without an end is none."""
    held: list[str] = []
    closing: str | None = None
    for line in text.splitlines():
        bare = line.strip()
        if closing is not None:
            held.append(line)
            if bare == closing:
                held, closing = [], None
            continue
        opening = "```" if bare.startswith("```") and "```" not in bare[3:] else bare
        closing = _BLOCKS.get(opening)
        if closing is None:
            if bare:
                yield line
        else:
            held = [line]
    yield from held


def _read_line(line: str) -> tuple[str, str, bool]:
    """Return a line's heading or label, its text without markup, and whether it is a heading."""
    item = _ITEM.sub("", line)
    plain = _plain(item)
    if _HEADING.match(plain) or _MARKED_HEADING.match(line):
        return plain, plain, True
    label = _LABEL.match(item) if item != line or item.startswith("**") else None
    if label is None or _SAYS.search(label["label"]):
        return "", plain, False
    return _plain(label["label"]), _plain(item[label.end() :]), False


def _plain(line: str) -> str:
    """Return the line without markup; one blank between words keeps every pattern linear."""
    return " ".join(_MARKUP.sub("", line).split())


def _leaning(head: str) -> Stance | None:
    return "for" if _PRAISES.search(head) else "against" if _FAULTS.search(head) else None


def _other(stance: Stance) -> Stance:
    return "for" if stance == "against" else "against"


def _arguments(clause: str, named: Named, given: Stance | None, names: Names) -> Iterator[CoreArgument]:
    """Yield what a clause argues; `given` is the stance that its heading or the verdict before it says."""
    stance = (given or _own_stance(clause)) if named.about else None
    if stance is None or _JUDGES_OWN.match(clause) or _PLANS.search(clause):
        return
    sides = [(side, stance) for side in named.about]
    if named.against is not None:
        sides.append((named.against, _other(stance)))
    for side, own in sides:
        wording = names.neutral(clause, side)
        if is_verdict_only(wording):
            return
        yield CoreArgument(side, own, wording, fatal=own == "against" and _is_fatal(clause))


def _is_fatal(clause: str) -> bool:
    return _FATAL.search(clause) is not None and _SLIGHT.search(clause) is None


def _clauses(line: str, names: Names) -> Iterator[tuple[str, Stance | None]]:
    """Yield each clause, with the stance of the clause whose reason it is (`A is better because ...`)."""
    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _NO_BLANK), line)
    for sentence in _SENTENCE.split(whole):
        parts = _CONTRAST.split(sentence)
        before = ""
        for joint, part in zip(["", *parts[1::2]], parts[::2], strict=True):
            reason = _own_stance(before) if joint.strip(" ,").lower() in _REASONS else None
            granted = _GRANTED.split(part, 1) if _GRANTS.match(part) else [part]
            clauses = [
                clause.replace(_NO_BLANK, " ").strip(" ,.")
                for half in granted
                for clause in _at_and(half, names)
            ]
            yield from ((clause, reason) for clause in clauses if clause)
            before = clauses[-1]


def _at_and(part: str, names: Names) -> Iterator[str]:
    """Split at `and` and commas where a new judgment begins: another subject, or the opposite stance.

    Both sides of the place must judge; `A and B are correct` and `clear, short and correct` stay whole.
    """
    pieces = _AND.split(part)
    clause, judged = pieces[0], _own_stance(pieces[0])
    for joint, piece in zip((place[0] for place in _AND.finditer(part)), pieces[1:], strict=True):
        stance = _own_stance(piece, deeds=False) if _PREDICATE.match(piece) else None
        named = names.starts(piece)
        if judged is not None and (
            (named and not names.ends(clause[-_LONGEST_NAME:]))
            or (stance not in (None, judged) and not named)
        ):
            yield clause
            clause, judged = piece, _own_stance(piece)
        else:
            clause, judged = clause + joint + piece, judged or _own_stance(piece)
    yield clause


@lru_cache(maxsize=64)  # a clause is asked about where it is cut and where it is read
def _own_stance(text: str, *, deeds: bool = True) -> Stance | None:
    return stance_of(_QUOTED.sub(" ", text), deeds=deeds)
