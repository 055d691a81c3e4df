"""From rewards to advantages: pure arithmetic over one global batch, in float64.

`group`, `mean_only` and `batch` equal TRL 1.16's `scale_rewards` `"group"`, `"none"` and `"batch"`: sample standard
deviation (N − 1) of the scorable rows, eps added to it, rows that abstain left out of mean and deviation and given 0.
`leave_one_out` is RLOO (arXiv 2402.14740): r − mean of the other rows of the group. `whitened` and the outlier filter
are StableReinforce's (R1-Reward, arXiv 2505.02835): population deviation over the whole batch.

Deviations: TRL groups rows by position, here by name, so rows may stand in any order. The filter zeroes the rows that
its z-score names and leaves the others as the chosen kind has them; the paper, which normalises over the batch,
goes on with the z-score itself: `kind: whitened` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasrm.errors import InternalError
from reasrm.rewards.config import AdvantageSection

__all__ = ["Advantages", "compute_advantages"]

_Array = NDArray[np.float64]
_FILTER_EPS = 1e-8  # keeps a constant batch from dividing by zero; the paper's own eps is not known


@dataclass(frozen=True, slots=True)
class Advantages:
    """Advantages of one batch and what there is to say about its groups.

    Args:
        values: Shape (N,); 0 for rows that abstain and rows that the filter took.
        dead_groups: Groups without a difference to learn from: equal rewards, a single scorable row, or none.
        num_groups: All groups.
        num_dead_groups: How many are dead.
        num_abstaining_groups: How many of the dead ones have no scorable row at all.
        num_outliers: Rows that the filter took.
        num_abstaining: Rows that abstain.
    """

    values: _Array
    dead_groups: tuple[str, ...]
    num_groups: int
    num_dead_groups: int
    num_abstaining_groups: int
    num_outliers: int
    num_abstaining: int


def compute_advantages(rewards: _Array, groups: Sequence[str], section: AdvantageSection) -> Advantages:
    """Return the advantages of one global batch.

    Args:
        rewards: Shape (N,); NaN abstains.
        groups: The group of each row; the rows of one group need not stand together.
        section: Which kind, and the filter.

    Raises:
        InternalError: Shapes differ, or a reward is infinite.
    """
    rewards = np.asarray(rewards, dtype=np.float64)
    if rewards.shape != (len(groups),) or np.isinf(rewards).any():
        raise InternalError(f"rewards of shape {rewards.shape} for {len(groups)} rows, or infinite ones")
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    scorable = ~np.isnan(rewards)
    values = np.zeros_like(rewards)
    dead: list[str] = []
    silent = 0
    for group, rows in rows_of.items():
        live = [row for row in rows if scorable[row]]
        silent += not live
        if not live or np.ptp(rewards[live]) == 0:
            dead.append(group)  # and its advantages stay exactly 0
        else:
            values[live] = _within_group(rewards[live], section)
    values = _over_batch(values, rewards, scorable, section)
    outliers = _outliers(values, scorable, section.outlier_sigma)
    values[outliers] = 0.0
    return Advantages(
        values=values,
        dead_groups=tuple(dead),
        num_groups=len(rows_of),
        num_dead_groups=len(dead),
        num_abstaining_groups=silent,
        num_outliers=int(outliers.sum()),
        num_abstaining=int((~scorable).sum()),
    )


def _within_group(rewards: _Array, section: AdvantageSection) -> _Array:
    """Centre the scorable rewards of one group (two or more, not all equal) and scale them by it."""
    centred: _Array = rewards - rewards.mean()
    if section.kind == "group":
        centred = centred / (rewards.std(ddof=1) + section.eps)
    elif section.kind == "leave_one_out":  # r − (sum − r)/(G − 1)
        centred = centred * (len(rewards) / (len(rewards) - 1))
    return centred


def _over_batch(
    values: _Array, rewards: _Array, scorable: NDArray[np.bool_], section: AdvantageSection
) -> _Array:
    """Scale by what only the whole batch knows."""
    live = rewards[scorable]
    if section.kind == "batch" and len(live) > 1:
        return values / (live.std(ddof=1) + section.eps) if np.ptp(live) > 0 else values
    if section.kind == "whitened":
        values = np.zeros_like(rewards)
        if len(live) > 1 and np.ptp(live) > 0:
            values[scorable] = (live - live.mean()) / (live.std() + section.eps)
    return values


def _outliers(values: _Array, scorable: NDArray[np.bool_], sigma: float | None) -> NDArray[np.bool_]:
    """Return which scorable rows lie beyond `sigma` population deviations of the batch's mean."""
    taken = np.zeros_like(scorable)
    if sigma is not None and scorable.any():
        live = values[scorable]
        taken[scorable] = np.abs((live - live.mean()) / (live.std() + _FILTER_EPS)) > sigma
    return taken
