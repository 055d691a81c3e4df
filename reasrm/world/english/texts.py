"""Base texts: what is written about, and the sentences that responses are made of.

The file that ships, `texts.jsonl`, was written for this project and is under its licence (Apache-2.0). A user's own has
the same form, one `{"topic": "a walk by the sea", "text": "…"}` a line; a topic may have several lines. Of a text those
sentences are used that can be bent: they end with a full stop, hold 3 to 14 words, no digit and no quotation mark, and
none of the words and languages that requests ask for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

from reasrm.errors import ConfigError, InputError
from reasrm.hashing import derive_seed
from reasrm.jsonl import read_rows
from reasrm.world.english.checks import evidence_of
from reasrm.world.english.drafts import sentences_of
from reasrm.world.english.phrases import ENDINGS, FOREIGN, PLACES, SAYINGS, STARTS
from reasrm.world.rules import NONE

__all__ = ["load_texts", "part_topics"]

_FEWEST_SENTENCES = 8
_FEWEST_TOPICS = 5
_TOPIC = re.compile(r"[^\s.!?\n][^.!?\n]*[^\s.!?\n]")
_MARKED = (*tuple(f"{start.lower()}," for start in STARTS), *ENDINGS, *SAYINGS)


@lru_cache(maxsize=8)
def load_texts(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Return topic → sentences, from a file or what ships.

    Raises:
        InputError: The file cannot be read, or a row of it has no topic or text.
        ConfigError: It has too few topics, or too few sentences of one.
    """
    if path is None:
        with resources.as_file(resources.files("reasrm.world.english").joinpath("texts.jsonl")) as shipped:
            return _read(shipped)
    return _read(path)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for row in read_rows(path):
        if row.error is not None:
            raise row.error
        topic, text = ((row.data or {}).get(name) for name in ("topic", "text"))
        if not isinstance(topic, str) or not isinstance(text, str) or not _TOPIC.fullmatch(topic):
            raise InputError(
                "is no base text", place=row.place, remedy='write {"topic": "a noun phrase", "text": "…"}'
            )
        kept = found.setdefault(topic, {})
        kept.update(dict.fromkeys(filter(_can_be_bent, sentences_of(text))))
    for topic, sentences in found.items():
        if len(sentences) < _FEWEST_SENTENCES:
            raise ConfigError(
                f"the topic {topic!r} has {len(sentences)} sentences that can be bent",
                place=str(path),
                remedy=f"give it {_FEWEST_SENTENCES}: full stop at the end, 3 to 14 words, no digit, no quotation",
            )
    if len(found) < _FEWEST_TOPICS:
        raise ConfigError(f"holds {len(found)} topics", place=str(path), remedy=f"give it {_FEWEST_TOPICS}")
    return {topic: tuple(sentences) for topic, sentences in found.items()}


def _can_be_bent(sentence: str) -> bool:
    words = sentence.split()
    foreign = any(evidence_of("language", name, sentence) != NONE for name in FOREIGN)
    named = any(evidence_of("include", word, sentence) != NONE for word in PLACES)
    plain = sentence.isascii() and sentence.endswith(".") and not re.search(r'[0-9"!?:\-\[\]<>{}]', sentence)
    marked = any(mark in sentence.lower() for mark in _MARKED)
    return 3 <= len(words) <= 14 and plain and sentence[0].isupper() and not (foreign or named or marked)


def part_topics(topics: tuple[str, ...], share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the topics that training sees, and the held-out share: which these are depends on their names only."""
    held = sorted(topics, key=lambda topic: derive_seed("held-out topic", topic))
    held = held[: min(len(topics) - 1, max(1, round(share * len(topics))))]
    return tuple(t for t in topics if t not in held), tuple(t for t in topics if t in held)
