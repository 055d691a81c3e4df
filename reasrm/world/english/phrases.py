"""Closed tables of words and phrases that can be put into any English text, and taken out of it again.

They are in our own words. Numbers are written as digits throughout, so that a request can be read back.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = [
    "ENDINGS",
    "FOREIGN",
    "MARKERS",
    "NUMBERS",
    "OPENER",
    "PLACES",
    "SAYINGS",
    "STARTS",
    "TAGS",
    "TITLES",
]

OPENER = "Sure!"
"""The polite shortcut."""

PLACES = MappingProxyType(
    {
        "window": "by the window",
        "garden": "near the garden",
        "morning": "in the morning",
        "friend": "with a friend",
        "music": "to soft music",
        "winter": "in winter",
        "candle": "beside a candle",
        "holiday": "on a holiday",
        "orchard": "close to the orchard",
        "dawn": "at dawn",
        "meadow": "not far from a meadow",
        "weekend": "at the weekend",
        "sunlight": "in bright sunlight",
        "hurry": "without any hurry",
    }
)
"""A word → the phrase that brings it in at the end of a sentence."""

NUMBERS = MappingProxyType(
    {
        "for 3 hours": "for three hours",
        "at 7 every day": "at seven every day",
        "after 20 minutes": "after twenty minutes",
        "5 days a week": "five days a week",
        "on day 2": "on the second day",
        "twice in 24 hours": "twice a day",
    }
)
"""A phrase with digits → the same without."""

STARTS = ("Today", "Often", "Here", "Sometimes", "Outside", "Usually")
"""Words that can open a sentence, with a comma."""

ENDINGS = MappingProxyType(
    {
        "that is all": ", and that is all",
        "so they say": ", or so they say",
        "as it happens": ", as it happens",
        "all things considered": ", all things considered",
        "more or less": ", more or less",
    }
)
"""Last words → what is appended to a sentence to end with them."""

TAGS = (", right?", ", don't you think?", ", would you agree?")
"""What makes a question of a statement."""

TITLES = ("A Few Words", "A Short Note", "What There Is", "Notes of the Day", "In Brief", "A Small Picture")

SAYINGS = ("less is more", "slow and steady", "easy does it", "live and learn", "so far so good")

FOREIGN = MappingProxyType(
    {
        "French": (
            "La vie est belle avec des amis.",
            "Tout va bien dans le monde.",
            "Il fait beau et le ciel est clair.",
            "Le temps passe et nous restons.",
        ),
        "German": (
            "Der Tag ist noch lang.",
            "Die Welt ist klein und der Weg ist weit.",
            "Es ist gut und nicht zu viel.",
            "Das ist ein Wort mit Gewicht.",
        ),
        "Spanish": (
            "El cielo es azul y la noche es corta.",
            "Todo va bien con los amigos.",
            "La vida es larga en el campo.",
            "El tiempo vuela y no vuelve.",
        ),
    }
)
MARKERS = MappingProxyType(
    {
        "French": frozenset(
            ["la", "le", "les", "est", "et", "dans", "avec", "des", "il", "nous", "tout", "une"]
        ),
        "German": frozenset(["der", "die", "das", "ist", "und", "es", "nicht", "ein", "noch", "mit"]),
        "Spanish": frozenset(["el", "la", "los", "es", "y", "con", "en", "todo", "no", "del"]),
    }
)
"""Function words: a sentence with more of a language's than of the others', and at least two, is in that language."""
