"""Held-out pairs judged while training: accuracy with its interval, the best checkpoint, when to stop, the canary.

Validation runs before the first step, every so many steps and after the last, through the same prompts, sampler and
reader as rollouts, spread over all processes. An unreadable judgment is not right: accuracy is of all rows, and
coverage stands beside it. The two orders of a pair are not two trials: its interval is over pairs. A new best is saved
at once and never removed by rotation.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object
from transformers import Trainer, TrainerCallback

from reasrm.hashing import derive_seed
from reasrm.metrics.intervals import Estimate, clustered_mean
from reasrm.records import ParseStatus
from reasrm.requests import SamplingParams
from reasrm.rewards.base import Rollout
from reasrm.rewards.outcome import is_right
from reasrm.training.rlvr.config import CanarySection, SelectionSection, ValidationSection
from reasrm.training.rlvr.watch import describe_verdicts

if TYPE_CHECKING:
    from reasrm.training.rlvr.trainer import JudgeGRPOTrainer

__all__ = ["Validation", "accuracy_interval", "validate"]

_LOG = logging.getLogger("reasrm")


def judge_prompts(
    trainer: JudgeGRPOTrainer, keys: Sequence[str], temperature: float, batch_size: int
) -> list[Rollout]:
    """Judge prompts with the policy as it is; every process gets all judgments, in the order of `keys`.

    Args:
        trainer: Whose policy judges.
        keys: Of the prompts; each process judges its share.
        temperature: 0 is greedy.
        batch_size: Prompts per process and forward pass.
    """
    world, rank = trainer.args.world_size, trainer.args.process_index
    share = -(-len(keys) // world)
    # Equal shares, the last ones filled up: sharded weights want equally many passes everywhere.
    mine = [keys[min(rank * share + n, len(keys) - 1)] for n in range(share)]
    max_tokens = trainer.max_completion_length
    sampling = [
        SamplingParams(temperature, trainer.top_p if temperature else 1.0, max_tokens, seed)
        for seed in (derive_seed(trainer.args.seed, "validation", key) for key in mine)
    ]
    written = trainer.rollouts.sample(trainer, mine, sampling, batch_size)
    gathered = gather_object([row.judgment for row in written])[: len(keys)]
    prompts = trainer.rollouts.prompts
    return [
        Rollout(prompts[key].comparison, judgment, key, judgment.num_tokens or 0)
        for key, judgment in zip(keys, gathered, strict=True)
    ]


def validate(
    trainer: JudgeGRPOTrainer, splits: Mapping[str, Sequence[str]], section: ValidationSection
) -> dict[str, float]:
    """Return the numbers of all splits: `eval/SPLIT/accuracy` with its 95 % interval over pairs, coverage and so on."""
    numbers: dict[str, float] = {}
    for split, keys in splits.items():
        rollouts = judge_prompts(trainer, keys, section.temperature, section.batch_size)
        prefix = f"eval/{split}"
        found = describe_verdicts(rollouts, prefix)
        interval = accuracy_interval(rollouts, trainer.args.seed)
        limits = {"accuracy_low": interval.ci_low, "accuracy_high": interval.ci_high}
        found |= {f"{prefix}/{name}": value for name, value in limits.items() if value is not None}
        found[f"{prefix}/tokens"] = statistics.fmean(r.num_tokens for r in rollouts)
        numbers |= found
        if section.orders == "both":
            numbers |= _consistency(rollouts, prefix)
    return numbers


def accuracy_interval(rollouts: Sequence[Rollout], seed: int) -> Estimate:
    """Return the share of right verdicts with its 95 % interval; the orders of a pair are one cluster."""
    pairs: dict[str, list[bool]] = {}
    for rollout in rollouts:
        pairs.setdefault(rollout.comparison.id, []).append(is_right(rollout) is True)
    return clustered_mean([(sum(right), len(right)) for right in pairs.values()], seed)


def _consistency(rollouts: Sequence[Rollout], prefix: str) -> dict[str, float]:
    """Return the share of pairs, readable in both orders, whose verdicts name the same response."""
    winners: dict[str, list[str]] = {}
    for rollout in rollouts:
        verdict = rollout.judgment.verdict
        if verdict is not None:
            own = rollout.comparison.order.seen(verdict)
            winners.setdefault(rollout.comparison.id, []).append(own.winner)
    both = [pair for pair in winners.values() if len(pair) == 2]
    return {f"{prefix}/consistency": sum(a == b for a, b in both) / len(both)} if both else {}


class Validation(TrainerCallback):  # type: ignore[misc]
    """Validates, chooses the best checkpoint, stops early, keeps the canary, and obeys alarms.

    Args:
        section: When and how; None validates never.
        splits: Name → keys of prompts.
        selection: What is best, and for how long to wait for better.
        canary: Fixed pairs to show; None shows none.
        canary_keys: Keys of their prompts.

    Attributes:
        trainer: Set once it exists.
    """

    trainer: JudgeGRPOTrainer

    def __init__(
        self,
        section: ValidationSection | None,
        splits: Mapping[str, Sequence[str]],
        selection: SelectionSection | None,
        canary: CanarySection | None,
        canary_keys: Sequence[str],
    ) -> None:
        self._section = section
        self._splits = splits
        self._selection = selection
        self._canary = canary
        self._canary_keys = list(canary_keys)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure what training starts from."""
        if state.global_step == 0:
            self._look(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure where the config says so, and after the last step; end where an alarm said so."""
        self._look(state, control)
        self.trainer.stop_if_told()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write down which checkpoint is the best, now that it is whole."""
        self.trainer.name_best()

    def _look(self, state: Any, control: Any) -> None:
        step, last = state.global_step, state.global_step >= state.max_steps
        if self._canary is not None and self._canary_keys and (step % self._canary.every == 0 or last):
            self._show_canary(step)
        section = self._section
        if section is not None and (step % section.every == 0 or last):
            numbers = validate(self.trainer, self._splits, section)
            should_log = control.should_log
            Trainer.log(self.trainer, dict(numbers))  # TRL's own would empty the sums of the steps into it
            control.should_log = should_log  # a log clears it, and the step's own numbers are still to come
            self.trainer.sound_alarms(numbers)
            if self._selection is not None:
                self._choose(step, numbers, self._selection, control)

    def _choose(
        self, step: int, numbers: Mapping[str, float], selection: SelectionSection, control: Any
    ) -> None:
        splits = [selection.split] if selection.split else list(self._splits)
        score = statistics.fmean(numbers[f"eval/{split}/accuracy"] for split in splits)
        trainer, best = self.trainer, self.trainer.best
        if step == 0:
            trainer.start = score
        elif best is None or score > best["score"] + selection.min_gain:
            trainer.best = {"step": step, "score": score, "splits": splits, "validations_since": 0}
            control.should_save = True
        else:
            since = best["validations_since"] + 1
            trainer.best = {**best, "validations_since": since}
            if selection.patience is not None and since >= selection.patience:
                _LOG.info("no better accuracy in %d validations: stopping at step %d", since, step)
                control.should_training_stop = control.should_save = control.should_log = True

    def _show_canary(self, step: int) -> None:
        rollouts = judge_prompts(self.trainer, self._canary_keys, 0.0, len(self._canary_keys))
        if not self.trainer.run.writable:
            return
        for rollout in rollouts:
            judgment, target = rollout.judgment, rollout.comparison.target
            record = {
                "step": step,
                "id": rollout.comparison.id,
                "order": rollout.comparison.order,
                "target": None if target is None else target.winner,
                "verdict": None if judgment.verdict is None else judgment.verdict.winner,
                "status": judgment.status,
                "readable": judgment.status is ParseStatus.OK,
                "text": judgment.text,
            }
            self.trainer.run.append("canary", record)
