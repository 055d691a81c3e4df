"""The kinds of demands: how a request words each, what rubrics call it, what may be asked, what excludes what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reasrm.world.english.phrases import ENDINGS, FOREIGN, PLACES, SAYINGS, STARTS

__all__ = ["KINDS", "DemandKind", "excluded"]


@dataclass(frozen=True, slots=True)
class DemandKind:
    """One kind of demand.

    Args:
        words: Its name in rubrics and critiques, `{}` for the value.
        wordings: Sentences of a request.
        values: What may be asked; none for a kind without a value.
    """

    words: str
    wordings: tuple[str, ...]
    values: tuple[str, ...] = ()

    def says(self, value: str | None) -> str:
        """Return the demand as rubrics and critiques write it."""
        return self.words.format(value)

    def read(self, text: str, forms: tuple[str, ...] = ()) -> tuple[bool, str | None]:
        """Return whether a text is the demand in one of the forms (by default as rubrics write it), and the value."""
        for form in forms or (self.words,):
            match = re.fullmatch(re.escape(form).replace(r"\{\}", "(?P<value>.+)"), text)
            if match and (not self.values or match["value"] in self.values):
                return True, match["value"] if self.values else None
        return False, None


_COUNTS = ("2", "3", "4")
KINDS: Mapping[str, DemandKind] = {
    "lower case": DemandKind(
        "lower case only",
        ("Use lower case only.", "Write without any capital letter.", "Keep every letter in lower case."),
    ),
    "question": DemandKind(
        "question at the end",
        ("End with a question.", "Close with a question.", "Let the last sentence be a question."),
    ),
    "include": DemandKind(
        'has the word "{}"',
        ('Use the word "{}".', 'Include the word "{}".', 'Work in the word "{}".'),
        tuple(PLACES),
    ),
    "avoid": DemandKind(
        'avoids the word "{}"',
        ('Do not use the word "{}".', 'Avoid the word "{}".', 'Leave out the word "{}".'),
        tuple(PLACES),
    ),
    "sentences": DemandKind(
        "exactly {} sentences",
        ("Write exactly {} sentences.", "Use {} sentences, no more and no fewer.", "Answer in {} sentences."),
        _COUNTS,
    ),
    "items": DemandKind(
        "list of {} items",
        ("Give a list of {} items.", "Make it a list with {} items.", "Answer with {} list items."),
        _COUNTS,
    ),
    "first": DemandKind(
        'starts with "{}"',
        ('Start with the word "{}".', 'Begin with "{}".', 'Let "{}" be the first word.'),
        STARTS,
    ),
    "end": DemandKind(
        'ends with "{}"',
        ('End with the words "{}".', 'Finish with "{}".', 'Let "{}" be the last words.'),
        tuple(ENDINGS),
    ),
    "quote": DemandKind(
        'quotes "{}"',
        ('Quote the saying "{}".', 'Cite "{}" in quotation marks.', 'Put "{}" in as a quotation.'),
        SAYINGS,
    ),
    "language": DemandKind(
        "{} sentence",
        ("Add a sentence in {}.", "Put in one {} sentence.", "Let one sentence be {}."),
        tuple(FOREIGN),
    ),
    "digit": DemandKind(
        "number in digits",
        ("Give a number in digits.", "Use at least one digit.", "Put in a number, written in digits."),
    ),
    "no digit": DemandKind(
        "no digits",
        ("Do not use any digits.", "Write without digits.", "Leave out all digits."),
    ),
    "short": DemandKind(
        "sentences under {} words",
        (
            "Keep every sentence under {} words.",
            "No sentence may reach {} words.",
            "Stay below {} words in each sentence.",
        ),
        ("8", "10"),
    ),
    "title": DemandKind(
        "title line",
        ("Put a title line on top.", "Begin with a title on a line of its own.", "Give it a title line."),
    ),
}
"""By name, in no order that matters."""

_EXCLUDED = (
    {"question", "end"},
    {"sentences", "items"},
    {"digit", "no digit"},
    {"first", "title"},
    {"items", "language"},
)


def excluded(kind: str, others: set[str]) -> bool:
    """Tell whether a demand of this kind cannot stand beside those."""
    return kind in others or any(kind in pair and pair & others - {kind} for pair in _EXCLUDED)
