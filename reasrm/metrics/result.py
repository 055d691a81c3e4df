"""What a suite returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasrm.metrics.intervals import Estimate
from reasrm.metrics.policy import CreditPolicy

__all__ = ["SuiteResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """A suite's numbers.

    Args:
        suite: Its name.
        score: The suite's official metric, 0..1.
        metrics: Further metrics by name; `coverage`, `consistency` and `position_a_rate` always.
        subsets: The official metric by subset, category, domain or section.
        counts: Row and judgment counts.
        policy: What the score counted.
    """

    suite: str
    score: Estimate
    metrics: Mapping[str, Estimate]
    subsets: Mapping[str, Estimate]
    counts: Mapping[str, int]
    policy: CreditPolicy

    def as_dict(self) -> dict[str, Any]:
        """Return the part of `result.json` that follows from the rows; `metrics.score` holds the interval."""
        metrics = {"score": self.score, **self.metrics}
        common = ("coverage", "consistency", "position_a_rate")
        return {
            "suite": self.suite,
            "score": self.score.value,
            "num_rows": self.counts["num_rows"],
            **{name: self.metrics[name].value for name in common},
            "metrics": {name: estimate.as_dict() for name, estimate in metrics.items()},
            "subsets": {name: estimate.as_dict() for name, estimate in self.subsets.items()},
            "counts": dict(self.counts),
            "policy": self.policy.as_dict(),
        }
