"""Rows by length and by language.

Languages are told by the row's own tag. A row without one is judged by script: what share of its letters belongs to a
script in which a kept language is written. That tells Russian from English and Japanese from Korean; it cannot tell
English from French, and nothing here pretends to.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from reasrm import models
from reasrm.curation.config import LanguageSection, LengthSection, Range
from reasrm.curation.text import WordHasher
from reasrm.errors import ConfigError
from reasrm.records import PreferencePair

__all__ = ["Drop", "Filter", "language_code", "language_filter", "length_filter", "script_shares"]

Drop = tuple[str, str]
"""Why a row is dropped: reason and message."""
Filter = Callable[[PreferencePair], Drop | None]

_MAX_LETTERS = 5000
_NAMES = {
    "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "chinese": "zh", "czech": "cs", "danish": "da",
    "dutch": "nl", "english": "en", "finnish": "fi", "french": "fr", "german": "de", "greek": "el",
    "hebrew": "he", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja",
    "korean": "ko", "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "spanish": "es", "swedish": "sv", "thai": "th", "turkish": "tr", "ukrainian": "uk",
    "vietnamese": "vi",
    "ara": "ar", "arb": "ar", "ces": "cs", "deu": "de", "ell": "el", "eng": "en", "fas": "fa", "fra": "fr",
    "heb": "he", "hin": "hi", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko", "nld": "nl", "pes": "fa",
    "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "tha": "th", "tur": "tr", "ukr": "uk",
    "vie": "vi", "zho": "zh",
}  # fmt: skip
_OTHER_SCRIPTS = {
    "ar": {"Arabic"}, "bg": {"Cyrillic"}, "bn": {"Bengali"}, "el": {"Greek"}, "fa": {"Arabic"},
    "he": {"Hebrew"}, "hi": {"Devanagari"}, "ja": {"Han", "Kana"}, "ko": {"Hangul"}, "ru": {"Cyrillic"},
    "th": {"Thai"}, "uk": {"Cyrillic"}, "zh": {"Han"},
}  # fmt: skip
_SCRIPTS = {code: _OTHER_SCRIPTS.get(code, {"Latin"}) for code in set(_NAMES.values())}
_BLOCKS = (
    (0x0041, 0x024F, "Latin"), (0x0370, 0x03FF, "Greek"), (0x0400, 0x052F, "Cyrillic"),
    (0x0590, 0x05FF, "Hebrew"), (0x0600, 0x06FF, "Arabic"), (0x0750, 0x077F, "Arabic"),
    (0x0900, 0x097F, "Devanagari"), (0x0980, 0x09FF, "Bengali"), (0x0E00, 0x0E7F, "Thai"),
    (0x1100, 0x11FF, "Hangul"), (0x1E00, 0x1EFF, "Latin"), (0x1F00, 0x1FFF, "Greek"),
    (0x3040, 0x30FF, "Kana"), (0x3130, 0x318F, "Hangul"), (0x31F0, 0x31FF, "Kana"), (0x3400, 0x9FFF, "Han"),
    (0xAC00, 0xD7AF, "Hangul"), (0xF900, 0xFAFF, "Han"), (0xFB50, 0xFEFC, "Arabic"),
    (0xFF21, 0xFF5A, "Latin"), (0xFF66, 0xFF9D, "Kana"), (0x20000, 0x3FFFF, "Han"),
)  # fmt: skip
_STARTS = [start for start, _, _ in _BLOCKS]


def length_filter(section: LengthSection, place: str) -> Filter:
    """Return what finds rows out of bounds.

    Args:
        section: The bounds.
        place: The config, for errors.

    Raises:
        ConfigError: The tokenizer cannot be read.
    """
    count = _counter(section, place)

    def judge(pair: PreferencePair) -> Drop | None:
        prompt = sum(count(turn.content) for turn in pair.prompt)
        chosen, rejected = count(pair.chosen), count(pair.rejected)
        measures = (
            ("prompt", prompt, section.prompt),
            ("chosen", chosen, section.response),
            ("rejected", rejected, section.response),
            ("total", prompt + chosen + rejected, section.total),
        )
        for name, length, bounds in measures:
            reason = _out_of(bounds, length)
            if reason is not None:
                return reason, f"{name} has {length} {section.unit}, allowed are {_shown(bounds)}"
        return None

    return judge


def _out_of(bounds: Range, length: int) -> str | None:
    if bounds.min is not None and length < bounds.min:
        return "too_short"
    return "too_long" if bounds.max is not None and length > bounds.max else None


def _shown(bounds: Range) -> str:
    low = 0 if bounds.min is None else bounds.min
    return f"{low} or more" if bounds.max is None else f"{low} to {bounds.max}"


def _counter(section: LengthSection, place: str) -> Callable[[str], int]:
    if section.unit == "characters":
        return len
    if section.unit == "words":
        words = WordHasher().words
        return lambda text: len(words(text))
    from tokenizers import Tokenizer

    path = Path(models.find(section.tokenizer or ""))
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(
            f"the tokenizer {str(path)!r} cannot be read: {error}",
            place=f"{place}: length.tokenizer",
            remedy="name a tokenizer.json, or a folder that holds one",
        ) from error
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def language_code(tag: str) -> str:
    """Return the two-letter code of a tag as datasets write it (`English`, `eng_Latn`, `zh-CN`), or the tag itself."""
    word = tag.strip().lower()
    first = re.split(r"[-_]", word, maxsplit=1)[0]
    return _NAMES.get(word) or _NAMES.get(first) or first


def script_shares(text: str) -> dict[str, float]:
    """Return the share of each script among a text's first 5,000 letters; empty if it has none."""
    if text.isascii():
        return {"Latin": 1.0} if re.search("[A-Za-z]", text) else {}
    counts: Counter[str] = Counter()
    letters = filter(str.isalpha, text)
    for letter, _ in zip(letters, range(_MAX_LETTERS), strict=False):
        place = bisect_right(_STARTS, ord(letter)) - 1
        inside = place >= 0 and ord(letter) <= _BLOCKS[place][1]
        counts[_BLOCKS[place][2] if inside else "other"] += 1
    total = counts.total()
    return {script: count / total for script, count in counts.items()}


def language_filter(section: LanguageSection, place: str) -> Filter:
    """Return what finds rows of other languages.

    Args:
        section: What is kept.
        place: The config, for errors.

    Raises:
        ConfigError: Rows without a tag are to be told by script, and no script is known for a kept language.
    """
    kept = {language_code(tag) for tag in section.keep}
    scripts: set[str] = set()
    if section.untagged == "script":
        for code in sorted(kept):
            if code not in _SCRIPTS:
                raise ConfigError(
                    f"no script is known for the language {code!r}",
                    place=f"{place}: language.keep",
                    remedy="set untagged to keep or drop, or use one of " + ", ".join(sorted(_SCRIPTS)),
                )
            scripts |= _SCRIPTS[code]

    def judge(pair: PreferencePair) -> Drop | None:
        if pair.language is not None:
            code = language_code(pair.language)
            return None if code in kept else ("language", f"tagged {pair.language!r}")
        if section.untagged != "script":
            return None if section.untagged == "keep" else ("language_unknown", "has no language tag")
        text = "\n".join([*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected])
        shares = script_shares(text)
        fitting = sum(share for script, share in shares.items() if script in scripts)
        if not shares or fitting >= section.min_share:
            return None
        return "script", f"{fitting:.2f} of the letters are {' or '.join(sorted(scripts))}"

    return judge
