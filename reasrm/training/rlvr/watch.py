"""What is seen of a run while it trains: numbers about every generation batch, and alarms on them.

All numbers are over the rollouts of the global generation batch. Shares are of all rollouts unless another denominator
is named; a share over nothing is left out, never zero.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reasrm.records import ParseStatus
from reasrm.rewards.advantages import Advantages
from reasrm.rewards.base import Rollout, Values
from reasrm.rewards.build import Scored
from reasrm.rewards.outcome import is_right
from reasrm.training.rlvr.config import Alarm

__all__ = ["Alarms", "describe_batch", "describe_verdicts", "sample_record"]


def describe_batch(
    rollouts: Sequence[Rollout], scored: Scored, advantages: Advantages, *, has_critique: bool
) -> dict[str, float]:
    """Return the numbers of one generation batch.

    Args:
        rollouts: In the order of `scored`.
        scored: Their rewards.
        advantages: Of the rewards.
        has_critique: Whether the spec's grammar marks an evaluation.
    """
    numbers = describe_verdicts(rollouts, "rollouts")
    readable = [r for r in rollouts if r.judgment.status is ParseStatus.OK]
    if has_critique and readable:
        bare = sum(not (r.judgment.critique or "").strip() for r in readable)
        numbers["rollouts/no_evaluation"] = bare / len(readable)
    tokens = [r.num_tokens for r in rollouts]
    numbers["rollouts/tokens"] = statistics.fmean(tokens)
    numbers["rollouts/tokens_max"] = max(tokens)
    numbers["rollouts/duplicates"] = _duplicates(rollouts)
    for name, values in {"reward": scored.rewards, **_named(scored.parts)}.items():
        numbers |= _moments(name, values)
    numbers["reward/abstaining"] = advantages.num_abstaining / len(rollouts)
    numbers["groups/dead"] = advantages.num_dead_groups / advantages.num_groups
    numbers["advantages/outliers"] = advantages.num_outliers / len(rollouts)
    return numbers


def describe_verdicts(rollouts: Sequence[Rollout], prefix: str) -> dict[str, float]:
    """Return accuracy (of all rollouts, and by subset; an unreadable one is not right), coverage, statuses, share of A.

    Accuracy among the readable is the quotient of accuracy and coverage.
    """
    statuses = Counter(r.judgment.status for r in rollouts)
    total = len(rollouts)
    numbers = {f"{prefix}/accuracy": sum(is_right(r) is True for r in rollouts) / total}
    subsets: defaultdict[str, list[bool]] = defaultdict(list)
    for rollout in rollouts:
        if rollout.comparison.subset is not None:
            subsets[rollout.comparison.subset].append(is_right(rollout) is True)
    if len(subsets) > 1:
        for name, right in sorted(subsets.items()):
            numbers[f"{prefix}/accuracy/{name}"] = sum(right) / len(right)
    numbers[f"{prefix}/coverage"] = statuses[ParseStatus.OK] / total
    for status in sorted(statuses.keys() - {ParseStatus.OK}):
        numbers[f"{prefix}/status/{status.value}"] = statuses[status] / total
    sides = Counter(r.judgment.verdict.winner for r in rollouts if r.judgment.verdict is not None)
    if decided := sides["A"] + sides["B"]:
        numbers[f"{prefix}/share_a"] = sides["A"] / decided
    return numbers


def _duplicates(rollouts: Sequence[Rollout]) -> float:
    """Return the share of rollouts whose text another of the group wrote before."""
    distinct = {(r.group, r.judgment.text) for r in rollouts}
    return 1 - len(distinct) / len(rollouts)


def _named(parts: Mapping[str, Values]) -> dict[str, Values]:
    return {f"reward/{name}": values for name, values in parts.items()}


def _moments(name: str, values: Iterable[float | None]) -> dict[str, float]:
    """Return mean and standard deviation (N − 1) of the values that do not abstain."""
    known = [value for value in values if value is not None]
    numbers = {f"{name}/mean": statistics.fmean(known)} if known else {}
    return numbers | ({f"{name}/std": statistics.stdev(known)} if len(known) > 1 else {})


def sample_record(
    step: int, rollout: Rollout, scored: Scored, advantages: Advantages, row: int
) -> dict[str, Any]:
    """Return one rollout as `samples.jsonl` keeps it."""
    judgment, target = rollout.judgment, rollout.comparison.target
    return {
        "step": step,
        "id": rollout.comparison.id,
        "order": rollout.comparison.order,
        "target": None if target is None else target.winner,
        "verdict": None if judgment.verdict is None else judgment.verdict.winner,
        "status": judgment.status,
        "reward": scored.rewards[row],
        "parts": {name: values[row] for name, values in scored.parts.items()},
        "advantage": float(advantages.values[row]),
        "num_tokens": rollout.num_tokens,
        "text": judgment.text,
    }


class Alarms:
    """Counts how many times in a row each threshold was crossed.

    Args:
        alarms: The thresholds.
    """

    def __init__(self, alarms: Sequence[Alarm]) -> None:
        self._streaks = dict.fromkeys(alarms, 0)

    def check(self, numbers: Mapping[str, Any]) -> list[tuple[Alarm, float]]:
        """Look at some numbers; return the alarms that sound now, each once per streak, with the value.

        An alarm whose number is not among them, or not known, stays as it is.
        """
        sounding = []
        for alarm, streak in self._streaks.items():
            value = numbers.get(alarm.metric)
            if value is None:
                continue
            self._streaks[alarm] = streak + 1 if _crossed(alarm, value) else 0
            if self._streaks[alarm] == alarm.patience:
                sounding.append((alarm, value))
        return sounding

    def streaks(self) -> dict[str, int]:
        """Return the counts as a checkpoint keeps them."""
        return {alarm.model_dump_json(): streak for alarm, streak in self._streaks.items()}

    def resume(self, streaks: Mapping[str, int]) -> None:
        """Take over the counts of a checkpoint. Alarms that the config did not have then begin at 0."""
        self._streaks = {alarm: streaks.get(alarm.model_dump_json(), 0) for alarm in self._streaks}


def _crossed(alarm: Alarm, value: float) -> bool:
    """Return whether a number is beyond the threshold; NaN is."""
    if alarm.below is not None:
        return not value >= alarm.below
    return alarm.above is not None and not value <= alarm.above
