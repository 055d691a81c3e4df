"""PandaLM test set: accuracy against the majority of three annotators, a tie being a class of its own.

Unreadable and split rows are wrong: they stay in the denominator and are predictions of no class. Macro
precision, recall and F1 average the three classes; a class that is never predicted has precision 0, one that
never occurs is left out of the average.

Labels: github.com/WeOpenML/PandaLM, test set version 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasrm.metrics.intervals import Estimate, bootstrap_table
from reasrm.metrics.outcomes import RowOutcome, by_subset
from reasrm.metrics.policy import STRICT, CreditPolicy, accuracy, credit
from reasrm.metrics.rates import common_counts, common_metrics
from reasrm.metrics.result import SuiteResult
from reasrm.metrics.suite import Suite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POLICY = STRICT
_CLASSES = ("A", "B", "tie")
_NAMES = ("macro_precision", "macro_recall", "macro_f1")


def evaluate(rows: Sequence[RowOutcome], *, seed: int = 0, policy: CreditPolicy = POLICY) -> SuiteResult:
    """Return accuracy, macro scores and label counts."""
    labels = Counter(row.target for row in rows if row.target is not None)
    return SuiteResult(
        suite="pandalm",
        score=accuracy(rows, policy, seed),
        metrics={**macro_scores(rows, seed, policy), **common_metrics(rows, seed)},
        subsets={name: accuracy(part, policy, seed) for name, part in by_subset(rows).items()},
        counts={**common_counts(rows), **{f"label_{name}": labels[name] for name in labels}},
        policy=policy,
    )


def macro_scores(
    rows: Sequence[RowOutcome], seed: int = 0, policy: CreditPolicy = POLICY
) -> dict[str, Estimate]:
    """Return macro precision, recall and F1 over the rows that the policy does not leave out."""
    import numpy as np

    table = np.zeros((len(_CLASSES), len(_CLASSES) + 1))
    for row in rows:
        if row.target is not None and credit(row, policy) is not None:
            said = _CLASSES.index(row.reading) if row.reading in _CLASSES else len(_CLASSES)
            table[_CLASSES.index(row.target), said] += 1
    return bootstrap_table(table, _macro, seed)


def _macro(table: NDArray[np.float64]) -> dict[str, float]:
    import numpy as np

    occurs = table.sum(axis=1) > 0
    if not occurs.any():
        return dict.fromkeys(_NAMES, math.nan)
    hits = table.diagonal()[occurs]
    gold = table.sum(axis=1)[occurs]
    said = table[:, :-1].sum(axis=0)[occurs]
    parts = (hits / np.maximum(said, 1), hits / gold, 2 * hits / (gold + said))
    return dict(zip(_NAMES, (float(part.mean()) for part in parts), strict=True))


SUITE = Suite(
    name="pandalm",
    about="accuracy against the majority of three annotators, ties a class",
    default_spec="mt-bench",
    score=evaluate,
    policy=POLICY,
    sources=("pandalm",),
)
