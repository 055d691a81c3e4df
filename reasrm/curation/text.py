"""What two texts have in common: normal forms, word n-grams as hashes, and their Jaccard similarity.

Two normal forms, for two questions. *Equal*: NFKC, case folded, runs of white space as one blank; punctuation stays, so
`2+2` is not `2-2`. *Overlapping*: the words of that form (letters and digits; a character of a script written without
blanks is a word of its own), with or without the symbols between them.

An n-gram is a polynomial of 64-bit word hashes modulo 2^64, mixed as in splitmix64: the same on every machine, and two
different n-grams share a hash with probability about 2^-64.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from reasrm.records import Conversation

__all__ = [
    "Hashes",
    "WordHasher",
    "draw",
    "jaccard",
    "mix",
    "ngrams",
    "normalise",
    "prompt_key",
    "shingles",
    "text_key",
]

Hashes = npt.NDArray[np.uint64]

# Han, kana, Thai, Lao, Khmer and Burmese are written without blanks.
_NO_BLANKS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and points that Unicode does not count as letters.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff"
_WORDS = f"[{_NO_BLANKS}]|(?:[^\\W_{_NO_BLANKS}]|[{_MARKS}])+"
_ANY = {False: re.compile(_WORDS), True: re.compile(rf"{_WORDS}|[^\w\s]|_")}
# The same on text that is ASCII and folded, six times as fast.
_ASCII = {False: re.compile("[a-z0-9]+"), True: re.compile(r"[a-z0-9]+|[^\sa-z0-9]")}
_MAX_CACHED = 1 << 18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHORT = np.uint64(0xD1B54A32D192ED03)


def normalise(text: str) -> str:
    """Return the form in which two texts are called equal."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def text_key(text: str) -> bytes:
    """Return 16 bytes that are equal for texts of equal normal form."""
    return blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def prompt_key(prompt: Conversation) -> bytes:
    """Return 16 bytes that are equal for conversations of equal roles and normal forms."""
    turns = b"".join(
        turn.role.encode("utf-8", "surrogatepass") + b"\x00" + text_key(turn.content) for turn in prompt
    )
    return blake2b(turns, digest_size=16).digest()


def draw(*parts: object) -> int:
    """Return a 64-bit number that depends on all parts and on nothing else."""
    joined = "\x00".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "little")


def mix(values: Hashes) -> Hashes:
    """Return the values with every bit depending on every bit (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class _Cache(dict[str, int]):
    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_CACHED:
            self.clear()
        data = word.encode("utf-8", "surrogatepass")
        value = self[word] = int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
        return value


class WordHasher:
    """Texts to the hashes of their words; remembers up to 262,144 words.

    Args:
        symbols: Whether a character that is neither letter, digit nor white space counts as a word.
    """

    def __init__(self, *, symbols: bool = False) -> None:
        self._any, self._ascii = _ANY[symbols], _ASCII[symbols]
        self._cache = _Cache()

    def words(self, text: str) -> list[str]:
        """Return the words of a text's normal form."""
        text = normalise(text)
        return (self._ascii if text.isascii() else self._any).findall(text)

    def hashes(self, text: str) -> Hashes:
        """Return one hash per word, in order."""
        words = self.words(text)
        return np.fromiter(map(self._cache.__getitem__, words), dtype=np.uint64, count=len(words))


def ngrams(words: Hashes, n: int) -> Hashes:
    """Return the hashes of all runs of `n` words, in order; none if there are fewer words."""
    if len(words) < n:
        return words[:0]
    count = len(words) - n + 1
    grams = words[:count].copy()
    for place in range(1, n):
        grams = grams * _FACTOR + words[place : place + count]
    return mix(grams)


def shingles(segments: Sequence[Hashes], n: int) -> Hashes:
    """Return the sorted set of n-grams of some texts; none reaches over two of them.

    A text of fewer than `n` words counts as one shingle.
    """
    parts = [
        ngrams(words, n) if len(words) >= n else ngrams(words, len(words)) ^ _SHORT
        for words in segments
        if len(words)
    ]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.uint64)


def jaccard(ours: Hashes, theirs: Hashes) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sorted sets; 0 if one is empty."""
    if not len(ours) or not len(theirs):
        return 0.0
    shared = len(np.intersect1d(ours, theirs, assume_unique=True))
    return shared / (len(ours) + len(theirs) - shared)
