"""Vectors of texts, kept: references come back in every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasrm.critiques.similarity import Matrix

K = TypeVar("K", bound=Hashable)
Vector = NDArray[np.floating]


class Kept(Generic[K]):
    """Vectors by key, the least recently used dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: OrderedDict[K, Vector] = OrderedDict()

    def get(self, key: K) -> Vector | None:
        """Return the vector of a key, if it is kept."""
        if key not in self._vectors:
            return None
        self._vectors.move_to_end(key)
        return self._vectors[key]

    def update(self, vectors: dict[K, Vector]) -> None:
        """Keep vectors."""
        self._vectors.update(vectors)
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)


def encodable(text: str) -> str:
    """Return the text with unpaired surrogates replaced: tokenizers cannot take them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def unit(vectors: NDArray[np.floating]) -> Matrix:
    """Return vectors brought to length 1; a zero vector stays."""
    if not len(vectors):
        return np.zeros((0, 0))
    wide = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1.0)
