"""Sets of row ids that cost eight bytes an id, and a check for repeated ids over a whole file.

Ids are known by a 64-bit hash. Two different ids of a ten-million-row file share one with probability 3e-6.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["DuplicateCheck", "IdIndex", "hash_id"]

_Hashes = npt.NDArray[np.uint64]
_NUM_PARTS = 16


def hash_id(row_id: str) -> int:
    """Return the 64-bit hash by which an id is known."""
    data = row_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class IdIndex:
    """A growing set of ids: a sorted array, and a small set of what came since it was sorted.

    Args:
        hashes: Hashes to start with; taken over and sorted in place.
    """

    def __init__(self, hashes: array[int] | None = None) -> None:
        self._sorted = array("Q") if hashes is None else hashes
        if len(self._sorted):
            view(self._sorted).sort()
        self._recent: set[int] = set()

    def __contains__(self, row_id: str) -> bool:
        return self._holds(hash_id(row_id))

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, row_id: str) -> bool:
        """Add an id; return whether it was new."""
        key = hash_id(row_id)
        if self._holds(key):
            return False
        self._recent.add(key)
        if len(self._recent) > max(1 << 16, len(self._sorted) // 16):
            self._sorted.extend(self._recent)
            self._recent.clear()
            view(self._sorted).sort()
        return True

    def find(self, row_id: str) -> int | None:
        """Return the place of an id among the sorted hashes it was built from, or None."""
        return self._place(hash_id(row_id))

    def _place(self, key: int) -> int | None:
        place = bisect_left(self._sorted, key)
        return place if place < len(self._sorted) and self._sorted[place] == key else None

    def _holds(self, key: int) -> bool:
        return key in self._recent or self._place(key) is not None


class DuplicateCheck:
    """Finds repeated ids in a scan, at 8 bytes a row."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, row_id: str) -> None:
        """Note a row."""
        self._hashes.append(hash_id(row_id))

    def repeated_hashes(self) -> set[int]:
        """Return the hashes of all ids that occur more than once."""
        return {int(key) for key in repeated(self._hashes)}


def repeated(hashes: array[int]) -> _Hashes:
    """Return the values that occur more than once, sorted; part by part, so that it needs little memory."""
    values = view(hashes)
    width = (1 << 64) // _NUM_PARTS
    found = []
    for low in range(0, 1 << 64, width):
        part = np.sort(values[(values >= np.uint64(low)) & (values <= np.uint64(low + width - 1))])
        found.append(np.unique(part[1:][part[1:] == part[:-1]]))
    return np.concatenate(found)


def view(hashes: array[Any]) -> _Hashes:
    """Return an array's memory as numpy sees it; the array cannot grow while the view lives."""
    return np.frombuffer(hashes, dtype=np.uint64)
