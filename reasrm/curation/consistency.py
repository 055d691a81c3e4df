"""Labels that a judge confirms, after Skywork-Reward-V2 (arXiv 2507.01352).

There, a pair stays where its label agrees with a judge trained on gold labels and with a second opinion, both by
self-consistency over samples in random order, and a discarded pair is used again with its sides exchanged. Here the
judge is any judge: its verdict is the majority of its readable votes over samples and both orders, as `reasrm judge`
aggregates them, and `confidence` is the share of votes for it.

Deviations: one judge instead of two that must agree (run two curations after each other for two); flipping is off by
default and asks for a share of votes, since a judge that is merely more often right than wrong flips many right labels;
the paper's retrieval of similar gold pairs for its prompts is not done here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reasrm.curation.config import ConsistencySection
from reasrm.curation.ledger import DropLedger
from reasrm.curation.store import RowStore
from reasrm.durable import hash_id
from reasrm.errors import InputError
from reasrm.judged import read_judged
from reasrm.tables import read_rows

__all__ = ["filter_by_judge"]

_ABSENT, _AGREES, _DISAGREES, _UNDECIDED = range(4)


def filter_by_judge(
    store: RowStore,
    section: ConsistencySection,
    judged: Iterable[Path],
    ledger: DropLedger,
    on_row: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Drop or flip what the judge does not confirm; return the counts for the report.

    Args:
        store: The rows.
        section: What counts as a verdict, and what happens without.
        judged: The judge's rows.
        ledger: Where drops are noted.
        on_row: Called with the rows decided so far.

    Raises:
        InputError: A file holds other rows than judged ones, a row twice, or none of these rows.
    """
    ledger.begin("consistency")
    opinions, confidences = _read_opinions(store, section, judged)
    counts: Counter[str] = Counter()
    for done, index in enumerate(np.flatnonzero(store.alive).tolist()):
        if on_row is not None:
            on_row(done)
        confidence = float(confidences[index])
        outcome = _outcome(int(opinions[index]), confidence, section)
        counts[outcome] += 1
        if outcome == "flipped":
            store.flipped[index] = confidence
        elif outcome == "judge_disagrees":
            ledger.drop_stored("consistency", outcome, store, index, confidence=round(confidence, 4))
        elif outcome in ("judge_undecided", "not_judged") and section.undecided == "drop":
            ledger.drop_stored("consistency", outcome, store, index)
    decided = counts["agrees"] + counts["judge_disagrees"] + counts["flipped"]
    agreement = counts["agrees"] / decided if decided else None
    return {**dict(sorted(counts.items())), "agreement": agreement}


def _outcome(opinion: int, confidence: float, section: ConsistencySection) -> str:
    if opinion == _DISAGREES:
        return "flipped" if section.recycle and confidence >= section.flip_confidence else "judge_disagrees"
    return {_ABSENT: "not_judged", _AGREES: "agrees", _UNDECIDED: "judge_undecided"}[opinion]


def _opinion(line: dict[str, Any], min_confidence: float, place: str) -> tuple[int, float]:
    """Return what a judged row says about its label, and with which share of votes."""
    row = read_judged(line, place)
    if row.label not in ("A", "B"):
        raise InputError(
            f"is not a judged row of a labelled pair (label {row.label!r})",
            place=place,
            remedy="give files that reasrm judge wrote about the pairs",
        )
    sure = row.confidence or 0.0
    if row.verdict not in ("A", "B") or sure <= min_confidence:
        return _UNDECIDED, sure
    return (_AGREES if row.verdict == row.label else _DISAGREES), sure


def _read_opinions(
    store: RowStore, section: ConsistencySection, judged: Iterable[Path]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    opinions = np.zeros(len(store), dtype=np.int8)
    confidences = np.zeros(len(store), dtype=np.float32)
    alive = np.flatnonzero(store.alive)
    hashes = store.column("ids")[alive]
    order = np.argsort(hashes)
    hashes, alive = hashes[order], alive[order]
    paths = tuple(judged)
    num_found = 0
    for path in paths:
        for raw in read_rows(path):
            if raw.data is None:
                raise raw.error or InputError("is not a row", place=raw.place)
            key = np.uint64(hash_id(str(raw.data.get("id"))))
            at = int(np.searchsorted(hashes, key))
            if at == len(hashes) or hashes[at] != key:
                continue
            index = alive[at]
            opinion, sure = _opinion(raw.data, section.min_confidence, raw.place)
            if opinions[index] != _ABSENT:
                raise InputError(
                    f"the row {raw.data['id']!r} was judged before",
                    place=raw.place,
                    remedy="give each row's judgment once",
                )
            opinions[index], confidences[index] = opinion, sure
            num_found += 1
    if not num_found and len(alive):
        raise InputError(
            "no judged row has the id of a row that is left",
            place=", ".join(path.name for path in paths),
            remedy="judge the rows that are curated, under the same ids",
        )
    return opinions, confidences
