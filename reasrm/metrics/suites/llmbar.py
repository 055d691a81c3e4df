"""LLMBar: accuracy of each order, and their mean, which is the suite's score.

Policy: whatever is not the target is wrong, unreadable verdicts included. Agreement between the orders is the
common metric `consistency`; `order_kappa` corrects it for chance. How many verdicts were ambiguous is
`parse_ambiguous` in the counts: what the suite's own script read leaves none, a strict reading leaves some and scores
lower, so the two must not be compared.

Rule: github.com/princeton-nlp/LLMBar, the statistics of its evaluators.
"""

from __future__ import annotations

from collections.abc import Sequence

from reasrm.metrics.outcomes import RowOutcome, by_subset
from reasrm.metrics.policy import CreditPolicy, accuracy
from reasrm.metrics.rates import common_counts, common_metrics, order_kappa
from reasrm.metrics.result import SuiteResult
from reasrm.metrics.suite import Suite

POLICY = CreditPolicy(order="mean", tie="wrong", unparsed="wrong", split="wrong")


def evaluate(rows: Sequence[RowOutcome], *, seed: int = 0, policy: CreditPolicy = POLICY) -> SuiteResult:
    """Return the LLMBar score, overall and by subset."""
    return SuiteResult(
        suite="llmbar",
        score=accuracy(rows, policy, seed),
        metrics={
            "first_order_accuracy": accuracy(rows, policy, seed, order="first"),
            "second_order_accuracy": accuracy(rows, policy, seed, order="second"),
            "both_orders_correct": accuracy(rows, policy, seed, order="both"),
            "order_kappa": order_kappa(rows, seed),
            **common_metrics(rows, seed),
        },
        subsets={name: accuracy(part, policy, seed) for name, part in by_subset(rows).items()},
        counts=common_counts(rows),
        policy=policy,
    )


SUITE = Suite(
    name="llmbar",
    about="mean of the accuracies in both orders",
    default_spec="llmbar",
    score=evaluate,
    policy=POLICY,
    sources=("llmbar",),
)
