"""The MetaRM in the loop: it stands in for the critique part of the reward where no human critique exists.

Order of a generation batch, as RM-NLHF's released trainer has it: every part of the reward for all rollouts → the
MetaRM learns from the rows with a human critique → it scores the rows without → rewards. It learns once per
generation batch and only while training; `frozen` leaves out the learning. Judgments of bad format teach nothing and
get nothing.

A row without a reference critique gets p̂ (`metarm.scale.bonus`) in the place of the critique part if its verdict is
right and its format good, else 0. Where the MetaRM cannot say of every such row of a group (input too long), or
doubts too much (`max_variance`, the mean over those rows), the whole group stays open, so that its rows remain
comparable; what an open group earns is the combinator's business, its outcome by default. A row has a reference if its
comparison carries a critique, and in no other case: where the critique part then has no value a call has failed, and
the row abstains. The MetaRM neither learns from it nor fills it in.

Some rows with critiques are held out: they earn what their critique says, like all others, and teach the MetaRM
nothing. What it says of them, over the last `window` rollouts, is logged each time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from accelerate.utils import gather_object

from reasrm.errors import ConfigError
from reasrm.metarm.card import MetaCard
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.learner import Learner, Lesson, Update, assert_equal_weights
from reasrm.metarm.model import MetaRM
from reasrm.metarm.quality import quality
from reasrm.metarm.scale import bonus, target_of
from reasrm.rewards.base import Rollout, Values
from reasrm.rewards.build import RewardFunction, Scored
from reasrm.rewards.config import RewardSection
from reasrm.rewards.outcome import is_right
from reasrm.rewards.parts.critique import CritiquePart
from reasrm.rewards.parts.critique_format import CritiqueFormatPart
from reasrm.training.rlvr.config import MetaRewardSection

__all__ = ["Completed", "MetaReward", "check_meta_reward"]

SCORES = "metarm"
"""Under this name the MetaRM's own numbers stand among the parts of the reward."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What the MetaRM made of a batch.

    Args:
        values: The critique part, filled in.
        scores: The MetaRM's own numbers, None where it was not asked.
        numbers: For the log.
    """

    values: Values
    scores: Values
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of a rollout before the MetaRM is asked."""

    rollout: Rollout
    right: bool
    well_formed: bool
    process: float | None
    held_out: bool
    has_reference: bool

    @property
    def is_routed(self) -> bool:
        """Whether the MetaRM decides what the critique is worth."""
        return not self.has_reference and self.right and self.well_formed


@dataclass(slots=True)
class _Seen:
    """A held-out rollout: what the MetaRM said and what was true."""

    score: float
    target: float
    right: bool
    process: float


@dataclass(slots=True)
class MetaReward:
    """Completes the parts of a reward.

    Args:
        section: How.
        metarm: The model, on its device; equal in all processes.
        rewards: The reward that it completes.

    Attributes:
        learner: Moves its weights; None where it is frozen.
    """

    section: MetaRewardSection
    metarm: MetaRM
    rewards: RewardSection
    learner: Learner | None = field(init=False)
    _window: deque[_Seen] = field(init=False)
    _format: str | None = field(init=False)

    def __post_init__(self) -> None:
        section = self.section
        check_meta_reward(section, self.rewards, self.metarm.card)
        self.metarm.eval()
        self._window = deque(maxlen=section.window)
        self._format = next(
            (name for name, part in self.rewards.parts.items() if isinstance(part, CritiqueFormatPart)), None
        )
        self.learner = None
        if section.mode == "online":
            self.learner = Learner(
                self.metarm,
                learning_rate=section.learning_rate,
                weight_decay=section.weight_decay,
                max_grad_norm=section.max_grad_norm,
                batch_size=section.batch_size,
            )
        assert_equal_weights(self.metarm)

    def score(
        self,
        reward: RewardFunction,
        rollouts: Sequence[Rollout],
        parts: dict[str, Values],
        mine: range,
        *,
        learn: bool,
    ) -> tuple[Scored, dict[str, float]]:
        """Complete the parts and combine them; see `complete`.

        Returns:
            The rewards, with the parts as they were and the MetaRM's own numbers; and numbers for the log.
        """
        done = self.complete(rollouts, parts, mine, learn=learn)
        scored = reward.combine_parts(rollouts, {**parts, self.section.fills: done.values})
        return Scored(scored.rewards, {**parts, SCORES: done.scores}), done.numbers

    def complete(
        self, rollouts: Sequence[Rollout], parts: dict[str, Values], mine: range, *, learn: bool
    ) -> Completed:
        """Learn from the rows with a critique, then fill in the critique part of the others.

        Args:
            rollouts: Of the global batch, the same in all processes.
            parts: Of the reward, in that order.
            mine: Places of this process's rollouts; its share of the work.
            learn: Whether this is training, and the first look at this batch. Only then is anything learned, and what
                is said of held-out rows remembered.
        """
        rows = self._look(rollouts, parts)
        update = self._learn(rows, mine) if learn and self.learner is not None else None
        scores = self._ask(rows, mine)
        values: Values = list(parts[self.section.fills])
        counts = dict.fromkeys(("routed", "withheld", "unread"), 0)
        for places in _by_group(rows):
            routed = [place for place in places if rows[place].is_routed]
            state = self._state([scores.get(place) for place in routed])
            counts[state] += len(routed)
            for place in places if state == "routed" else ():
                values[place] = self._bonus(scores[place][0]) if place in routed else 0.0
        for place, row in enumerate(rows) if learn else ():
            if row.held_out and place in scores:
                self._remember(row, scores[place][0])
        numbers = {f"metarm/{name}": count / len(rows) for name, count in counts.items()}
        numbers |= self._describe(update)
        asked: Values = [scores[place][0] if place in scores else None for place in range(len(rows))]
        return Completed(values, asked, numbers)

    def _look(self, rollouts: Sequence[Rollout], parts: dict[str, Values]) -> list[_Row]:
        shapes = parts[self._format] if self._format is not None else [1.0] * len(rollouts)
        known = parts[self.section.fills]
        rows = []
        for rollout, process, shape in zip(rollouts, known, shapes, strict=True):
            judgment = rollout.judgment
            written = judgment.verdict is not None and bool((judgment.critique or "").strip())
            rows.append(
                _Row(
                    rollout,
                    right=is_right(rollout) is True,
                    well_formed=written and shape == 1.0,
                    process=process,
                    held_out=process is not None and is_held_out(rollout.comparison.id, self.section.holdout),
                    has_reference=rollout.comparison.critique is not None,
                )
            )
        return rows

    def _target(self, row: _Row) -> float | None:
        """Return what the MetaRM should say of a row, or None where nothing is to be learned from it."""
        if row.process is None or not row.well_formed:
            return None
        card = self.metarm.card
        return target_of(card.target, row.right, row.process, card.weight)

    def _encode(self, row: _Row) -> Encoded | None:
        return self.metarm.encoder.encode(row.rollout.comparison, row.rollout.judgment.critique or "")

    def _learn(self, rows: Sequence[_Row], mine: range) -> Update | None:
        """Do the steps of this batch. Which row is in which step does not depend on who holds it."""
        if self.learner is None:
            return None
        targets = {
            place: target
            for place, row in enumerate(rows)
            if not row.held_out and (target := self._target(row)) is not None
        }
        size = self.section.rows_per_step or max(len(targets), 1)
        num_steps = -(-len(targets) // size)
        steps: list[list[Lesson]] = [[] for _ in range(num_steps)]
        for number, (place, target) in enumerate(targets.items()):
            if place in mine and (row := self._encode(rows[place])) is not None:
                steps[number % num_steps].append(Lesson(row, target))
        return self.learner.update(steps * self.section.epochs)

    def _ask(self, rows: Sequence[_Row], mine: range) -> dict[int, tuple[float, float]]:
        """Return mean and variance over members for routed and held-out rows that can be read, by place."""
        wanted = [
            (place, encoded)
            for place in mine
            if (rows[place].is_routed or (rows[place].held_out and self._target(rows[place]) is not None))
            and (encoded := self._encode(rows[place])) is not None
        ]
        own: list[tuple[int, float, float]] = []
        if wanted:
            scores = self.metarm.score([row for _, row in wanted], self.section.batch_size).double()
            means, variances = scores.mean(1), scores.var(1, correction=0)
            own = [
                (place, float(mean), float(variance))
                for (place, _), mean, variance in zip(wanted, means, variances, strict=True)
            ]
        return {place: (mean, variance) for place, mean, variance in gather_object(own)}

    def _state(self, answers: Sequence[tuple[float, float] | None]) -> str:
        """Return what becomes of a group whose routed rows got these answers."""
        known = [answer for answer in answers if answer is not None]
        if len(known) < len(answers):
            return "unread"
        most = self.section.max_variance
        if known and most is not None and fmean(variance for _, variance in known) > most:
            return "withheld"
        return "routed"

    def _bonus(self, score: float) -> float:
        card = self.metarm.card
        return bonus(card.target, score, card.weight, self.section.bonus_scale)

    def _remember(self, row: _Row, score: float) -> None:
        target = self._target(row)
        if target is not None and row.process is not None:
            self._window.append(_Seen(score, target, row.right, row.process))

    def _describe(self, update: Update | None) -> dict[str, float]:
        seen = list(self._window)
        numbers: dict[str, float] = {}
        if update is not None:
            numbers |= {
                "metarm/learned_rows": float(update.rows),
                "metarm/skipped_steps": float(update.skipped),
            }
            if update.loss is not None:
                numbers["metarm/loss"] = update.loss
            if update.grad_norm is not None:
                numbers["metarm/grad_norm"] = update.grad_norm
        if seen:
            measured = quality(
                [s.score for s in seen],
                [s.target for s in seen],
                [s.right for s in seen],
                [s.process for s in seen],
            )
            numbers |= {f"metarm/heldout_{name}": value for name, value in measured.items()}
        return numbers

    # What a checkpoint keeps

    def window(self) -> list[list[float]]:
        """Return the held-out rollouts seen last."""
        return [[s.score, s.target, float(s.right), s.process] for s in self._window]

    def load_window(self, window: Sequence[Sequence[float]]) -> None:
        """Take over what `window` returned."""
        self._window.clear()
        self._window.extend(
            _Seen(score, target, bool(right), process) for score, target, right, process in window
        )


def _by_group(rows: Sequence[_Row]) -> list[list[int]]:
    """Return the places of the rows without a reference critique, by group."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if not row.has_reference:
            groups[row.rollout.group].append(place)
    return list(groups.values())


def check_meta_reward(section: MetaRewardSection, rewards: RewardSection, card: MetaCard) -> None:
    """Refuse a MetaRM that predicts something else than the part it is to stand in for.

    Raises:
        ConfigError: The target, the scale and the reward do not fit together.
    """
    part = rewards.parts[section.fills]
    if not isinstance(part, CritiquePart):
        raise ConfigError(
            f"{section.fills!r} is a part of kind {part.kind!r}, and a MetaRM stands in for a critique part",
            place="metarm.fills",
            remedy="name a part of kind critique",
        )
    if card.target == "reward" and abs(card.weight - part.weight) > 1e-9:
        raise ConfigError(
            f"the MetaRM learned with a weight of {card.weight:g}, and the part {section.fills!r} has {part.weight:g}",
            place="metarm.path",
            remedy="train a MetaRM with this weight, or one with target: process, which knows no weight",
        )
    if card.target == "process" and section.bonus_scale == "published":
        raise ConfigError(
            "bonus_scale is 'published', which undoes a target of 0, 1 and 1.5, and this MetaRM predicts the critique "
            "part itself",
            place="metarm.bonus_scale",
            remedy="set it to calibrated",
        )
    learned = card.process.get("part")
    ours = part.model_dump(mode="json", exclude={"weight"})
    if learned is not None and {key: learned.get(key) for key in ours} != ours:
        raise ConfigError(
            f"the MetaRM learned from critiques scored by {learned}, and this reward scores them by {ours}",
            place="metarm.path",
            remedy="train a MetaRM on the reward that it is to complete",
        )
