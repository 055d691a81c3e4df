"""A secret in other clothes: base64, hex, bytes as numbers.

A secret inside of a longer text that was encoded (`user:KEY` of Basic credentials) has one of three base64 forms, by
where it begins in a group of three bytes; the characters that it shares with its neighbours are not looked for. Texts
are long and hits are rare, so a text is first squeezed and searched for the whole of a form by `in`; only then is its
pattern, which knows line breaks, separators and the URL-safe alphabet, put to work.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Encoding", "encodings", "without_encoded"]

_SQUEEZED = str.maketrans({"-": "+", "_": "/", "\\": None, " ": None, "\n": None, "\r": None, "\t": None})
_GAPS = str.maketrans("", "", " \n\r\t:,-%\"'\\")
_ESCAPED = {"+": r"(?:[+-]|%2b|\\u002b)", "/": r"(?:\\{0,3}[/_]|%2f|\\u002f)"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One form of a secret.

    Args:
        core: What is always the same of it.
        is_hex: Whether it is looked for between separators.
        pattern: Matches it as it is written.
    """

    core: str
    is_hex: bool
    pattern: re.Pattern[str]


def encodings(secret: str) -> Iterator[Encoding]:
    """Yield the forms of a secret. Upper and lower case are taken for the same."""
    raw = secret.encode()
    for before in range(3):
        padded = b64encode(b"\0" * before + raw).decode()
        is_whole = (before + len(raw)) % 3 == 0
        core = padded.rstrip("=")[(0, 2, 3)[before] : None if is_whole else -1]
        written = r"[\s\\]*".join(_ESCAPED.get(c, re.escape(c)) for c in core)
        yield Encoding(core, False, re.compile(written, re.IGNORECASE))
    gap = r"[\s:,\"'-]{0,4}(?:0x|\\{1,2}x|%)?"
    by_twos = gap.join(f"{byte:02x}" for byte in raw)
    yield Encoding(raw.hex(), True, re.compile(rf"(?:0x|\\{{1,2}}x)?{by_twos}", re.IGNORECASE))
    numbers = [str(byte) for byte in raw]
    yield Encoding(",".join(numbers), False, re.compile(r"\s*,\s*".join(numbers)))


def without_encoded(text: str, forms: Sequence[Encoding]) -> str:
    """Return a text with every form that it holds replaced."""
    if len(text) < min((len(form.core) for form in forms), default=len(text) + 1):
        return text
    folded = text.lower()
    squeezed = folded.translate(_SQUEEZED).replace("%2b", "+").replace("%2f", "/")
    digits = folded.replace("0x", "").replace("\\x", "").translate(_GAPS)
    for form in forms:
        core = form.core.lower()
        if core in digits if form.is_hex else core in squeezed:
            text = form.pattern.sub("[key]", text)
    return text
