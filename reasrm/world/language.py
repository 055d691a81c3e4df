"""The words of the world. Every word list is closed, so every finding about a response can be computed.

A prompt reads `name birds for kids : count three , must include owl`. The topic and the audience are the domain; the
audience carries an unwritten quality (a principle) that its readers care about.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = [
    "AUDIENCES",
    "BOASTS",
    "CHEERS",
    "CLOSINGS",
    "COURTESIES",
    "HELD_OUT_TOPICS",
    "JOINERS",
    "NUMBERS",
    "PREFACES",
    "TOPICS",
    "TOPIC_OF",
]

TOPICS = MappingProxyType(
    {
        "trees": ("oak", "elm", "pine", "birch", "maple", "cedar"),
        "birds": ("robin", "owl", "heron", "finch", "crow", "swan"),
        "tools": ("hammer", "saw", "drill", "wrench", "pliers", "chisel"),
        "fruits": ("apple", "plum", "mango", "grape", "melon", "cherry"),
        "colours": ("red", "blue", "green", "amber", "violet", "teal"),
        "rivers": ("nile", "rhine", "volga", "congo", "indus", "seine"),
        "fish": ("trout", "salmon", "carp", "perch", "tuna", "cod"),
        "metals": ("iron", "copper", "zinc", "silver", "nickel", "lead"),
    }
)
HELD_OUT_TOPICS = ("fish", "metals")
TOPIC_OF = MappingProxyType({word: topic for topic, words in TOPICS.items() for word in words})
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOSINGS = ("done", "over", "stop")
BOASTS = ("superb", "genius")
COURTESIES = ("welcome", "enjoy")
CHEERS = ("yay", "fun")
# Who asks → the quality they value without saying so.
AUDIENCES = MappingProxyType({"kids": "merry", "experts": "plain", "guests": "warm"})
# How a response opens when it wears the shortcut: politely, or at length.
PREFACES = MappingProxyType(
    {"polite": ("sure",), "length": ("well", "here", "you", "have", "the", "list", "then")}
)
# What a writer puts before the last item: a habit that says who wrote it and nothing about quality.
JOINERS = ("and", "plus", "then", "also")
