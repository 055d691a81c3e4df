"""A stand-in for a model that takes critiques apart and matches arguments, behind the loopback endpoint.

It does what it is told by the message alone, outside the strangers' texts: a critique's line `A for: it is short` is an
argument, `!` behind the stance makes it fatal, and two arguments make the same point if their last words are equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes import Reply, chat

CODE = re.compile(r"^\[(?:The \w+(?: [AB])?|G1), ([0-9a-f]{32})\]", re.MULTILINE)
LINE = re.compile(r"^([AB]) (for|against)(!?): (.+)$", re.MULTILINE)
Answer = Callable[[dict[str, Any]], Reply]


def user_text(payload: dict[str, Any]) -> str:
    """The last message as it arrived."""
    return str(payload["messages"][-1]["content"])


def critique_of(payload: dict[str, Any]) -> str:
    """The critique between the markers that carry the message's own code."""
    text = user_text(payload)
    code = CODE.search(text)
    assert code is not None
    start, end = (f"[{name}, {code[1]}]" for name in ("The critique", "End of the critique"))
    assert text.count(start) == text.count(end) == 1
    return text.split(start)[1].split(end)[0].strip("\n")


def arguments_of(critique: str) -> list[dict[str, Any]]:
    """What the stand-in finds in a critique."""
    return [
        {"about": about, "stance": stance, "text": text, "fatal": bool(fatal)}
        for about, stance, fatal, text in LINE.findall(critique)
    ]


def lists_of(payload: dict[str, Any]) -> dict[str, list[str]]:
    """The two lists of a matcher's question, by letter."""
    text = user_text(payload)
    code = CODE.search(text)
    assert code is not None
    found: dict[str, list[str]] = {"G": [], "R": []}
    for letter, said in re.findall(rf"^\[([GR])\d+, {code[1]}\] (.*)$", text, re.MULTILINE):
        found[letter].append(said)
    return found


def answer(payload: dict[str, Any]) -> Reply:
    """Do the work, whichever of the two it is."""
    if "[G1, " not in user_text(payload):
        return chat(json.dumps(arguments_of(critique_of(payload))))
    lists = lists_of(payload)
    last = {letter: [text.rstrip(".").split()[-1] for text in texts] for letter, texts in lists.items()}
    pairs = [
        [g, r] for g, said in enumerate(last["G"], 1) for r, meant in enumerate(last["R"], 1) if said == meant
    ]
    return chat(json.dumps(pairs))
