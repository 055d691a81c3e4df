"""`JudgeGRPOTrainer`: TRL's GRPO with a judge's prompts, a judge's reading, and a judge's rewards.

TRL does what any policy needs: padding, probabilities of the old policy and the reference, the clipped loss, vLLM.
What a judge needs otherwise is handed to it as its `rollout_func` (`rollouts.py`): prompts encoded by the encoder of
judging, completions read by the reader of judging, from their ids, and rewards of the whole global batch, whose parts
can abstain. Advantages come from `reasrm.rewards.advantages`, since TRL's know neither our kinds nor our filter. A
dataset row is nothing but the key of a prompt.

Deviations from GRPO (arXiv 2402.03300): none by default; `pre_clip` is StableReinforce's (arXiv 2505.02835), whose
clamp here also bounds the ratio inside the KL term.

Three private methods of TRL 1.16 are overridden: which prompts a batch holds, our advantages, `pre_clip`.
`tests/training/test_contract.py` lists every private name that is used and compares it with what this was written for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from reasrm.errors import ConfigError, InternalError
from reasrm.generation.adapters import merge_on_the_way
from reasrm.metarm.learner import assert_equal_weights
from reasrm.runs import write_best
from reasrm.training.rlvr.batches import ComparisonSampler
from reasrm.training.rlvr.comparisons import shown_in_epoch
from reasrm.training.rlvr.rollouts import Rollouts, judge_reward
from reasrm.training.rlvr.watch import Alarms
from reasrm.training.safety.checkpoints import SafeCheckpoints
from reasrm.training.safety.guards import GuardedSteps
from reasrm.training.safety.states import load_state, save_state

__all__ = ["JudgeGRPOTrainer"]

_LOG = logging.getLogger("reasrm")
_OWN_TO_A_PROCESS = ("step_time",)
_META = "metarm"


class JudgeGRPOTrainer(GuardedSteps, SafeCheckpoints, GRPOTrainer):
    """TRL's trainer for a judge.

    Args:
        rollouts: What is learned from.
        say: Called with a sentence when an alarm sounds; by default the log is told.

    Attributes:
        num_trained_tokens: Tokens of prompts and completions that went through the backward pass.
        start: Accuracy by which checkpoints are chosen, before the first step, or None.
        best: Step, accuracy and splits of the best validation so far, or None.
    """

    rollout_func: Any
    num_generations: int
    max_completion_length: int

    def __init__(
        self,
        *,
        rollouts: Rollouts,
        say: Callable[[str], None] = _LOG.warning,
        **named: Any,
    ) -> None:
        from datasets import Dataset

        self.rollouts, self.stage, self.meta = rollouts, rollouts.stage, rollouts.meta
        self._say = say
        self._alarms = Alarms(self.stage.watch.alarms)
        self._old_logps: torch.Tensor | None = None
        self._stop_reason: str | None = None
        self.num_trained_tokens = 0
        self.start: float | None = None
        super().__init__(
            reward_funcs=judge_reward,
            train_dataset=Dataset.from_dict({"prompt": rollouts.train_keys}),
            **named,
        )
        self.rollout_func = rollouts  # as an argument TRL would warn of it
        logging.getLogger(GRPOTrainer.__module__).addFilter(_is_news)
        if self.use_vllm:
            merge_on_the_way(self.vllm_generation)
        base = rollouts.base
        self.eos_token_ids = sorted(base.stop_ids)
        # TRL's shape checks want it set; every reading of ours uses the base's.
        self.processing_class.pad_token_id = base.pad_id
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Refuse batches that would tear something apart."""
        groups = self._prompts_per_batch
        if groups % self._unit:
            raise ConfigError(
                f"a generation batch holds {groups} prompts, and with data.orders: both it takes an even number",
                place="trainer",
                remedy="double trainer.generation_batch_size or trainer.gradient_accumulation_steps",
            )
        available = len(self.rollouts.train_keys) // (2 if self._redraws else 1)
        if available < groups:
            raise ConfigError(
                f"a generation batch takes {groups} prompts, and there are {available}",
                place="data.train",
                remedy="give more pairs, or set trainer.generation_batch_size lower",
            )

    @property
    def _unit(self) -> int:
        return 2 if self.stage.data.orders == "both" else 1

    @property
    def _redraws(self) -> bool:
        """Whether both orders of a pair are at hand, of which each epoch shows one."""
        return self.stage.data.orders == "each_epoch"

    def _order_of_epoch(self, pair: int, epoch: int) -> int:
        """Return which of a pair's two prompts an epoch shows."""
        first = self.rollouts.prompts[self.rollouts.train_keys[2 * pair]].comparison
        return int(shown_in_epoch(first, self.stage.seed, epoch).order != first.order)

    @property
    def _prompts_per_batch(self) -> int:
        return int(self.args.generation_batch_size or 0) // self.num_generations

    @property
    def _generate_every(self) -> int:
        """Passes that a generation batch lasts."""
        return int(self.args.steps_per_generation or 1) * int(self.num_iterations)

    # Which prompts

    def _get_train_sampler(self, dataset: Any = None) -> ComparisonSampler:
        return ComparisonSampler(
            len(self.rollouts.train_keys),
            unit=2 if self._redraws else self._unit,
            prompts_per_batch=self._prompts_per_batch,
            group_size=self.num_generations,
            repeats=self._generate_every,
            seed=self.args.seed,
            choose=self._order_of_epoch if self._redraws else None,
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [dict(row) for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(rows)
        # TRL has put the columns of the rollouts into the rows, for its reward functions.
        advantages = [row["advantage"] for row in rows]
        output["advantages"] = torch.tensor(advantages, dtype=torch.float32, device=self.accelerator.device)
        return output

    # Loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss, without the passes that carry none, and count the tokens of the others."""
        inputs, share = self._unsettled(inputs)
        # TRL sums these itself, on the same mask.
        tokens = inputs["prompt_mask"].sum() + inputs["completion_mask"].sum()
        self.num_trained_tokens += int(self.accelerator.reduce(tokens, reduction="sum"))
        self._old_logps = inputs.get("old_per_token_logps") if self.stage.pre_clip else None
        try:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch) * share
        finally:
            self._old_logps = None

    def _unsettled(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Leave out rows whose advantage is 0, which carry no loss; return the rest and what its mean is worth.

        At least one row stays, and equally many in all processes: TRL gathers numbers by row, and without a backward
        pass DDP and ZeRO would wait for each other.
        """
        if not self._skips:
            return inputs, 1.0
        settled = inputs["advantages"] == 0
        size = len(settled)
        most = int(self.accelerator.gather((~settled).sum()).max().clamp(min=1))
        if most == size:
            return inputs, 1.0
        keep = settled.int().argsort(stable=True)[:most].sort().values
        rest = {
            name: value[keep]
            if isinstance(value, torch.Tensor) and value.dim() and len(value) == size
            else value
            for name, value in inputs.items()
        }
        if self.loss_type == "bnpo":
            counts = [part["completion_mask"].sum().clamp(min=1.0) for part in (rest, inputs)]
            return rest, float(counts[0] / counts[1])
        # These divide by what the whole batch holds, not by the rows at hand.
        return rest, 1.0 if self.loss_type in ("dapo", "cispo") else most / size

    @property
    def _skips(self) -> bool:
        return (
            self.stage.skip_settled
            and self.beta == 0.0
            and not (self.use_adaptive_entropy or self.entropy_coef)
            and not self.aux_loss_enabled
            and self.top_entropy_quantile == 1.0
            and self.loss_type in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo")
        )

    def _get_per_token_logps_and_entropies(
        self, model: Any, *args: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        logps, entropies, aux = super()._get_per_token_logps_and_entropies(model, *args, **named)
        clip, old = self.stage.pre_clip, self._old_logps
        if clip is not None and old is not None:
            logps = old + (logps - old).clamp(math.log(clip.low), math.log(clip.high))
        return logps, entropies, aux

    # Alarms

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and sound the alarms that it sets off."""
        super().log(logs, start_time)
        self.sound_alarms(logs)

    def sound_alarms(self, numbers: Mapping[str, Any]) -> None:
        """Look at what was logged; end training, once nothing would be lost, where an alarm says so."""
        # Every process must come to the same end, so only what all of them know counts.
        known = {name: value for name, value in numbers.items() if name not in _OWN_TO_A_PROCESS}
        for alarm, value in self._alarms.check(known):
            bound = f"below {alarm.below}" if alarm.below is not None else f"above {alarm.above}"
            times = f" {alarm.patience} times in a row" if alarm.patience > 1 else ""
            text = f"alarm at step {self.state.global_step}: {alarm.metric} is {value:.4g}, {bound}{times}"
            if alarm.action == "stop":
                self._stop_reason = text
            if self.run.writable:
                self._say(text)
        self.stop_if_told()

    def stop_if_told(self) -> None:
        """End training with a checkpoint if an alarm wants it and a generation batch is done with."""
        if self._stop_reason is not None and self.at_boundary:
            self.control.should_training_stop = self.control.should_save = self.control.should_log = True

    # What a checkpoint keeps

    @property
    def at_boundary(self) -> bool:
        """Whether no part of a generation batch is still to be learned from, so that a checkpoint loses nothing."""
        passes = int(self.state.global_step * self.args.gradient_accumulation_steps)
        return passes % self._generate_every == 0

    @property
    def _is_ending(self) -> bool:
        return bool(self.state.global_step >= self.state.max_steps or self.control.should_training_stop)

    def keep(self, folder: Path) -> None:
        """Keep the MetaRM in a checkpoint, and beside the last one as a folder of its own."""
        if self.meta is None:
            return
        if self._is_ending and self.run.writable:
            self.meta.metarm.save(self.run.path / _META)
        if self.meta.learner is not None:
            assert_equal_weights(self.meta.metarm)
            if self.run.writable:
                save_state(folder, _META, self.meta.learner.state())

    def take_back(self, folder: Path) -> None:
        """Take the MetaRM over from a checkpoint."""
        if self.meta is not None and self.meta.learner is not None:
            self.meta.learner.load_state(load_state(folder, _META))
            assert_equal_weights(self.meta.metarm)

    def name_best(self) -> None:
        """Write down which checkpoint is the best so far."""
        if self.best is not None and self.run.writable:
            write_best(self.run.path, {**self.best, "start": self.start})

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of counts, alarms and the best so far."""
        if not self.at_boundary:
            raise InternalError("a checkpoint between two generation batches would lose the rest of one")
        return {
            **super().progress(),
            "generated_tokens": self.rollouts.num_generated_tokens,
            "prompt_tokens": self.rollouts.num_prompt_tokens,
            "processed_tokens": self.num_trained_tokens,
            "micro_step": self.rollouts.num_batches * self._generate_every,
            "alarms": self._alarms.streaks(),
            "metarm": [] if self.meta is None else self.meta.window(),
            "start": self.start,
            "best": self.best,
            "entropy": [self.entropy_coef, self._last_world_entropy],
        }

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        super().resume(progress)
        self.rollouts.num_generated_tokens = progress["generated_tokens"]
        self.rollouts.num_prompt_tokens = progress["prompt_tokens"]
        self.rollouts.num_batches = progress["micro_step"] // self._generate_every
        self.num_trained_tokens = progress["processed_tokens"]
        self._alarms.resume(progress["alarms"])
        if self.meta is not None:
            self.meta.load_window(progress["metarm"])
        self.start, self.best = progress["start"], progress["best"]
        self.entropy_coef, self._last_world_entropy = progress["entropy"]
        self.name_best()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card comes with the exported judge."""


def _is_news(record: logging.LogRecord) -> bool:
    """Whether TRL says something else than that a row abstains, which happens and is logged as a share."""
    return "All reward functions returned None" not in record.getMessage()
