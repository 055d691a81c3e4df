"""What judgments of comparisons with human critiques are worth, and what a MetaRM is to say of them.

RM-NLHF (arXiv 2601.07349, released code) leaves out judgments of bad format; how its cold-start targets were made is
not published, so they are made here as its online targets are: R = right + weight · p.

One process makes the targets and writes them to the run folder, `targets.jsonl`; the others wait for `targets.json`,
which says that it is whole and of what it was made. So a resumed run learns from the very same numbers, and a person
can read them.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.errors import InputError
from reasrm.files import replacing, write_json_atomic
from reasrm.jsonl import read_rows
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.scale import target_of
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Order
from reasrm.requests import Completion
from reasrm.rewards.base import Rollout
from reasrm.rewards.build import RewardFunction
from reasrm.rewards.outcome import is_right
from reasrm.runs.identity import read_json
from reasrm.strictjson import dumps
from reasrm.training.metarm.config import MetaRMStage
from reasrm.training.metarm.rows import MetaRMData

__all__ = [
    "MetaTarget",
    "Targets",
    "make_targets",
    "read_rollouts",
    "read_targets",
    "wait_for_targets",
    "write_targets",
]

_AT_ONCE = 256
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class MetaTarget:
    """One judgment and what the MetaRM should say of it.

    Args:
        id: Of the row.
        order: In which it was shown.
        vote: Which of the judgments of this row and order.
        right: Whether the verdict is right.
        process: p, the critique part of the reward.
        target: What the MetaRM should say.
        critique: What the judge wrote.
    """

    id: str
    order: Order
    vote: int
    right: bool
    process: float
    target: float
    critique: str


@dataclass(slots=True)
class Targets:
    """What became of all judgments.

    Args:
        lessons: What is learned from.
        num_judgments: How many there were.
        left_out: Reason → judgments that are not learned from.
    """

    lessons: list[MetaTarget] = field(default_factory=list)
    num_judgments: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_json(self, holdout: float) -> dict[str, Any]:
        """Return the counts that the run keeps."""
        return {
            "judgments": self.num_judgments,
            "left_out": dict(self.left_out.most_common()),
            "lessons": len(self.lessons),
            "held_out": sum(is_held_out(lesson.id, holdout) for lesson in self.lessons),
            "right": sum(lesson.right for lesson in self.lessons),
            "mean_target": _mean([lesson.target for lesson in self.lessons]),
            "mean_process_if_right": _mean([lesson.process for lesson in self.lessons if lesson.right]),
        }

    def remarks(self) -> Iterator[str]:
        """Yield how many judgments are learned from, and how their targets are spread."""
        reasons = ", ".join(f"{count} {code}" for code, count in self.left_out.most_common()) or "none"
        values = [lesson.target for lesson in self.lessons]
        kinds = sorted(set(values))
        shares = ", ".join(f"{kind:g}: {values.count(kind) / len(values):.0%}" for kind in kinds)
        if len(kinds) > 4:
            shares = f"mean {statistics.fmean(values):.3f}, deviation {statistics.pstdev(values):.3f}"
        yield f"{self.num_judgments} judgments, left out: {reasons}; targets {shares}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def make_targets(
    stage: MetaRMStage,
    spec: JudgeSpec,
    data: MetaRMData,
    reward: RewardFunction,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Targets:
    """Read every judgment, ask the reward's parts, and say what the MetaRM should say of it.

    Left out and counted: `bad_format` (no readable verdict, no critique, or the format part is 0), `not_scored`
    (the critique part abstains: a call failed, or the reference holds no argument), and under the target `process`
    `wrong_verdict`.

    Args:
        stage: The config.
        spec: How judgments are read.
        data: Rows and judgments.
        reward: The parts.
        progress: Called with the judgments done and those in all.

    Raises:
        RewardProblem: A part threw; the row is named.
    """
    rollouts, total, targets = read_rollouts(spec, data), data.num_judgments, Targets()
    while part := list(islice(rollouts, _AT_ONCE)):
        values = reward.ask([rollout for _, rollout in part])
        for place, (vote, rollout) in enumerate(part):
            found = _lesson(stage, rollout, vote, {name: values[name][place] for name in values})
            if isinstance(found, MetaTarget):
                targets.lessons.append(found)
            else:
                targets.left_out[found] += 1
        targets.num_judgments += len(part)
        progress(targets.num_judgments, total)
    return targets


def read_rollouts(spec: JudgeSpec, data: MetaRMData) -> Iterator[tuple[int, Rollout]]:
    """Yield the judgments of all rows with the number of their vote, read as judging does, in the order shown."""
    for row_id, row in data.rows.items():
        for order, votes in sorted(data.judgments.get(row_id, {}).items()):
            comparison = order.seen(row)
            group = f"{comparison.id}|{comparison.order}"
            for vote, recorded in enumerate(votes):
                completion = Completion.replayed(f"{group}|{vote}", recorded)
                yield vote, Rollout(comparison, parse(spec, completion), group, num_tokens=0)


def _lesson(
    stage: MetaRMStage, rollout: Rollout, vote: int, values: Mapping[str, float | None]
) -> MetaTarget | str:
    """Return what is to be learned from a judgment, or why nothing is."""
    critique, right = (rollout.judgment.critique or "").strip(), is_right(rollout)
    shape = 1.0 if stage.format is None else values[stage.format]
    if right is None or rollout.judgment.verdict is None or not critique or shape != 1.0:
        return "bad_format"
    process = values[stage.process[0]]
    if process is None:
        return "not_scored"
    target = target_of(stage.metarm.target, right, process, stage.weight)
    if target is None:
        return "wrong_verdict"
    comparison = rollout.comparison
    return MetaTarget(comparison.id, comparison.order, vote, right, process, target, critique)


# What the run keeps


def write_targets(folder: Path, targets: Targets, identity: str, holdout: float) -> None:
    """Write `targets.jsonl`, then `targets.json`, which says that it is whole."""
    sign = folder / "targets.json"
    sign.unlink(missing_ok=True)
    with replacing(folder / "targets.jsonl") as stream:
        for lesson in targets.lessons:
            record = {name: getattr(lesson, name) for name in MetaTarget.__slots__}
            stream.write(dumps({**record, "held_out": is_held_out(lesson.id, holdout)}) + b"\n")
    write_json_atomic(sign, {"identity": identity, **targets.to_json(holdout)})


def read_targets(folder: Path, identity: str) -> Targets | None:
    """Return what `write_targets` wrote, or None if there is nothing, or something else.

    Raises:
        InputError: `targets.jsonl` was changed.
    """
    sign = folder / "targets.json"
    counts = read_json(sign) if sign.is_file() else {}
    if counts.get("identity") != identity:
        return None
    found = Targets(num_judgments=counts["judgments"], left_out=Counter(counts["left_out"]))
    for raw in read_rows(folder / "targets.jsonl"):
        if raw.data is None:
            raise raw.error or InputError("is not a row", place=raw.place)
        record = {name: raw.data[name] for name in MetaTarget.__slots__}
        found.lessons.append(MetaTarget(**{**record, "order": Order(record["order"])}))
    if len(found.lessons) != counts["lessons"]:
        raise InputError(
            f"holds {len(found.lessons)} rows, and {counts['lessons']} were written",
            place=str(folder / "targets.jsonl"),
            remedy="remove targets.json, and run again",
        )
    return found


def wait_for_targets(folder: Path, identity: str) -> Targets:
    """Return the targets once the process that makes them has written them.

    Scoring critiques can take hours, longer than a collective operation waits. If that process fails, the launcher ends
    this one.
    """
    while True:
        found = read_targets(folder, identity)
        if found is not None:
            return found
        time.sleep(_POLL_S)
