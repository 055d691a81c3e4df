"""Which training prompts are, or share text with, a benchmark's prompts.

Three ways to overlap, the first that applies is reported:

- `exact`: the whole conversations have one normal form; a benchmark prompt of one turn is also compared with every user
  turn.
- `ngram`: a run of 13 words (GPT-3's procedure, arXiv 2005.14165, appendix C) stands in both. With `min_share`, only
  if that much of the benchmark prompt's n-grams does, which tells a copied question from a shared phrase.
- `whole`: a benchmark prompt of fewer words stands as a whole in the row's prompt.

Benchmarks are held in memory: 16 bytes per n-gram, and each prompt's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reasrm.curation.config import DecontaminationSection
from reasrm.curation.text import Hashes, WordHasher, ngrams, text_key
from reasrm.errors import InputError
from reasrm.records import Conversation
from reasrm.strictjson import dumps

__all__ = ["BenchmarkIndex", "BenchmarkPrompt", "Overlap", "OverlapFile", "OverlapFound"]

_MAX_EXAMPLES = 20


class BenchmarkPrompt(NamedTuple):
    """A benchmark row, as far as it matters here."""

    benchmark: str
    row_id: str
    prompt: Conversation


@dataclass(frozen=True, slots=True)
class Overlap:
    """A benchmark row that a training row overlaps with.

    Args:
        kind: `exact`, `ngram` or `whole`.
        benchmark: Its name.
        row_id: The benchmark row.
        share: Of the benchmark prompt's n-grams, how many the training prompt holds.
        text: The prompt's beginning, for people.
    """

    kind: str
    benchmark: str
    row_id: str
    share: float
    text: str

    def line(self, row_id: str) -> str:
        """Return the overlap of a row as a line for people."""
        return f"{row_id!r} ~ {self.benchmark} {self.row_id!r} ({self.kind}, {self.share:.2f}): {self.text!r}"

    def to_json(self) -> dict[str, Any]:
        """Return the overlap as reports show it."""
        return {
            "kind": self.kind,
            "benchmark": self.benchmark,
            "benchmark_id": self.row_id,
            "share_of_benchmark_ngrams": round(self.share, 4),
            "benchmark_text": self.text,
        }


class OverlapFound(InputError):
    """Training rows overlap with a benchmark, and nobody said what to do about it.

    Args:
        num_rows: How many do.
        num_read: Of how many.
        examples: The first of them.
    """

    def __init__(self, num_rows: int, num_read: int, examples: Sequence[str], place: str) -> None:
        self.num_rows = num_rows
        self.num_read = num_read
        self.examples = tuple(examples)
        super().__init__(
            f"{num_rows} of {num_read} rows ({num_rows / num_read:.2%}) overlap with benchmark prompts, "
            f"first: {examples[0]}",
            place=place,
            remedy="set decontaminate.on_overlap to drop (or keep, to train on them all the same)",
        )


class BenchmarkIndex:
    """The prompts of all benchmarks, ready to be looked for.

    Args:
        prompts: The prompts. Of equal prompts of one benchmark the first is kept.
        section: Length of n-grams and what counts.
    """

    def __init__(self, prompts: Iterable[BenchmarkPrompt], section: DecontaminationSection) -> None:
        self._n = section.ngram
        self._min_share = section.min_share
        self._hasher = WordHasher()
        self._names: list[tuple[str, str, str]] = []
        self._exact: dict[bytes, int] = {}
        self._single: dict[bytes, int] = {}
        self.num_prompts: dict[str, int] = {}
        short: dict[int, list[tuple[int, int]]] = {}
        long_grams: list[Hashes] = []
        seen: set[tuple[str, bytes]] = set()
        for item in prompts:
            turns = _turns(item.prompt)
            key = _conversation_key(turns)
            if (item.benchmark, key) in seen:
                continue
            seen.add((item.benchmark, key))
            number = len(self._names)
            self._names.append((item.benchmark, item.row_id, " ".join(" ".join(turns).split())[:80]))
            self.num_prompts[item.benchmark] = self.num_prompts.get(item.benchmark, 0) + 1
            self._exact.setdefault(key, number)
            if len(turns) == 1:
                self._single.setdefault(text_key(turns[0]), number)
            grams = self._grams(turns, self._n)
            long_grams.append(grams)
            if not len(grams):
                self._add_short(turns, number, section.min_words, short)
        self._num_grams = np.array([len(grams) for grams in long_grams], dtype=np.int64)
        self._long = _Postings(long_grams)
        self._short = {size: _sorted_postings(pairs) for size, pairs in sorted(short.items())}

    def find(self, prompt: Conversation) -> Overlap | None:
        """Return the benchmark row that a prompt overlaps with most, if any."""
        turns = _turns(prompt)
        number = self._exact.get(_conversation_key(turns))
        if number is None:
            keys = (text_key(turn.content) for turn in prompt if turn.role == "user")
            number = next((self._single[key] for key in keys if key in self._single), None)
        if number is not None:
            return self._overlap("exact", number, 1.0)
        return self._find_ngram(turns) or self._find_whole(turns)

    def _find_ngram(self, turns: Sequence[str]) -> Overlap | None:
        owners = self._long.owners(self._grams(turns, self._n))
        if not len(owners):
            return None
        numbers, counts = np.unique(owners, return_counts=True)
        shares = counts / self._num_grams[numbers]
        best = int(np.argmax(shares))
        if shares[best] < self._min_share:
            return None
        return self._overlap("ngram", int(numbers[best]), float(shares[best]))

    def _find_whole(self, turns: Sequence[str]) -> Overlap | None:
        if not self._short:
            return None
        words = [self._hasher.hashes(turn) for turn in turns]
        for size, (keys, numbers) in reversed(self._short.items()):
            for turn in words:
                grams = ngrams(turn, size)
                places = np.searchsorted(keys, grams)
                found = np.flatnonzero(keys[np.minimum(places, len(keys) - 1)] == grams)
                if len(found):
                    return self._overlap("whole", int(numbers[places[found[0]]]), 1.0)
        return None

    def _grams(self, turns: Sequence[str], n: int) -> Hashes:
        parts = [ngrams(self._hasher.hashes(turn), n) for turn in turns]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.uint64)

    def _add_short(
        self, turns: Sequence[str], number: int, min_words: int, short: dict[int, list[tuple[int, int]]]
    ) -> None:
        """Note a prompt without n-grams by its last turn, if that says anything at all."""
        words = self._hasher.hashes(turns[-1]) if turns else np.empty(0, dtype=np.uint64)
        if len(words) >= min_words:
            short.setdefault(len(words), []).append((int(ngrams(words, len(words))[0]), number))

    def _overlap(self, kind: str, number: int, share: float) -> Overlap:
        benchmark, row_id, text = self._names[number]
        return Overlap(kind, benchmark, row_id, share, text)


class OverlapFile:
    """The file of overlapping rows, and their counts.

    Args:
        path: The file to make.
    """

    def __init__(self, path: Path) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by `close`
        self.num_rows = 0
        self.examples: list[str] = []
        self._by_benchmark: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()

    def add(self, row_id: str, place: str, overlap: Overlap) -> None:
        """Note a row."""
        self.num_rows += 1
        self._by_benchmark[overlap.benchmark] += 1
        self._kinds[overlap.kind] += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(overlap.line(row_id))
        self._stream.write(dumps({"id": row_id, "place": place, **overlap.to_json()}) + b"\n")

    def close(self) -> None:
        """Close the file. Calling it twice is harmless."""
        self._stream.close()

    def report(self, index: BenchmarkIndex, num_read: int) -> dict[str, Any]:
        """Return the counts, in all and by benchmark."""
        return {
            "rows": self.num_rows,
            "share": self.num_rows / num_read if num_read else None,
            "kinds": dict(sorted(self._kinds.items())),
            "benchmarks": [
                {"benchmark": name, "prompts": count, "rows": self._by_benchmark[name]}
                for name, count in sorted(index.num_prompts.items())
            ],
            "examples": self.examples,
        }


class _Postings:
    """N-gram → the prompts that hold it, as two sorted arrays."""

    def __init__(self, grams: Sequence[Hashes]) -> None:
        keys = np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64)
        sizes = [len(part) for part in grams]
        owners = np.repeat(np.arange(len(grams), dtype=np.int32), sizes)
        order = np.argsort(keys, kind="stable")
        self._keys, self._owners = keys[order], owners[order]

    def owners(self, grams: Hashes) -> npt.NDArray[np.int32]:
        """Return one entry per n-gram and prompt that holds it."""
        first = np.searchsorted(self._keys, grams, side="left")
        last = np.searchsorted(self._keys, grams, side="right")
        hits = np.flatnonzero(last > first)
        if not len(hits):
            return np.empty(0, dtype=np.int32)
        return np.concatenate([self._owners[first[hit] : last[hit]] for hit in hits])


def _sorted_postings(pairs: Sequence[tuple[int, int]]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    keys = np.array([key for key, _ in pairs], dtype=np.uint64)
    numbers = np.array([number for _, number in pairs], dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    return keys[order], numbers[order]


def _turns(prompt: Conversation) -> list[str]:
    """The texts of a conversation; a system turn is the harness's, not the benchmark's."""
    return [turn.content for turn in prompt if turn.role != "system"]


def _conversation_key(turns: Sequence[str]) -> bytes:
    return blake2b(b"".join(map(text_key, turns)), digest_size=16).digest()
