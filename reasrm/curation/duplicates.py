"""Rows that say the same as another: equal in normal form, or near by Jaccard similarity.

Of several equal or near rows the one with the lowest seeded draw by id is kept, so the result does not depend on the
order of the rows (of rows that share an id because it comes from their equal content, the first is kept). Near rows are
decided in that order, too: a row is dropped if a kept one is near, so every dropped row names a kept partner with its
similarity, and a chain of near rows does not drop what is far from everything kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reasrm.curation.config import DuplicatesSection, NearSection
from reasrm.curation.ledger import DropLedger
from reasrm.curation.near import NearIndex, band_probability
from reasrm.curation.store import RowStore
from reasrm.curation.text import WordHasher, shingles

__all__ = ["drop_equal", "drop_near", "near_report"]

OnRow = Callable[[int], None]


def drop_equal(store: RowStore, section: DuplicatesSection, ledger: DropLedger) -> None:
    """Keep one of several rows of equal normal form; equal pairs with opposite labels are a conflict of their own.

    Args:
        store: The rows.
        section: What is compared, and what happens to conflicts.
        ledger: Where drops are noted.
    """
    ledger.begin("exact_duplicates")
    by_pair = section.unit == "pair"
    labels = store.column("chosen_is_lower")
    for members in _groups(store, by_pair):
        kept: dict[int, int] = {}
        conflict = by_pair and len({int(labels[index]) for index in members}) > 1
        for index in members:
            first = kept.setdefault(int(labels[index]) if conflict else 0, index)
            if first != index:
                partner = store.get(first).data()["id"]
                ledger.drop_stored("exact_duplicates", "duplicate", store, index, partner=partner)
        if conflict and section.on_conflict == "drop":
            names = {index: store.get(index).data()["id"] for index in kept.values()}
            for index in names:
                partner = next(name for other, name in names.items() if other != index)
                ledger.drop_stored("exact_duplicates", "label_conflict", store, index, partner=partner)


def _groups(store: RowStore, by_pair: bool) -> Iterator[list[int]]:
    """Yield the rows of each key that occurs more than once, lowest draw first."""
    alive = np.flatnonzero(store.alive)
    draws = store.column("draws")[alive]
    names = ("pair_low", "pair_high") if by_pair else ("prompts",)
    keys = [store.column(name)[alive] for name in names]
    order = np.lexsort((alive, draws, *keys))
    same = np.ones(max(len(alive) - 1, 0), dtype=np.bool_)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    bounds = np.flatnonzero(np.concatenate(([True], ~same))) if len(alive) else np.empty(0, dtype=np.int64)
    sizes = np.diff(np.concatenate((bounds, [len(alive)])))
    for start, size in zip(bounds[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield alive[order[start : start + size]].tolist()


def drop_near(
    store: RowStore,
    unit: str,
    section: NearSection,
    ledger: DropLedger,
    folder: Path,
    seed: int,
    on_indexed: OnRow | None = None,
    on_compared: OnRow | None = None,
) -> dict[str, Any]:
    """Drop rows that are near a kept one; return what the report says about the search.

    Args:
        store: The rows.
        unit: What is compared: `pair` or `prompt`.
        section: When two are near.
        ledger: Where drops are noted.
        folder: Where to spill.
        seed: Of the hash functions.
        on_indexed: Called with the rows indexed so far.
        on_compared: Called with the rows walked so far.
    """
    ledger.begin("near_duplicates")
    hasher = WordHasher(symbols=True)
    index = NearIndex(folder, section, seed)
    for _, row in store.rows(on_indexed):
        index.add(shingles([hasher.hashes(text) for text in _texts(row.data(), unit)], section.ngram))
    rows = np.flatnonzero(store.alive)
    order: npt.NDArray[np.int64] = np.lexsort((rows, store.column("draws")[rows]))
    for text, near in index.walk(order, on_compared):
        if not near:
            index.admit()
            continue
        partner, similarity = near[0]
        ledger.drop_stored(
            "near_duplicates",
            "near_duplicate",
            store,
            int(rows[text]),
            partner=store.get(int(rows[partner])).data()["id"],
            jaccard=round(similarity, 4),
        )
    return near_report(index, section)


def near_report(index: NearIndex, section: NearSection) -> dict[str, Any]:
    """Return how a search for near-duplicates was made and how sure it is."""
    width = index.width
    return {
        "threshold": section.threshold,
        "bands": index.num_bands,
        "values_per_band": width,
        "probability_at_threshold": round(band_probability(section.threshold, index.num_bands, width), 4),
        "compared": index.num_compared,
        "crowded_bands": index.num_crowded,
    }


def _texts(line: dict[str, Any], unit: str) -> Iterator[str]:
    for turn in line["prompt"]:
        yield turn["content"]
    if unit == "pair":
        yield line["chosen"][0]["content"]
        yield line["rejected"][0]["content"]
