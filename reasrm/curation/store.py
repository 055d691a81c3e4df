"""The rows under curation: their text on disk, and what decides about them in arrays, 70 bytes a row.

A row is written once and read again by every stage that needs its text. What a stage needs of all rows at once (keys,
draws, lengths, which rows are alive) is an array.
"""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from reasrm.curation.text import draw, prompt_key, text_key
from reasrm.durable import hash_id
from reasrm.records import Order, PreferencePair

__all__ = ["Incoming", "RowStore", "StoredRow"]

_NUL = b"\x00"


class Incoming(NamedTuple):
    """One row of an input file: a pair, or why it is none.

    Args:
        place: File and line.
        pair: The pair.
        reason: Why there is no pair.
        message: The same for people.
        row_id: The row's id, where it has one.
        source: The schema it was read by.
        id_is_derived: Whether equal content shares this id.
        chosen_first: Whether the file lists the chosen response first; None where its fields name the winner.
    """

    place: str
    pair: PreferencePair | None = None
    reason: str = ""
    message: str = ""
    row_id: str | None = None
    source: str | None = None
    id_is_derived: bool = False
    chosen_first: bool | None = None


class StoredRow(NamedTuple):
    """A row as it is kept: where it came from, and its line of `pairs.jsonl`."""

    place: str
    line: bytes

    def data(self) -> dict[str, Any]:
        """Return the line as an object."""
        data: dict[str, Any] = orjson.loads(self.line)
        return data


class RowStore:
    """Rows in the order they were read; `alive` says which are left.

    Attributes:
        alive: (N,) which rows are left.
        flipped: (N,) confidence with which a judge exchanged the labels; 0 where none did.
        source_names: What the column `sources` counts from.

    Columns, one value a row:

    - `draws`: a seeded draw by id; whichever of several rows has the lowest is kept.
    - `pair_high`, `pair_low`: key of prompt and responses, whichever of these is chosen.
    - `chosen_is_lower`: which of the two is; differs between equal pairs with opposite labels.
    - `prompts`, `ids`: key of the prompt, hash of the id.
    - `len_chosen`, `len_rejected`: characters.
    - `listed`: 1 or 0 where the file lists the chosen response first or second; -1 where it has no order.
    - `shown`: 1 where `PreferencePair.present` shows the chosen response first.
    - `sources`: index into `source_names`.

    Args:
        path: The file to make.
        seed: Root of the draws.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._seed = seed
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by `freeze`
        self._reader: io.FileIO | None = None
        self._offsets = array("Q", [0])
        self._columns = {name: array(kind) for name, kind in _COLUMNS.items()}
        self.source_names: list[str] = []
        self._source_numbers: dict[str, int] = {}
        self.alive: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        self.flipped: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(
        self, row: Incoming, pair: PreferencePair, line: Mapping[str, Any], base_id: str, source: str
    ) -> None:
        """Append a row.

        Args:
            row: Where it comes from.
            pair: The pair, under its final id.
            line: Its line of `pairs.jsonl`.
            base_id: Its id before repeated content was numbered; it decides the draw.
            source: What the ledger counts it under.
        """
        data = row.place.encode("utf-8", "surrogatepass") + _NUL + orjson.dumps(line)
        self._stream.write(data)
        self._offsets.append(self._offsets[-1] + len(data))
        prompt, chosen, rejected = prompt_key(pair.prompt), text_key(pair.chosen), text_key(pair.rejected)
        whole = _pair_key(prompt, chosen, rejected)
        columns = self._columns
        columns["draws"].append(draw(self._seed, "row", base_id))
        columns["pair_high"].append(int.from_bytes(whole[:8], "little"))
        columns["pair_low"].append(int.from_bytes(whole[8:], "little"))
        columns["chosen_is_lower"].append(chosen < rejected)
        columns["prompts"].append(int.from_bytes(prompt[:8], "little"))
        columns["ids"].append(hash_id(pair.id))
        columns["len_chosen"].append(min(len(pair.chosen), 2**32 - 1))
        columns["len_rejected"].append(min(len(pair.rejected), 2**32 - 1))
        columns["listed"].append(-1 if row.chosen_first is None else int(row.chosen_first))
        columns["shown"].append(pair.present(self._seed).order is Order.AB)
        columns["sources"].append(self._source_number(source))

    def freeze(self) -> None:
        """End the writing; all rows are alive."""
        self._stream.close()
        self.alive = np.ones(len(self), dtype=np.bool_)
        self.flipped = np.zeros(len(self), dtype=np.float32)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column as numpy sees it, without a copy."""
        values = self._columns[name]
        return np.frombuffer(values, dtype=_DTYPES[values.typecode]) if len(values) else np.empty(0, np.int64)

    def source(self, index: int) -> str:
        """Return the name of a row's source."""
        return self.source_names[self._columns["sources"][index]]

    @property
    def num_alive(self) -> int:
        """Rows that are left."""
        return int(np.count_nonzero(self.alive))

    def rows(
        self, on_row: Callable[[int], None] | None = None, *, which: npt.NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, StoredRow]]:
        """Yield rows with their index, in order.

        Args:
            on_row: Called with the number of rows yielded so far, before each.
            which: Indices in ascending order; by default the rows that are alive.
        """
        position = 0
        indices = np.flatnonzero(self.alive) if which is None else which
        with open(self._path, "rb", buffering=1 << 18) as stream:
            for done, index in enumerate(indices):
                start, end = self._offsets[index], self._offsets[index + 1]
                if start != position:
                    stream.seek(start)
                if on_row is not None:
                    on_row(done)
                yield int(index), _split(stream.read(end - start))
                position = end

    def get(self, index: int) -> StoredRow:
        """Return one row, alive or not."""
        if self._reader is None:
            self._reader = open(self._path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        start, end = self._offsets[index], self._offsets[index + 1]
        return _split(os.pread(self._reader.fileno(), end - start, start))

    def close(self) -> None:
        """Close the file. Calling it twice is harmless."""
        self._stream.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _source_number(self, name: str) -> int:
        if name not in self._source_numbers:
            self._source_numbers[name] = len(self.source_names)
            self.source_names.append(name)
        return self._source_numbers[name]


def _pair_key(prompt: bytes, chosen: bytes, rejected: bytes) -> bytes:
    """Return the key of a pair from the keys of its parts; exchanging the labels does not change it."""
    return blake2b(prompt + min(chosen, rejected) + max(chosen, rejected), digest_size=16).digest()


def _split(data: bytes) -> StoredRow:
    place, _, line = data.partition(_NUL)
    return StoredRow(place.decode("utf-8", "surrogatepass"), line)


_COLUMNS = {
    "draws": "Q",
    "pair_high": "Q",
    "pair_low": "Q",
    "chosen_is_lower": "b",
    "prompts": "Q",
    "ids": "Q",
    "len_chosen": "I",
    "len_rejected": "I",
    "listed": "b",
    "shown": "b",
    "sources": "I",
}
_DTYPES: dict[str, Any] = {"Q": np.uint64, "I": np.uint32, "b": np.int8}
