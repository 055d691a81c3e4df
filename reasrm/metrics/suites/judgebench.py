"""JudgeBench: two games per pair, one in each order; a pair is right if the games sum above zero.

The official rule credits "right once, tie or unreadable once" and denies "right once, wrong once". Order-free
scorers play one game. Beside it stand the accuracy of each order alone and of both together, which differ by
many points on the same verdicts. Categories follow the prefix of the row's subset; a subset with none of the
prefixes is `other`.

Rule: github.com/ScalerLab/JudgeBench, utils/metrics.py. `num_inconsistent` counts the rows readable in both
orders whose verdicts differ, ties being verdicts; an unreadable order shows in the parse counts instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.policy import STRICT, CreditPolicy, accuracy
from reasrm.metrics.rates import common_counts, common_metrics
from reasrm.metrics.result import SuiteResult
from reasrm.metrics.suite import Suite

POLICY = CreditPolicy(order="games", tie="null_vote", unparsed="null_vote", split="null_vote")
CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def category(subset: str | None) -> str:
    """Return the category of a subset by its prefix, `other` if it has none of the known ones."""
    name = subset or ""
    return next((value for prefix, value in CATEGORIES.items() if name.startswith(prefix)), "other")


def evaluate(rows: Sequence[RowOutcome], *, seed: int = 0, policy: CreditPolicy = POLICY) -> SuiteResult:
    """Return the JudgeBench score, overall and by category."""
    parts: defaultdict[str, list[RowOutcome]] = defaultdict(list)
    for row in rows:
        parts[category(row.subset)].append(row)
    return SuiteResult(
        suite="judgebench",
        score=accuracy(rows, policy, seed),
        metrics={
            "both_orders_correct": accuracy(rows, STRICT, seed, order="both"),
            "first_order_accuracy": accuracy(rows, STRICT, seed, order="first"),
            "second_order_accuracy": accuracy(rows, STRICT, seed, order="second"),
            **common_metrics(rows, seed),
        },
        subsets={
            name: accuracy(parts[name], policy, seed)
            for name in (*CATEGORIES.values(), "other")
            if name in parts
        },
        counts=common_counts(rows),
        policy=policy,
    )


SUITE = Suite(
    name="judgebench",
    about="share of pairs whose two games sum above zero (+1 right, −1 opposite, 0 tie or unreadable)",
    default_spec="arena-hard",
    score=evaluate,
    policy=POLICY,
    sources=("judgebench",),
)
