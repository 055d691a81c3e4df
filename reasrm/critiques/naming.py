"""Which response a clause names: tables of names, and the roles of the sides that they find.

`Response A`, `Assistant B`, `Output (a)`, `Answer 2`, `the first response`, `the latter`, a bare `A` or `B` where it
cannot be an article, `both responses`, `neither answer`. Both letters follow the same rules, so a critique with its
names exchanged gives the same arguments about the other side. A text that says `Assistant A` means the choices of an
exercise where it says `option B`, `solution 2` or `(B)`, and one about a single response (feedback) means parts of it
by `both answers` or `the second one`: there only firm names count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from reasrm.records import Side

__all__ = ["Named", "Names", "names_in"]

_SIDES: dict[str, Side] = {
    **dict.fromkeys(("a", "1", "first", "1st", "former"), "A"),
    **dict.fromkeys(("b", "2", "second", "2nd", "latter"), "B"),
}
_FIRM = "(?i:response|assistant|chatbot|output|model|summary|candidate|completion|reply|ai|bot)"
_HEAD = rf"(?:{_FIRM}|(?i:answer|solution|option))"
_MANY = (
    "(?i:responses|assistants|chatbots|outputs|models|summaries|candidates|completions|replies|bots|answers)"
)
# What may follow a bare letter or ordinal that is a name. `A more`, `A clear` are an article and its noun.
_FOLLOWS = (
    "is|was|has|had|does|did|do|are|were|have|and|or|nor|but|while|whereas|because|since|as|also|not|would|should|can|"
    "may|could|in|on|with|directly|simply|over|than|by|both|correctly|wrongly|"
    # Verbs in the third person: `A misses`, and neither `A famous` nor `A less` nor `A series`.
    "(?!series)[a-z]+(?<![us])s"
)
_LABEL = r"s?\s?[#*\"'(\[]{0,3}(?P<label>[AB12]|(?<=[(\[])[ab])\b[*\")\]]{0,3}"
# The second of two, after a name: `Assistants A and B`.
_SECOND = (
    r"|(?:(?<=\b[AB12]\sand\s)|(?<=\b[AB12]\sor\s)|(?<=[(\[][ab][)\]]\sand\s)|(?<=[(\[][ab][)\]]\sor\s))"
    r"[(\[]?(?P<second>[AB12]|(?<=[(\[])[ab])\b(?![+#/-])[)\]]?"
)
_ORDINAL = (
    rf"|\b(?:[Tt]he\s)?(?P<ordinal>(?i:first|1st|second|2nd|former|latter))\s(?:{_HEAD}\b|one\b)"
    rf"|\b[Tt]he\s(?P<alone>first|second|former|latter)(?=['’]s|[,.:;]|$|\s(?:{_FOLLOWS})\b)"
)
_LETTER = (
    r"|(?<![\w'’./+#-])[\[(*]{0,3}(?P<letter>[AB])(?![\w+#/-])"
    rf"(?=['’]s|[\]),.:;*!?]|\s?$|\s(?:{_FOLLOWS})\b)[\])*]{{0,3}}"
)
_SUBJECT_LETTER = rf"|(?:^[*]{{0,2}}|(?<=than\s)|(?<=like\s))(?P<letter>[AB])(?=['’]s\b|\s(?:{_FOLLOWS})\b)"
_BOTH = (
    rf"|\b(?P<both>(?i:both|neither))(?:\sof)?(?:\s(?:the|these|two)){{0,2}}\s(?:{_MANY}|{_HEAD})\b"
    r"(?!\s?[#*\"'(\[]{0,3}[AB12]\b|\s?[(\[][ab][)\]])"
    rf"|\b(?P<these>(?i:the|these)(?:\stwo)?\s{_MANY})\b"
    r"|\b(?P<subject>(?i:both|neither))(?=\s(?:are|were|is|have|has|do|fail|miss|lack|give|provide|of\sthem)\b)"
)
_ALL_OF_TWO = ("both", "these", "subject")
_COMPARES = re.compile(
    r"(?i)\b(?:than|unlike|compar\w+|over|versus|vs|contrast|outperform\w*|surpass\w*|beats?)\b"
)
_TURNED_ROUND = re.compile(r"(?i)^\W*(?:unlike|compared|in contrast to|in comparison)\b")
_JOIN = re.compile(r"(?i)^\s*(?:(?:and|or|nor|&|,|/)(?:\s+(?:and|or))?)?\s*$")
_LIKENED = re.compile(r"(?i)\b(?:like|as with|similar(?:ly)? to)\s(?:the\s)?[*]{0,2}$")
_LONGEST_JOIN, _LONGEST_LIKENING = 6, 20


@dataclass(frozen=True, slots=True)
class Named:
    """The sides that a clause speaks of: those its stance is about, and the one that it compares them with."""

    about: tuple[Side, ...] = ()
    against: Side | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """What counts as a name in one text."""

    pattern: re.Pattern[str]

    def roles(self, clause: str) -> Named:
        """Return what a clause speaks of.

        One name, or two joined by `and`: all of them. Two names and a word of comparison: the first against the second,
        or, after `Unlike`, the second against the first. Two names otherwise: the first, the grammatical subject. A
        name after `like` is no subject.
        """
        found: list[tuple[Side, int, int]] = []
        for match in self._found(clause):
            if match.lastgroup in _ALL_OF_TWO:
                return Named(("A", "B"))
            if not _LIKENED.search(clause[max(0, match.start() - _LONGEST_LIKENING) : match.start()]):
                found.append((_side(match), *match.span()))
        sides = list(dict.fromkeys(side for side, _, _ in found))
        if len(sides) < 2:
            return Named(tuple(sides))
        joined = any(
            one[0] != two[0] and _JOIN.match(clause[one[2] : two[1]]) for one, two in pairwise(found)
        )
        if _TURNED_ROUND.match(clause):
            return Named((sides[1],), against=sides[0])
        if joined:
            return Named(tuple(sides))
        return Named((sides[0],), against=sides[1] if _COMPARES.search(clause) else None)

    def neutral(self, clause: str, about: Side) -> str:
        """Return the clause with its names as `the response` (`about`) and `the other response`: it has no letter."""
        parts, end = [], 0
        for match in self._found(clause):
            own = match.lastgroup in _ALL_OF_TWO or _side(match) == about
            parts += [clause[end : match.start()], "the response" if own else "the other response"]
            end = match.end()
        return " ".join("".join([*parts, clause[end:]]).split())

    def ends(self, clause: str) -> bool:
        """Tell whether nothing follows the clause's last name."""
        end = max((name.end() for name in self._found(clause)), default=None)
        return end is not None and not clause[end:].strip()

    def starts(self, clause: str) -> bool:
        """Tell whether the clause begins with a name."""
        return self.pattern.match(clause) is not None

    def mentions(self, clause: str) -> Iterator[tuple[Side | None, re.Match[str]]]:
        """Yield the names in a clause and the side of each, None where it means both."""
        for match in self._found(clause):
            yield None if match.lastgroup in _ALL_OF_TWO else _side(match), match

    def _found(self, clause: str) -> Iterator[re.Match[str]]:
        """Yield the names; a second letter (`A and B`) is one only after a first."""
        end = -_LONGEST_JOIN
        for match in self.pattern.finditer(clause):
            if match.lastgroup == "second" and match.start() - end > _LONGEST_JOIN:
                continue
            end = match.end()
            yield match


_ANY = Names(re.compile(rf"\b{_HEAD}{_LABEL}{_SECOND}{_ORDINAL}{_LETTER}{_BOTH}"))
_FIRM_ONLY = Names(re.compile(rf"\b{_FIRM}{_LABEL}{_SECOND}{_ORDINAL}{_SUBJECT_LETTER}{_BOTH}"))
_LABELS = Names(re.compile(rf"\b{_FIRM}{_LABEL}"))


def names_in(text: str, *, single: bool = False) -> Names:
    """Return what counts as a name in a text.

    Args:
        text: A whole critique.
        single: Whether it is about one response, so that a word for two means parts of that.
    """
    if single:
        return _LABELS
    return _FIRM_ONLY if _LABELS.pattern.search(text) else _ANY


def _side(match: re.Match[str]) -> Side:
    return _SIDES[match[match.lastgroup or 0].lower()]
