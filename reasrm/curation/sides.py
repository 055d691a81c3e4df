"""What gives the winner away without reading: is the chosen response the longer one, is it listed first?

Three shares are reported, before and after balancing:

- `longer`: the chosen response has more characters, among rows whose responses differ in length. A judge can learn to
  prefer length from a skewed set, so this one can be balanced, by dropping drawn rows of the commoner kind.
- `listed_first`: the source file lists the chosen response first, among rows of files that have an order and a label.
  It says how the data was made. It is never shown to a judge: which response comes first is drawn by
  `PreferencePair.present` from id and seed alone, so there is nothing to balance.
- `shown_first`: what that draw gives with the curation's seed. It is a half within chance for any data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reasrm.curation.config import BalanceSection
from reasrm.curation.ledger import DropLedger
from reasrm.curation.store import RowStore
from reasrm.curation.text import mix

__all__ = ["balance_lengths", "num_to_drop", "side_report"]

_SALT = np.uint64(0x6A09E667F3BCC909)


def side_report(store: RowStore) -> dict[str, Any]:
    """Return the three shares over the rows that are left, with their counts, and mean lengths of both sides."""
    alive = store.alive
    flipped = store.flipped[alive] > 0
    columns = [store.column(name)[alive].astype(np.int64) for name in ("len_chosen", "len_rejected")]
    chosen, rejected = np.where(flipped, columns[::-1], columns)
    listed = store.column("listed")[alive]
    known = listed >= 0
    shown = (store.column("shown")[alive] == 1) ^ flipped
    return {
        "longer": _share(chosen > rejected, chosen != rejected),
        "listed_first": _share((listed == 1) ^ flipped, known),
        "shown_first": _share(shown, np.ones_like(shown)),
        "mean_chosen_characters": float(chosen.mean()) if len(chosen) else None,
        "mean_rejected_characters": float(rejected.mean()) if len(rejected) else None,
    }


def _share(hits: Any, among: Any) -> dict[str, Any]:
    total = int(np.count_nonzero(among))
    return {"share": int(np.count_nonzero(hits & among)) / total if total else None, "n": total}


def num_to_drop(num_more: int, num_less: int, highest: float) -> int:
    """Return how many of `num_more` rows must go for their share to be at most `highest`."""
    allowed = math.floor(num_less * highest / (1.0 - highest) + 1e-9)
    return max(num_more - allowed, 0)


def balance_lengths(store: RowStore, section: BalanceSection, ledger: DropLedger) -> None:
    """Drop rows of the commoner kind, lowest draw first, until the share of longer chosen responses is within.

    Rows whose responses are equally long stay. Independent of the order of the rows.
    """
    ledger.begin("balance")
    rows = np.flatnonzero(store.alive)
    difference = store.column("len_chosen")[rows].astype(np.int64) - store.column("len_rejected")[rows]
    difference = np.where(store.flipped[rows] > 0, -difference, difference)
    longer, shorter = rows[difference > 0], rows[difference < 0]
    lowest, highest = section.longer
    for kind, reason, excess in (
        (longer, "chosen_longer", num_to_drop(len(longer), len(shorter), highest)),
        (shorter, "chosen_shorter", num_to_drop(len(shorter), len(longer), 1.0 - lowest)),
    ):
        # Not the draw that chose among duplicates: those that are left have low ones.
        draws = mix(store.column("draws")[kind] ^ _SALT)
        for index in sorted(kind[np.lexsort((kind, draws))[:excess]].tolist()):
            ledger.drop_stored("balance", reason, store, index)
