"""Near-duplicates among a million texts in bounded memory: MinHash bands on disk, exact similarity at the end.

MinHash (Broder 1997) signatures come from datasketch. A signature is cut into b bands of r values; two texts of
Jaccard similarity s share a band with probability 1 - (1 - s^r)^b, and datasketch picks b and r for a threshold. Its
index holds all bands in memory, so ours does not use it: bands are spilled to 64 files by the first bits of their hash,
and one file at a time is sorted to find bands that several texts share. Only those are kept, sorted by text, again in
files. Then texts are walked in a given order, each with the earlier ones it shares a band with, and every such
candidate is compared by its true Jaccard similarity, from shingle sets that lie on disk.

Memory: 16 bytes a text; 12 bytes for every band that several texts share and 4 for every text in it (were every text
near another, with 17 bands, that is 170 bytes a text at most); and a 64th of all bands at a time. Disk: 8 bytes a
shingle and up to 20 bytes a band. A band that more than 256 admitted texts share proposes only the first 256 of them.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reasrm.curation.config import NearSection
from reasrm.curation.text import Hashes, draw, jaccard, mix

__all__ = ["NearIndex", "band_probability", "band_shape"]

_NUM_FILES = 64
_BUFFERED = 1 << 18
_MAX_MEMBERS = 256
_BAND = np.dtype([("key", np.uint64), ("text", np.uint32)])
_SHARED = np.dtype([("rank", np.uint32), ("band", np.uint32)])
Ints = npt.NDArray[np.int64]


def band_shape(threshold: float, num_perm: int) -> tuple[int, int]:
    """Return the number of bands and the values in each that fit a threshold best, as datasketch finds them.

    A pair that is missed weighs 49 times as much as one that is proposed in vain: candidates are compared exactly
    anyway. At the threshold itself that finds 96 of 100 pairs or more, with 128 values.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=min(threshold, 0.99), num_perm=num_perm, weights=(0.02, 0.98))
    return index.b, index.r


def band_probability(similarity: float, num_bands: int, width: int) -> float:
    """Return the probability that two texts of a Jaccard similarity share at least one band."""
    return 1.0 - (1.0 - similarity**width) ** num_bands


class NearIndex:
    """Texts as shingle sets, to be added once and walked once.

    Args:
        folder: Where to spill; made here, to be removed by the caller.
        section: Threshold and signature length.
        seed: Of the hash functions.
    """

    def __init__(self, folder: Path, section: NearSection, seed: int) -> None:
        import datasketch

        folder.mkdir(parents=True)
        self._folder = folder
        self.threshold = section.threshold
        self.num_bands, self.width = band_shape(section.threshold, section.num_perm)
        make: Any = datasketch.MinHash
        first: Any = make(num_perm=section.num_perm, seed=draw(seed, "minhash") % 2**32)
        self._new: Callable[[], Any] = lambda: make(
            num_perm=section.num_perm, hashfunc=int, permutations=first.permutations, scheme=first.scheme
        )
        salts = np.arange(1, self.num_bands * self.width + 1, dtype=np.uint64)
        self._salts = (mix(salts) | np.uint64(1)).reshape(self.num_bands, self.width)
        self._shingles = open(folder / "shingles", "wb")  # noqa: SIM115 - closed by `walk`
        self._ends = array("Q", [0])
        self._bands = _Spill(folder / "bands", _BAND)
        self._rank = np.empty(0, dtype=np.uint32)
        self._starts = np.empty(0, dtype=np.int64)
        self._num_members = np.empty(0, dtype=np.uint16)
        self._members = np.empty(0, dtype=np.uint32)
        self._current: tuple[int, Ints] = (-1, np.empty(0, dtype=np.int64))
        self.num_compared = 0
        self.num_crowded = 0

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, shingles: Hashes) -> None:
        """Add a text; one without shingles is never a near-duplicate."""
        text = len(self)
        self._shingles.write(shingles.tobytes())
        self._ends.append(self._ends[-1] + len(shingles))
        if not len(shingles):
            return
        signature = self._new()
        signature.update_batch((shingles & np.uint64(0xFFFFFFFF)).tolist())
        values = signature.hashvalues[: self._salts.size].astype(np.uint64).reshape(self._salts.shape)
        records = np.empty(self.num_bands, dtype=_BAND)
        records["key"] = mix((mix(values) * self._salts).sum(axis=1, dtype=np.uint64))
        records["text"] = text
        self._bands.add(records, records["key"] >> np.uint64(58))

    def walk(
        self, order: Ints, on_text: Callable[[int], None] | None = None
    ) -> Iterator[tuple[int, list[tuple[int, float]]]]:
        """Yield every text that shares a band, in order, with the admitted ones that are near and their similarity.

        Only texts that the caller admits before going on are proposed to later ones.

        Args:
            order: All texts, each once, in the order of walking.
            on_text: Called with the number of texts walked.

        Yields:
            Text and near texts, most similar first, the earlier one where equally similar.
        """
        self._shingles.close()
        self._rank = np.empty(len(self), dtype=np.uint32)
        self._rank[order] = np.arange(len(self), dtype=np.uint32)
        shared, room = self._find_shared()
        self._starts = np.cumsum(room) - room
        self._num_members = np.zeros(len(room), dtype=np.uint16)
        self._members = np.empty(int(room.sum()), dtype=np.uint32)
        with open(self._folder / "shingles", "rb", buffering=0) as stream:
            for rank, bands in shared:
                text = int(order[rank])
                self._current = (text, bands)
                if on_text is not None:
                    on_text(rank)
                yield text, self._compare(stream, text, self._candidates(bands))

    def admit(self) -> None:
        """Let the text that `walk` yielded last be proposed to later ones."""
        text, bands = self._current
        filled = self._num_members[bands].astype(np.int64)
        has_room = filled < _MAX_MEMBERS
        open_bands = bands[has_room]
        self._members[self._starts[open_bands] + filled[has_room]] = text
        self._num_members[open_bands] += np.uint16(1)
        self.num_crowded += len(bands) - len(open_bands)

    def _find_shared(self) -> tuple[Iterator[tuple[int, Ints]], Ints]:
        """Return, by rank, the numbers of the bands that a text shares with another; and the room each band needs."""
        spill = _Spill(self._folder / "shared", _SHARED)
        rooms = [np.empty(0, dtype=np.int64)]
        num_bands = 0
        for records in self._bands.parts():
            records = records[np.argsort(records["key"], kind="stable")]
            counts = _run_lengths(records["key"])
            keep = np.repeat(counts > 1, counts)
            sizes = counts[counts > 1]
            found = np.empty(int(sizes.sum()), dtype=_SHARED)
            found["rank"] = self._rank[records["text"][keep]]
            found["band"] = np.repeat(np.arange(num_bands, num_bands + len(sizes), dtype=np.uint32), sizes)
            spill.add(found, found["rank"].astype(np.uint64) * np.uint64(_NUM_FILES) // np.uint64(len(self)))
            rooms.append(np.minimum(sizes, _MAX_MEMBERS))
            num_bands += len(sizes)
        return _by_rank(spill), np.concatenate(rooms)

    def _candidates(self, bands: Ints) -> set[int]:
        found: set[int] = set()
        for start, size in zip(self._starts[bands].tolist(), self._num_members[bands].tolist(), strict=True):
            found.update(self._members[start : start + size].tolist())
        return found

    def _compare(self, stream: io.FileIO, text: int, candidates: set[int]) -> list[tuple[int, float]]:
        if not candidates:
            return []
        ours = self._read(stream, text)
        near = []
        for other in sorted(candidates, key=self._rank.__getitem__):
            self.num_compared += 1
            similarity = jaccard(ours, self._read(stream, other))
            if similarity >= self.threshold:
                near.append((other, similarity))
        return sorted(near, key=lambda item: -item[1])

    def _read(self, stream: io.FileIO, text: int) -> Hashes:
        start, end = self._ends[text], self._ends[text + 1]
        stream.seek(8 * start)
        return np.frombuffer(stream.read(8 * (end - start)), dtype=np.uint64)


def _run_lengths(values: npt.NDArray[Any]) -> Ints:
    """Return how long each run of equal values is."""
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return np.diff(np.concatenate((starts, [len(values)])))


def _by_rank(spill: _Spill) -> Iterator[tuple[int, Ints]]:
    for records in spill.parts():
        records = records[np.argsort(records["rank"], kind="stable")]
        end = 0
        for size in _run_lengths(records["rank"]).tolist():
            start, end = end, end + size
            yield int(records["rank"][start]), records["band"][start:end].astype(np.int64)


class _Spill:
    """Records on disk in 64 files by a given number; written through a buffer, read back file by file."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        folder.mkdir()
        self._folder = folder
        self._dtype = dtype
        self._records: list[npt.NDArray[Any]] = []
        self._places: list[npt.NDArray[np.uint64]] = []
        self._num_buffered = 0

    def add(self, records: npt.NDArray[Any], places: npt.NDArray[np.uint64]) -> None:
        self._records.append(records)
        self._places.append(places)
        self._num_buffered += len(records)
        if self._num_buffered >= _BUFFERED:
            self._flush()

    def parts(self) -> Iterator[npt.NDArray[Any]]:
        """Yield what went to each file, in the order of the files; a file is gone once it is read."""
        self._flush()
        for number in range(_NUM_FILES):
            path = self._folder / str(number)
            if path.exists():
                records = np.fromfile(path, dtype=self._dtype)
                path.unlink()
                yield records

    def _flush(self) -> None:
        if not self._num_buffered:
            return
        records, places = np.concatenate(self._records), np.concatenate(self._places)
        order = np.argsort(places, kind="stable")
        records, places = records[order], places[order]
        bounds = np.searchsorted(places, np.arange(_NUM_FILES + 1, dtype=np.uint64))
        for number in range(_NUM_FILES):
            part = records[bounds[number] : bounds[number + 1]]
            if len(part):
                with open(self._folder / str(number), "ab") as stream:
                    stream.write(part.tobytes())
        self._records, self._places, self._num_buffered = [], [], 0
