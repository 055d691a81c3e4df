"""Estimates with intervals: Wilson's for proportions, percentile bootstrap for everything else.

Nothing out of nothing is not zero: with no observations the value and both limits are None. The bootstrap
resamples units that are exchangeable (rows, or groups of rows that belong together) within strata of fixed
size, and its limits are the percentiles of the resampled statistic. Units are put into a fixed order first,
so that the limits depend on the data and the seed and not on the order of the rows.

Sources: E. B. Wilson, JASA 22 (1927), without continuity correction; B. Efron and R. Tibshirani, An
Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from reasrm.errors import InternalError

if TYPE_CHECKING:  # numpy costs a tenth of a second, and Wilson's interval does not need it
    import numpy as np
    from numpy.typing import NDArray

    _Array = NDArray[np.float64]

__all__ = [
    "Estimate",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_statistic",
    "bootstrap_table",
    "clustered_mean",
    "mean_estimate",
    "wilson",
]

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval.

    Args:
        value: The point estimate, None if undefined.
        ci_low: Lower limit, None if undefined.
        ci_high: Upper limit, None if undefined.
        n: How many rows (or groups, or judgments: as the metric says) it rests on.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the JSON object that results hold."""
        return {"value": self.value, "ci_low": self.ci_low, "ci_high": self.ci_high, "n": self.n}


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """Return a proportion with Wilson's score interval.

    Args:
        successes: Count in 0..n.
        n: Independent trials; 0 gives an undefined estimate.
        level: Confidence level in (0, 1).

    Raises:
        InternalError: `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise InternalError(f"{successes} successes in {n} trials")
    if n == 0:
        return Estimate(None, None, None, 0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Estimate(p, low, high, n)


def mean_estimate(values: Sequence[float], seed: int) -> Estimate:
    """Return the mean of credits: Wilson's interval if all are 0 or 1, else the bootstrap's."""
    if all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    return bootstrap_mean(values, seed)


def clustered_mean(
    clusters: Sequence[tuple[float, int]] | Mapping[tuple[int, int], int], seed: int
) -> Estimate:
    """Return the mean of credits of which some belong together, such as the two orders of a pair.

    Clusters are what is exchangeable. Where they are equally large and each is all right or all wrong, they are
    trials, and the interval is Wilson's over them; otherwise the bootstrap's, which resamples whole clusters.

    Args:
        clusters: Of each the sum of its credits in [0, 1], and how many there are (≥ 1); or how often each such pair
            occurs.
        seed: Seed of the bootstrap.

    Returns:
        An estimate whose `n` is the number of credits.
    """
    import numpy as np

    counted = clusters if isinstance(clusters, Mapping) else Counter(clusters)
    num_clusters = sum(counted.values())
    if len({size for _, size in counted}) <= 1 and all(total in (0, size) for total, size in counted):
        found = wilson(sum(times for (total, _), times in counted.items() if total > 0), num_clusters)
    else:
        units, counts = zip(*sorted(counted.items()), strict=True)
        found = _resampled(np.array(units, dtype=np.float64), np.array(counts), seed, RESAMPLES, LEVEL)
    return replace(found, n=sum(size * times for (_, size), times in counted.items()))


def bootstrap_mean(
    values: Sequence[float], seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Return the mean of exchangeable values with its percentile interval."""
    return bootstrap_ratio([(value, 1.0) for value in values], seed, resamples, level)


def bootstrap_ratio(
    parts: Sequence[tuple[float, float]], seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Return the ratio of two sums with its percentile interval.

    Args:
        parts: For each exchangeable unit its contribution to numerator and denominator: a row's count of
            judgments for the first response and of judgments for either. Denominators are ≥ 0.
        seed: Seed of the resampling.
        resamples: Number of resamples.
        level: Confidence level.

    Returns:
        An estimate whose `n` is the number of units with a denominator above 0.
    """
    import numpy as np

    used = [part for part in parts if part[1] > 0]
    if not used:
        return Estimate(None, None, None, 0)
    units, counts = np.unique(np.asarray(used, dtype=np.float64), axis=0, return_counts=True)
    return _resampled(units, counts, seed, resamples, level)


def _resampled(units: Any, counts: Any, seed: int, resamples: int, level: float) -> Estimate:
    """Return the ratio of the sums of distinct units, of which each occurs so often.

    Drawing n units with replacement is drawing how often each distinct unit occurs: memory stays small.
    """
    import numpy as np

    rng, total = np.random.default_rng(seed), int(counts.sum())
    draws = np.array([rng.multinomial(total, counts / total) @ units for _ in range(resamples)])
    top, bottom = counts @ units
    return _estimate(float(top / bottom), draws[:, 0] / draws[:, 1], total, level)


def bootstrap_table(
    table: _Array,
    statistic: Callable[[_Array], Mapping[str, float]],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Return named statistics of a contingency table with percentile intervals.

    Args:
        table: Counts of exchangeable rows by cell; resamples keep their total.
        statistic: From a table of the same shape to named numbers; NaN where undefined.
        seed: Seed of the resampling.
        resamples: Number of resamples.
        level: Confidence level.

    Returns:
        An estimate per name, as `bootstrap_statistic` does; `n` is the total of the table.
    """
    import numpy as np

    n = int(table.sum())
    rng = np.random.default_rng(seed)
    shares = table.ravel() / max(n, 1)
    draws = (
        rng.multinomial(n, shares).astype(np.float64).reshape(table.shape)
        for _ in range(resamples if n else 0)
    )
    return _estimates(statistic(table), (statistic(draw) for draw in draws), n, level)


def bootstrap_statistic(
    strata: Sequence[_Array],
    statistic: Callable[[Sequence[_Array]], Mapping[str, float]],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Return named statistics of stratified, clustered data with percentile intervals.

    Args:
        strata: One array per stratum; its first axis are the units (clusters) drawn with replacement, as many
            as there are. A cluster's rows lie along the other axes.
        statistic: From strata of the same shapes to named numbers; NaN where undefined.
        seed: Seed of the resampling.
        resamples: Number of resamples.
        level: Confidence level.

    Returns:
        An estimate per name; `n` is the number of units in all strata. A statistic that is undefined on the
        data is None; resamples on which it is undefined are left out of its interval.
    """
    import numpy as np

    ordered = [_in_fixed_order(stratum) for stratum in strata]
    n = sum(map(len, ordered))
    rng = np.random.default_rng(seed)
    draws = (
        [units[rng.integers(0, len(units), len(units))] for units in ordered]
        for _ in range(resamples if n else 0)
    )
    return _estimates(statistic(ordered), map(statistic, draws), n, level)


def _estimates(
    point: Mapping[str, float], draws: Iterable[Mapping[str, float]], n: int, level: float
) -> dict[str, Estimate]:
    import numpy as np

    drawn: dict[str, list[float]] = {name: [] for name in point}
    for draw in draws:
        for name, value in draw.items():
            drawn[name].append(value)
    return {name: _estimate(value, np.asarray(drawn[name]), n, level) for name, value in point.items()}


def _in_fixed_order(units: _Array) -> _Array:
    import numpy as np

    if not len(units):
        return units
    return units[np.lexsort(units.reshape(len(units), -1).T[::-1])]


def _estimate(value: float, draws: NDArray[Any], n: int, level: float) -> Estimate:
    import numpy as np

    defined = draws[np.isfinite(draws)]
    if not math.isfinite(value) or not defined.size:
        return Estimate(None, None, None, n)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high), n)
