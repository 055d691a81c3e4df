"""AlpacaEval: the win rate of the second output, the mean probability that the judge prefers it.

Source: alpaca_eval's `get_winrate` over `preference - 1`. A judge without probabilities counts 1, 0.5 or 0 by its
verdict; an unreadable row is left out, as a null preference is there. The length-controlled rate needs all models'
outputs and is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reasrm.metrics.intervals import mean_estimate
from reasrm.metrics.outcomes import RowOutcome, by_subset
from reasrm.metrics.policy import CreditPolicy
from reasrm.metrics.rates import common_counts, common_metrics
from reasrm.metrics.result import SuiteResult
from reasrm.metrics.suite import Suite

POLICY = CreditPolicy(order="row", tie="half", unparsed="exclude", split="half")
_BY_VERDICT = {"A": 0.0, "B": 1.0, "tie": 0.5, "split": 0.5}


def preference(row: RowOutcome) -> float | None:
    """Return the probability that the second output is better, None where the row is unreadable."""
    first, second = row.scores if row.scores is not None and len(row.scores) == 2 else (None, None)
    if first is not None and second is not None and math.isclose(first + second, 1.0, abs_tol=1e-9):
        return second
    return _BY_VERDICT.get(row.reading)


def evaluate(rows: Sequence[RowOutcome], *, seed: int = 0) -> SuiteResult:
    """Return the win rate, its discrete version (share above one half, ties half), and both by data set."""
    known = [(row, value) for row in rows if (value := preference(row)) is not None]
    discrete = [(value > 0.5) + 0.5 * (value == 0.5) for _, value in known]
    parts = by_subset([row for row, _ in known])
    return SuiteResult(
        suite="alpaca-eval",
        score=mean_estimate([value for _, value in known], seed),
        metrics={
            "discrete_win_rate": mean_estimate(discrete, seed),
            **common_metrics(rows, seed),
        },
        subsets={
            name: mean_estimate([value for row in part if (value := preference(row)) is not None], seed)
            for name, part in parts.items()
        },
        counts=common_counts(rows),
        policy=POLICY,
    )


SUITE = Suite(
    name="alpaca-eval",
    about="win rate of the second output, by the judge's probability where it has one",
    default_spec="mt-bench",
    score=evaluate,
    policy=POLICY,
    sources=("alpaca-eval",),
)
