"""What the RLVR stage is told: comparisons, rewards, advantages, what is watched, when training stops.

`trainer:` takes the arguments of TRL's `GRPOConfig` by their own names. Where the user says nothing RM-R1's numbers
(arXiv 2505.02387, section 4 and released scripts) stand in for TRL's defaults; `docs/rlvr.md` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from reasrm.config import Config, EndpointSection, OneOrMany, nearest
from reasrm.metarm.scale import BonusScale
from reasrm.rewards.config import AdvantageSection, RewardSection
from reasrm.scorers.config import CritiqueSection
from reasrm.tables import ColumnMap
from reasrm.training.rlvr.metric_names import metric_names, names_metric
from reasrm.training.stage.config import OWNED, Dtype, LoraSection, Stage, load_stage

__all__ = [
    "GRPO_OWNED",
    "Alarm",
    "CanarySection",
    "ComparisonSection",
    "MetaRewardSection",
    "PreClipSection",
    "RLVRStage",
    "RefereeSection",
    "RolloutSection",
    "SelectionSection",
    "ValidationSection",
    "WatchSection",
    "load_rlvr_stage",
]

_REWARDS = "set rewards and advantages at the top of the file"
_VALIDATION = "set validation at the top of the file"
_REFERENCE = "leave it out: the reference is the model that training starts from"
_ROLLOUTS = "leave it out: rollouts are drawn by the judge's own sampler, from temperature and top_p"
GRPO_OWNED: dict[str, str] = OWNED | {
    "reward_weights": _REWARDS,
    "scale_rewards": _REWARDS,
    "multi_objective_aggregation": _REWARDS,
    "chat_template_kwargs": "set template_options in the spec",
    "use_transformers_continuous_batching": _ROLLOUTS,
    "use_transformers_paged": _ROLLOUTS,
    "transformers_continuous_batching_config": _ROLLOUTS,
    "generation_kwargs": _ROLLOUTS,
    "cache_implementation": _ROLLOUTS,
    "log_completions": "set watch.samples",
    "log_completions_hub_repo": "set watch.samples",
    "num_completions_to_print": "set watch.samples",
    "log_unique_prompts": "set watch.samples",
    "log_multimodal": "leave it out: judges read text",
    "shuffle_dataset": "leave it out: each epoch has an order of its own, drawn from the seed",
    **dict.fromkeys(("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"), _REFERENCE),
    "max_tool_calling_iterations": "leave it out: rollouts call no tools",
    **dict.fromkeys(
        (
            *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "num_generations_eval"),
            *("per_device_eval_batch_size", "eval_accumulation_steps", "batch_eval_metrics"),
            *("metric_for_best_model", "greater_is_better"),
        ),
        _VALIDATION,
    ),
}
"""Arguments of `GRPOConfig` that the stage sets itself, and where to say it instead."""


class ComparisonSection(Config):
    """Which pairs are judged in rollouts, and how they are shown.

    Args:
        train: Files of preference pairs or labelled comparisons, of any schema that `reasrm judge` reads.
        columns: Field → the column, or path into one, that holds it in these files and those of `validation`.
        orders: `random`: one order per pair, drawn from its id and the seed; `each_epoch`: the same in the first epoch,
            drawn anew from id, seed and epoch in every other, so that no order can be learned by heart; `both`: each
            order is a prompt, and both are in one batch; `given`: the order of the row, which a preference pair does
            not have.
        max_prompt_tokens: Longest prompt. A longer one is dropped and counted, never cut.
        limit: Read at most this many rows.
        rubrics: File of rubrics by row id or request, shown with these pairs and those of `validation`.
        rubrics_that_saw_labels: Take also rubrics whose authors knew the labels of the very pairs.
    """

    train: OneOrMany = Field(min_length=1)
    columns: ColumnMap = Field(default_factory=dict)
    orders: Literal["random", "each_epoch", "both", "given"] = "random"
    max_prompt_tokens: int = Field(default=4096, gt=0)
    limit: int | None = Field(default=None, gt=0)
    rubrics: str | None = None
    rubrics_that_saw_labels: bool = False


class ValidationSection(Config):
    """Held-out pairs that are judged along the way; greedy, so that only the policy changes between two times.

    Args:
        splits: Name of a split → files.
        every: Judge them every so many steps, before the first and after the last.
        limit: Judge at most this many rows of each split, drawn by the seed.
        orders: `random`: one order per pair; `both`: each row in both.
        temperature: Of sampling; 0 is greedy.
        batch_size: Rows per process and forward pass.
        allow_training_rows: Let a checkpoint be chosen by rows that are learned from.
    """

    splits: dict[str, Annotated[OneOrMany, Field(min_length=1)]] = Field(min_length=1)
    every: int = Field(default=50, gt=0)
    limit: int | None = Field(default=500, gt=0)
    orders: Literal["random", "both"] = "random"
    temperature: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=64, gt=0)
    allow_training_rows: bool = False


class SelectionSection(Config):
    """Which checkpoint is the result, and when to stop looking for a better one.

    Args:
        split: Accuracy of this split decides; by default the mean over all splits.
        patience: Stop after so many validations without a better one; null trains to the end.
        min_gain: What counts as better.
    """

    split: str | None = None
    patience: int | None = Field(default=None, gt=0)
    min_gain: float = Field(default=0.0, ge=0)


class RolloutSection(Config):
    """How rollouts are drawn.

    Args:
        batch_size: Rollouts per process and forward pass; by default all of a generation batch at once.
        refill: Replace prompts whose group has no variance by others and draw again, at most so many times (DAPO's
            dynamic sampling). The prompts come on top of the epoch's.
    """

    batch_size: int | None = Field(default=None, gt=0)
    refill: int = Field(default=0, ge=0)


class PreClipSection(Config):
    """StableReinforce: the ratio of new to old probability is clamped before it is clipped (R1-Reward, released)."""

    low: float = Field(default=1e-3, gt=0, lt=1)
    high: float = Field(default=1e3, gt=1)


class Alarm(Config):
    """A threshold on something logged.

    Args:
        metric: Its name in `metrics.jsonl`.
        below: Sound when it is less.
        above: Sound when it is more.
        patience: Only when it is so this many times in a row that the metric is logged.
        action: `warn`, or `stop` training with a checkpoint, once the generation batch is learned from.
    """

    metric: str = Field(min_length=1)
    below: float | None = None
    above: float | None = None
    patience: int = Field(default=3, gt=0)
    action: Literal["warn", "stop"] = "warn"

    @model_validator(mode="after")
    def _has_a_threshold(self) -> Alarm:
        if (self.below is None) == (self.above is None):
            raise ValueError("an alarm has either below or above")
        return self


class CanarySection(Config):
    """A few fixed pairs whose greedy judgments are kept in `canary.jsonl`, to be read by a person.

    Args:
        rows: How many, the first of the first validation split, or of the training rows where there is none.
        every: Every so many steps.
    """

    rows: int = Field(default=4, gt=0)
    every: int = Field(default=50, gt=0)


class WatchSection(Config):
    """What a person is shown of a run, beside the numbers of every step.

    Args:
        samples: Rollouts written to `samples.jsonl` each time, the first of the batch.
        samples_every: Every so many generation batches.
        canary: Fixed pairs; null leaves them out.
        alarms: Thresholds.
    """

    samples: int = Field(default=4, ge=0)
    samples_every: int = Field(default=10, gt=0)
    canary: CanarySection | None = CanarySection()
    alarms: tuple[Alarm, ...] = (
        Alarm(metric="rollouts/coverage", below=0.5),
        Alarm(metric="rollouts/share_a", above=0.9),
        Alarm(metric="rollouts/share_a", below=0.1),
    )


class RefereeSection(EndpointSection):
    """Who answers for `consistency_ladder` whether the last lines of a judgment fit its verdict.

    Args:
        model: Model folder, hub id, or `openai:MODEL@BASE_URL`.
        max_tokens: Room for its reply of one digit, thinking included; a model that reasons first needs 4096.
    """

    model: str = Field(min_length=1)
    max_tokens: int = Field(default=16, gt=0)


class MetaRewardSection(Config):
    """A MetaRM that stands in for the critique part of the reward on rows without a human critique (RM-NLHF).

    Args:
        path: A MetaRM's folder, or a finished run of `reasrm metarm`.
        mode: `online`: it learns from the rollouts of rows with critiques, before it scores; `frozen`: it stays as it
            is.
        fills: Name of the critique part.
        bonus_scale: `published`: max(0, s − 1), so that a perfect MetaRM pays half of what a critique pays, as in the
            released code; `calibrated`: what the target was made of, so that it pays as much.
        max_variance: Withhold the bonus where the members' scores vary more; needs a MetaRM of several members.
        holdout: Share of rows with critiques, by id, that it never learns from; they measure it.
        window: Held-out rollouts, the last ones, over which it is measured.
        learning_rate: Of its AdamW, constant; 5e-6 as released.
        weight_decay: Of its AdamW.
        max_grad_norm: Longest gradient.
        epochs: Passes over the rows of a batch.
        rows_per_step: Rows of all processes per optimizer step; null: all of a batch in one.
        batch_size: Rows per process and forward pass.
        dtype: Of its weights; the head is float32 in any case. `auto` is bfloat16 on a GPU where the body stays as it
            is, under LoRA and `frozen`, else float32. Body weights that are trained in bfloat16 have a float32 copy.
        lora: Train adapters and the head; null trains all weights.
        gradient_checkpointing: Compute activations again in its backward pass; null: as the policy does.
    """

    path: str = Field(min_length=1)
    mode: Literal["online", "frozen"] = "online"
    fills: str = "critique"
    bonus_scale: BonusScale = "published"
    max_variance: float | None = Field(default=None, ge=0)
    holdout: float = Field(default=0.05, ge=0, lt=1)
    window: int = Field(default=512, gt=1)
    learning_rate: float = Field(default=5e-6, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=1, gt=0)
    rows_per_step: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=16, gt=0)
    dtype: Dtype = "auto"
    lora: LoraSection | None = None
    gradient_checkpointing: bool | None = None

    @model_validator(mode="after")
    def _adapters_learn(self) -> MetaRewardSection:
        if self.lora is not None and self.mode == "frozen":
            raise ValueError(
                "metarm.lora trains adapters, and mode: frozen trains nothing; drop one of the two"
            )
        if self.lora is not None and self.lora.dropout:
            raise ValueError(
                f"metarm.lora.dropout is {self.lora.dropout:g}, and the MetaRM learns without dropout"
            )
        return self


class RLVRStage(Stage):
    """Reinforcement learning with verifiable rewards: GRPO on preference labels.

    Args:
        stage: `rlvr`.
        data: The comparisons.
        validation: Held-out pairs, or null.
        selection: Which checkpoint is the result; needs `validation`.
        rewards: What a rollout earns.
        referee: Needed by a reward part of the kind `consistency_ladder`.
        critique: How critiques are read and compared; needed by a reward part of the kind `critique`.
        metarm: Stands in for the critique part where a row has no critique; null does not.
        advantages: How rewards become advantages.
        rollouts: How rollouts are drawn.
        pre_clip: Clamp the probability ratio first; null does not.
        skip_settled: Leave rollouts with advantage 0 out of the forward and backward pass where they carry no loss:
            without KL and entropy terms. The gradient is the same.
        watch: Samples, canary, alarms.
    """

    trainer_class: ClassVar[str] = "trl.trainer.grpo_config:GRPOConfig"
    owned: ClassVar[Mapping[str, str]] = GRPO_OWNED

    stage: Literal["rlvr"]
    data: ComparisonSection
    validation: ValidationSection | None = None
    selection: SelectionSection | None = None
    rewards: RewardSection = Field(default_factory=RewardSection)
    referee: RefereeSection | None = None
    critique: CritiqueSection | None = None
    metarm: MetaRewardSection | None = None
    advantages: AdvantageSection = AdvantageSection()
    rollouts: RolloutSection = RolloutSection()
    pre_clip: PreClipSection | None = None
    skip_settled: bool = True
    watch: WatchSection = WatchSection()

    @model_validator(mode="after")
    def _fits_together(self) -> RLVRStage:
        if self.selection is not None and self.validation is None:
            raise ValueError("selection needs validation")
        split = self.selection.split if self.selection else None
        if self.validation and split is not None and split not in self.validation.splits:
            raise ValueError(f"selection.split {split!r} is none of: {', '.join(self.validation.splits)}")
        for name, part in self.rewards.parts.items():
            if part.asks and getattr(self, part.asks) is None:
                raise ValueError(f"rewards.parts.{name} asks what the section `{part.asks}` sets up; add it")
        reads = [name for name, part in self.rewards.parts.items() if part.kind == "critique"]
        if self.metarm is not None and self.metarm.fills not in reads:
            raise ValueError(f"metarm.fills {self.metarm.fills!r} is no reward part of the kind critique")
        if not any(part.weight for part in self.rewards.parts.values()):
            raise ValueError("the weights of all rewards.parts are 0, so every reward would be the same")
        for name, part in self.rewards.parts.items():
            if part.kind == "outcome" and part.weight < 0:
                raise ValueError(
                    f"rewards.parts.{name}.weight is {part.weight:g}, which would pay for wrong verdicts"
                )
        self._check_alarms()
        if self.rollouts.refill and self.data.orders == "both":
            raise ValueError("rollouts.refill would tear the two orders of a pair apart; use one of the two")
        if self.rollouts.refill and self.data.orders == "each_epoch":
            raise ValueError(
                "rollouts.refill takes prompts of other rows whatever the epoch's order; use data.orders: random"
            )
        if self.rollouts.refill and self.trainer.get("use_vllm"):
            raise ValueError("rollouts.refill draws through transformers only; leave use_vllm or refill out")
        return self

    def _check_alarms(self) -> None:
        """Refuse alarms that could never sound."""
        splits = self.validation.splits if self.validation else ()
        meta = self.metarm is not None
        for number, alarm in enumerate(self.watch.alarms):
            if not names_metric(alarm.metric, self.rewards.parts, splits, meta=meta):
                known = metric_names(self.rewards.parts, meta=meta)
                known += [f"eval/{split}/accuracy" for split in splits]
                guess = nearest(alarm.metric, known)
                raise ValueError(
                    f"watch.alarms.{number}.metric: nothing is logged as {alarm.metric!r}; "
                    + (f"did you mean {guess!r}?" if guess else "take a name from metrics.jsonl")
                )


load_rlvr_stage = partial(load_stage, RLVRStage)
