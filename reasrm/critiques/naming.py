"""Which response a clause names: a table of names, and the roles of the sides that it finds.

`Response A`, `Assistant B`, `Output (a)`, `Answer 2`, `the first response`, `the latter`, a bare `A` or `B` where it
cannot be an article, `both responses`, `neither answer`. Both letters follow the same rules, so a critique with its
names exchanged gives the same arguments about the other side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from reasrm.records import Side

__all__ = ["Named", "ends_with_name", "neutral", "roles", "starts_with_name"]

_SIDES: dict[str, Side] = {
    **dict.fromkeys(("a", "1", "first", "1st", "former"), "A"),
    **dict.fromkeys(("b", "2", "second", "2nd", "latter"), "B"),
}
_HEAD = "(?i:response|answer|assistant|chatbot|output|model|summary|candidate|completion|reply|solution|option|ai|bot)"
# What may follow a bare letter or ordinal that is a name. `A more`, `A clear` are an article and its noun.
_FOLLOWS = (
    "is|was|has|had|does|did|do|are|were|have|and|or|nor|but|while|whereas|because|since|as|also|not|would|should|can|"
    "may|could|in|on|with|directly|simply|over|than|by|both|correctly|wrongly|"
    # Verbs in the third person: `A misses`, and neither `A famous` nor `A less` nor `A series`.
    "(?!series)[a-z]+(?<![us])s"
)
_NAME = re.compile(
    rf"\b{_HEAD}s?\s?[#*\"'(\[]{{0,3}}(?P<label>[AB12]|(?<=[(\[])[ab])\b[*\")\]]{{0,3}}"
    rf"|\b(?:[Tt]he\s)?(?P<ordinal>(?i:first|1st|second|2nd|former|latter))\s(?:{_HEAD}\b|one\b)"
    rf"|\b[Tt]he\s(?P<alone>first|second|former|latter)(?=['’]s|[,.:;]|$|\s(?:{_FOLLOWS})\b)"
    rf"|(?<![\w'’./+#-])[\[(*]{{0,3}}(?P<letter>[AB])(?![\w+#/-])(?=['’]s|[\]),.:;*!?]|\s?$|\s(?:{_FOLLOWS})\b)[\])*]{{0,3}}"
    rf"|\b(?P<both>(?i:both|neither))(?:\sof)?(?:\s(?:the|these|two)){{0,2}}\s{_HEAD}s?\b(?!\s?[#*\"'(\[]{{0,3}}[AB12]\b)"
    rf"|\b(?P<these>(?i:the|these)(?:\stwo)?\s{_HEAD}s)\b"
    r"|\b(?P<subject>(?i:both|neither))(?=\s(?:are|were|is|have|has|do|fail|miss|lack|give|provide|of\sthem)\b)"
)
_COMPARES = re.compile(
    r"(?i)\b(?:than|unlike|compar\w+|over|versus|vs|contrast|outperform\w*|surpass\w*|beats?)\b"
)
_TURNED_ROUND = re.compile(r"(?i)^\W*(?:unlike|compared|in contrast to|in comparison)\b")
_JOIN = re.compile(r"(?i)^\s*(?:and|or|nor|&|,|/)(?:\s+(?:and|or))?\s*$")


@dataclass(frozen=True, slots=True)
class Named:
    """The sides that a clause speaks of: those its stance is about, and the one that it compares them with."""

    about: tuple[Side, ...] = ()
    against: Side | None = None


def roles(clause: str) -> Named:
    """Return what a clause speaks of.

    One name, or two joined by `and`: all of them. Two names and a word of comparison: the first against the second,
    or, after `Unlike`, the second against the first. Two names otherwise: the first, the grammatical subject.
    """
    found: list[tuple[Side, int, int]] = []
    for match in _NAME.finditer(clause):
        if match["both"] or match["these"] or match["subject"]:
            return Named(("A", "B"))
        found.append((_side(match), *match.span()))
    sides = list(dict.fromkeys(side for side, _, _ in found))
    if len(sides) < 2:
        return Named(tuple(sides))
    joined = any(one[0] != two[0] and _JOIN.match(clause[one[2] : two[1]]) for one, two in pairwise(found))
    if _TURNED_ROUND.match(clause):
        return Named((sides[1],), against=sides[0])
    if joined:
        return Named(tuple(sides))
    return Named((sides[0],), against=sides[1] if _COMPARES.search(clause) else None)


def neutral(clause: str, about: Side) -> str:
    """Return the clause with its names as `the response` (`about`) and `the other response`: it carries no letter."""

    def name(match: re.Match[str]) -> str:
        whole = match["both"] or match["these"] or match["subject"]
        return "the response" if whole or _side(match) == about else "the other response"

    return " ".join(_NAME.sub(name, clause).split())


def ends_with_name(clause: str) -> bool:
    """Tell whether nothing follows the clause's last name."""
    end = max((name.end() for name in _NAME.finditer(clause)), default=None)
    return end is not None and not clause[end:].strip()


def starts_with_name(clause: str) -> bool:
    """Tell whether the clause begins with a name."""
    return _NAME.match(clause) is not None


def _side(match: re.Match[str]) -> Side:
    return _SIDES[(match["label"] or match["ordinal"] or match["alone"] or match["letter"]).lower()]
