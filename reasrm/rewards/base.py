"""The nouns of rewarding: a rollout, a reward part, and the error that a part at fault ends a run with.

A rollout is one sampled judgment of one comparison as shown: `comparison.target` and `judgment.verdict` both speak of
the order shown. A part sees all rollouts of the global generation batch at once, because some rewards need the other
rollouts of the prompt (group z-score) or those of the other order (pair consistency). Of groups that were drawn anew in
place of others it sees these alone, each whole. It answers one value per rollout; None abstains. An abstaining row is
neither right nor wrong: it earns no advantage and enters no mean.

`rewards/parts` holds one file per kind of part: one class with its fields (its section of a config), its formula,
and its place in the documentation, which is made of its docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, FiniteFloat

from reasrm.config import Config
from reasrm.critiques.cases import CritiqueScorer
from reasrm.critiques.similarity import Similarity, stem_overlap
from reasrm.errors import EnvironmentProblem, ReasrmError
from reasrm.records import Comparison, Judgment
from reasrm.rewards.consistency import ConsistencyReferee

__all__ = [
    "ALONE",
    "Helpers",
    "NobodyAnswered",
    "NonNegative",
    "Part",
    "RewardPart",
    "RewardProblem",
    "Rollout",
    "RowFault",
    "Share",
    "Values",
    "each_row",
    "stop_if_dead",
]

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled judgment of one comparison as shown.

    Args:
        comparison: The pair as shown, with the verdict a right judge gives, where it is known.
        judgment: What the policy wrote, parsed, in the order shown.
        group: Rollouts of an equal group answer the same prompt.
        num_tokens: Generated tokens, thinking and end-of-turn included.
    """

    comparison: Comparison
    judgment: Judgment
    group: str
    num_tokens: int


Values = list[float | None]
"""One value per rollout; None abstains."""

Part = Callable[[Sequence[Rollout]], Values]
"""A reward over all rollouts of the global generation batch."""


@dataclass(frozen=True, slots=True)
class Helpers:
    """What parts ask that is no arithmetic.

    Args:
        referee: Says whether reasoning and verdict agree.
        critique: Scores critiques against the rows' own.
        similarity: How alike two texts are.
    """

    referee: ConsistencyReferee | None = None
    critique: CritiqueScorer | None = None
    similarity: Similarity = stem_overlap


ALONE = Helpers()
"""Nobody to ask; texts are compared by their stems."""


class RewardPart(Config):
    """A reward; its fields are its section of a config. A default is the published number, or marked as ours.

    Args:
        kind: The part's name, which is also its file's.
        weight: What a combinator multiplies its values by.

    Attributes:
        asks: The helper that it cannot do without, named like the section of a config that sets it up.
    """

    asks: ClassVar[Literal["referee", "critique"] | None] = None
    kind: str
    weight: FiniteFloat = 1.0

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return what values rollouts; here each one by itself.

        Args:
            helpers: Whom it may ask; the one that `asks` names is there.

        Raises:
            ConfigError: It names what cannot be used.
        """
        return each_row(self.value)

    def value(self, rollout: Rollout) -> float | None:
        """Return what one rollout earns, None to abstain; of parts that look at one rollout at a time."""
        raise NotImplementedError

    def owes(self, rollout: Rollout) -> bool:
        """Whether a part that asks somebody has a value for the rollout if no call fails."""
        return True

    @property
    def code(self) -> Path | None:
        """The file of code that it runs, if it is none of ours."""
        return None


class RewardProblem(ReasrmError, RuntimeError):
    """A reward threw or gave no finite number, so the run stops (exit code 3) before it trains on it.

    Args:
        part: Name of the part in the config, or `combine`.
        cause: What happened.
        rollout: The row at fault; None where the batch as a whole is.
    """

    exit_code = 3

    def __init__(self, part: str, cause: str, rollout: Rollout | None = None) -> None:
        self.part = part
        self.cause = cause
        self.row_id = None if rollout is None else rollout.comparison.id
        self.order = None if rollout is None else rollout.comparison.order
        place = None if rollout is None else f"row {self.row_id!r}, order {self.order}"
        super().__init__(
            f"the reward part {part!r} failed: {cause}",
            place=place,
            remedy="correct the row or the part and begin anew; --resume goes on where neither had to change",
        )


class NobodyAnswered(EnvironmentProblem):
    """Whoever a part asks had no answer to any question of a batch."""


class RowFault(Exception):
    """Raised by a part that knows which rollout it failed on.

    Args:
        index: Position of the rollout in the batch.
        cause: What happened.
    """

    def __init__(self, index: int, cause: str) -> None:
        self.index = index
        self.cause = cause
        super().__init__(f"rollout {index}: {cause}")


def each_row(reward: Callable[[Rollout], float | None]) -> Part:
    """Return the part that asks `reward` row by row, so that a failure names its row."""

    def part(rollouts: Sequence[Rollout]) -> Values:
        values: Values = []
        for index, rollout in enumerate(rollouts):
            try:
                values.append(reward(rollout))
            except Exception as error:
                raise RowFault(index, f"{type(error).__name__}: {error}") from error
        return values

    return part


def stop_if_dead(asked: object, who: str) -> None:
    """End the run where whoever was asked had no answer to any question of a batch.

    Args:
        asked: Who was asked. Its `failure`, if it has one, says why its last batch came to nothing.
        who: Its name, for the error.

    Raises:
        NobodyAnswered: It has one.
    """
    failure: str | None = getattr(asked, "failure", None)
    if failure is not None:
        raise NobodyAnswered(
            f"every call of {who} failed in this batch, the last with: {failure}",
            place="rewards",
            remedy="see to it that it answers, then run the same command again with --resume",
        )
