"""Seeded splits by prompt: equal prompts, and near ones, are never in two splits.

Prompts that are near each other (and those near to these, and so on) form one group. A group is placed by a seeded
draw of the lowest prompt key in it, so the order of rows does not matter. Shares cut the range of the draw: adding rows
moves no prompt that is there already, unless it joins two groups; sizes come out within chance. Counts are filled
first, with the groups of lowest draw that fit, so a count is met exactly or, where large groups leave a gap, not quite.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reasrm.curation.config import SplitsSection
from reasrm.curation.duplicates import OnRow, near_report
from reasrm.curation.near import Ints, NearIndex
from reasrm.curation.store import RowStore
from reasrm.curation.text import Hashes, WordHasher, mix, shingles
from reasrm.errors import InputError

__all__ = ["assign_groups", "split_rows"]

Labels = npt.NDArray[np.int16]
_SALT = np.uint64(0xBB67AE8584CAA73B)


def split_rows(
    store: RowStore,
    section: SplitsSection,
    folder: Path,
    seed: int,
    salt: int,
    on_indexed: OnRow | None = None,
    on_compared: OnRow | None = None,
) -> tuple[Labels, dict[str, Any]]:
    """Return the split of every row, by number (-1 for rows that are not alive), and the report.

    Args:
        store: The rows.
        section: Names and sizes.
        folder: Where to spill.
        seed: Of the hash functions.
        salt: 64 bits that the draws depend on.
        on_indexed: Called with the prompts indexed so far.
        on_compared: Called with the prompts walked so far.

    Raises:
        InputError: A split would be empty.
    """
    rows = np.flatnonzero(store.alive)
    keys, first, key_of_row = np.unique(store.column("prompts")[rows], return_index=True, return_inverse=True)
    draws = mix(keys ^ np.uint64(salt))
    group_of_key: Ints = np.arange(len(keys), dtype=np.int64)
    report: dict[str, Any] = {"prompts": len(keys)}
    if section.near is not None and len(keys):
        in_file_order = np.argsort(first)
        index = NearIndex(folder, section.near, seed)
        hasher = WordHasher(symbols=True)
        for _, row in store.rows(on_indexed, which=rows[first[in_file_order]]):
            turns = [hasher.hashes(turn["content"]) for turn in row.data()["prompt"]]
            index.add(shingles(turns, section.near.ngram))
        group_of_key = _join(index, in_file_order, draws, on_compared)
        report["near"] = near_report(index, section.near)
    groups = group_of_key[key_of_row]
    sizes = np.bincount(groups, minlength=len(keys))
    # A group is named by its first key, which is its lowest, since `np.unique` sorts: so its draw is of that key.
    split_of_group = assign_groups(draws, sizes, section.sizes)
    labels: Labels = np.full(len(store), -1, dtype=np.int16)
    labels[rows] = split_of_group[groups]
    _refuse_empty(labels, section, len(rows))
    return labels, {**report, "groups": int(np.count_nonzero(sizes))}


def _join(index: NearIndex, keys: Ints, draws: Hashes, on_compared: OnRow | None) -> Ints:
    """Return for every prompt key the lowest of those it hangs together with.

    Args:
        index: The prompts.
        keys: The key of each text of the index.
        draws: The draw of each key: the order of walking.
        on_compared: Called with the prompts walked so far.
    """
    parents = array("q", range(len(index)))

    def find(key: int) -> int:
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    order: Ints = np.argsort(draws[keys], kind="stable")
    for text, near in index.walk(order, on_compared):
        for other, _ in near:
            low, high = sorted((find(int(keys[text])), find(int(keys[other]))))
            parents[high] = low
        index.admit()
    return np.fromiter(map(find, range(len(index))), dtype=np.int64, count=len(index))


def assign_groups(draws: Hashes, sizes: Ints, splits: Mapping[str, float | int | str]) -> Labels:
    """Return the split of every group, by number in the order of `splits`.

    Args:
        draws: (G,) a draw per group.
        sizes: (G,) rows per group; 0 for what is no group.
        splits: Name → share, count or `rest`.
    """
    chosen = np.full(len(draws), -1, dtype=np.int16)
    order = np.argsort(draws, kind="stable")
    free = order[sizes[order] > 0]
    for number, size in enumerate(splits.values()):
        if isinstance(size, int):
            taken = _fill(sizes[free], size)
            chosen[free[taken]] = number
            free = free[~taken]
    low, sized = 0.0, list(splits.values())
    last = sized.index("rest") if "rest" in sized else -1
    # Another draw than the one that counts were filled by: the groups that are left have high ones.
    places = mix(draws[free] ^ _SALT) / float(2**64)
    for number, size in enumerate(sized):
        if isinstance(size, float):
            chosen[free[(places >= low) & (places < low + size)]] = number
            low += size
            last = last if "rest" in sized else number
    chosen[free[chosen[free] < 0]] = last
    return chosen


def _fill(sizes: Ints, count: int) -> npt.NDArray[np.bool_]:
    """Which of some groups, in their order, are taken to make up a number of rows; one that is too large is passed."""
    taken = np.zeros(len(sizes), dtype=np.bool_)
    for place, size in enumerate(sizes.tolist()):
        if count == 0:
            break
        if size <= count:
            taken[place] = True
            count -= size
    return taken


def _refuse_empty(labels: Labels, section: SplitsSection, num_rows: int) -> None:
    for number, (name, size) in enumerate(section.sizes.items()):
        if not np.any(labels == number):
            raise InputError(
                f"the split {name!r} ({size}) would be empty: {num_rows} rows are left",
                place="splits",
                remedy="give it more, as a share or as a number of rows, or leave it out",
            )
