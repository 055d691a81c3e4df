"""What a text shows about a demand, kind by kind: evidence that can be seen in it, and whether that meets the demand.

Evidence is a quotation (`"of the tide."`, double quotes inside it left out), what was counted one by one
(`1 The, 2 Salt`), a quotation with a count (`"The waves" 12`), or `none`. It decides alone: a finding follows from it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from reasrm.world.english.drafts import items_of, sentences_of, tokens_of
from reasrm.world.english.phrases import MARKERS
from reasrm.world.rules import NONE

__all__ = ["EVIDENCE", "evidence_of", "is_met"]

EVIDENCE = r'none|"[^"\n]*"(?: [0-9]+)?|1 [^,\n]+?(?:, [0-9]+ [^,\n]+?)*'
"""A pattern that all evidence fits."""
_QUOTED = re.compile(r'"([^"\n]+)"')


def _plain(word: str) -> str:
    return word.strip(string.punctuation).lower()


def _quote(words: Sequence[str]) -> str:
    return '"' + " ".join(words).replace('"', "") + '"' if words else NONE


def _counted(parts: Sequence[str]) -> str:
    heads = (part.split()[0].partition(",")[0].strip(string.punctuation) or "-" for part in parts)
    return ", ".join(f"{n} {head}" for n, head in enumerate(heads, 1)) or NONE


def _around(word: str, words: Sequence[str]) -> str:
    place = next((n for n, other in enumerate(words) if _plain(other) == word.lower()), None)
    return NONE if place is None else _quote(words[max(0, place - 1) : place + 1])


def _in_language(language: str, sentence: str) -> bool:
    words = [_plain(word) for word in sentence.split()]
    found = {name: sum(word in markers for word in words) for name, markers in MARKERS.items()}
    most = found.pop(language)
    return most >= 2 and most > max(found.values())


def evidence_of(kind: str, value: str | None, text: str) -> str:
    """Return what a text shows about a demand.

    Raises:
        ValueError: There is no such kind.
    """
    words, asked = tokens_of(text), value or ""
    match kind:
        case "lower case":
            return _quote([word for word in words if word != word.lower()][:1])
        case "question" | "end":
            return _quote(words[-3:])
        case "include" | "avoid":
            return _around(asked, words)
        case "sentences":
            return _counted(sentences_of(text))
        case "items":
            return _counted(items_of(text))
        case "first":
            return _quote(words[:2])
        case "quote":
            passages = _QUOTED.findall(text)
            return _quote([p for p in passages if p.lower() == asked.lower()][:1] or passages[:1])
        case "language":
            return _quote(next((s.split()[:3] for s in sentences_of(text) if _in_language(asked, s)), []))
        case "digit" | "no digit":
            return _quote([word for word in words if any(char.isdigit() for char in word)][:1])
        case "short":
            longest = max(sentences_of(text), key=lambda s: len(s.split()), default="")
            return f"{_quote(longest.split()[:2])} {len(longest.split())}" if longest else NONE
        case "title":
            return _quote(text.strip().split("\n")[0].split()[-2:])
    raise ValueError(f"no such kind: {kind!r}")


def is_met(kind: str, value: str | None, evidence: str) -> bool:
    """Tell whether a text with this evidence meets the demand."""
    inner = evidence.strip('"')
    match kind:
        case "lower case" | "avoid" | "no digit":
            return evidence == NONE
        case "question":
            return evidence.endswith('?"')
        case "include":
            return (value or "").lower() in map(_plain, inner.split())
        case "sentences" | "items":
            return evidence != NONE and evidence.count(", ") + 1 == int(value or 0)
        case "first":
            return evidence != NONE and list(map(_plain, inner.split()[:1])) == [(value or "").lower()]
        case "end":
            return " ".join(map(_plain, inner.split())) == value
        case "quote":
            return inner.lower() == value
        case "short":
            return evidence != NONE and int(evidence.rpartition(" ")[2]) < int(value or 0)
        case "title":
            return evidence != NONE and not inner.endswith((".", "!", "?"))
    return evidence != NONE  # language, digit
