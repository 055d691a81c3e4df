"""The suite `pairs`: accuracy on any labelled pairs.

The score is over readable rows and belongs beside its coverage, as `reasrm judge` reports it, with one
difference: a row whose orders or votes are level is readable, so it stays in, at half credit.
`accuracy_strict` counts everything but the target as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from reasrm.metrics.outcomes import RowOutcome, by_subset
from reasrm.metrics.policy import STRICT, CreditPolicy, accuracy
from reasrm.metrics.rates import common_counts, common_metrics
from reasrm.metrics.result import SuiteResult
from reasrm.metrics.suite import Suite

POLICY = CreditPolicy(order="row", tie="wrong", unparsed="exclude", split="half")


def evaluate(rows: Sequence[RowOutcome], *, seed: int = 0, policy: CreditPolicy = POLICY) -> SuiteResult:
    """Return accuracy overall and by subset."""
    return SuiteResult(
        suite="pairs",
        score=accuracy(rows, policy, seed),
        metrics={
            "accuracy_strict": accuracy(rows, STRICT, seed),
            "both_orders_correct": accuracy(rows, STRICT, seed, order="both"),
            **common_metrics(rows, seed),
        },
        subsets={name: accuracy(part, policy, seed) for name, part in by_subset(rows).items()},
        counts=common_counts(rows),
        policy=policy,
    )


SUITE = Suite(
    name="pairs",
    about="accuracy over any labelled rows",
    default_spec="rm-r1",
    score=evaluate,
    policy=POLICY,
    asks_everything=False,
)
