"""Rollouts of a judge for TRL's GRPO trainer: prompts by key, seeded sampling, one reading, rewards, refill.

`Rollouts` is the trainer's `rollout_func`. A generation batch is drawn, read and rewarded (where a MetaRM completes the
rewards: `meta_reward.py`); groups without variance are replaced by other prompts, of which only what is new is drawn,
read and rewarded; then TRL gets the ids, and rewards and advantages as columns of our own. Rollouts by transformers are
drawn by the sampler of judging, each from a seed made of the run's seed, the generation batch, the prompt and the
number in its group, so they do not depend on how many processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from trl.distributed import DistributedBackend
from trl.models.utils import unwrap_model_for_generation

from reasrm.generation.hf import sample_ids
from reasrm.hashing import derive_seed
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Judgment
from reasrm.requests import SamplingParams
from reasrm.rewards.advantages import Advantages, compute_advantages
from reasrm.rewards.base import Rollout, Values
from reasrm.rewards.build import RewardFunction, Scored
from reasrm.training.rlvr.batches import replacements
from reasrm.training.rlvr.comparisons import Prompt, read_judgment
from reasrm.training.rlvr.config import RLVRStage
from reasrm.training.rlvr.meta_reward import MetaReward
from reasrm.training.rlvr.watch import describe_batch, sample_record
from reasrm.training.stage.models import BaseModel
from reasrm.training.stage.sharing import ask_together

if TYPE_CHECKING:
    from reasrm.training.rlvr.trainer import JudgeGRPOTrainer

__all__ = ["Rollouts", "SampledJudgment", "judge_reward"]


class SampledJudgment(NamedTuple):
    """A completion, read.

    Args:
        key: Of its prompt.
        judgment: In the order shown.
        ids: Up to and with its end.
        logprobs: Of these ids, where vLLM drew them.
    """

    key: str
    judgment: Judgment
    ids: list[int]
    logprobs: list[float] | None


def judge_reward(reward: list[float | None], **_: Any) -> list[float | None]:
    """Hand TRL the rewards that came with the rollouts; the name is that of its log."""
    return reward


@dataclass(eq=False)
class Rollouts:
    """Draws, reads and rewards generation batches.

    Args:
        stage: The config.
        spec: The judge's protocol.
        base: The model that training starts from: its encoder and its ends.
        prompts: All prompts that may be asked, by key.
        train_keys: Keys of the prompts to learn from, in order.
        reward: Rollouts to rewards.
        meta: Completes them where a row has no human critique.

    Attributes:
        num_batches: Generation batches so far, earlier parts of the run included.
        num_generated_tokens: Completion tokens drawn so far, over all processes, earlier parts of the run and
            groups that were replaced included.
        num_prompt_tokens: Prompt tokens read to draw them.
    """

    stage: RLVRStage
    spec: JudgeSpec
    base: BaseModel
    prompts: Mapping[str, Prompt]
    train_keys: list[str]
    reward: RewardFunction
    meta: MetaReward | None = None
    num_batches: int = field(default=0, init=False)
    num_generated_tokens: int = field(default=0, init=False)
    num_prompt_tokens: int = field(default=0, init=False)

    def __call__(self, prompts: Sequence[str], trainer: JudgeGRPOTrainer) -> dict[str, Any]:
        """Return the rollouts of a generation batch of which this process has `prompts`; all processes call this.

        Args:
            prompts: Keys, one per rollout.
            trainer: Whose policy draws.

        Returns:
            Columns of this process's rollouts, some with other prompts after a refill. `prompt_ids`, `completion_ids`
            and `logprobs` are TRL's, `reward` (None abstains) and `advantage` our own.
        """
        first = trainer.accelerator.process_index * len(prompts)
        mine = range(first, first + len(prompts))
        wanted = dict(zip(mine, prompts, strict=True))
        # By place in the global batch and in that order: what is new takes the place of what was there.
        written: dict[int, SampledJudgment] = {}
        rollouts: dict[int, Rollout] = {}
        parts: dict[str, dict[int, float | None]] = {name: {} for name in self.reward.parts}
        tried: set[str] = set()
        numbers: dict[str, float] = {}
        for attempt in range(self.stage.rollouts.refill + 1):
            drawn = self._draw(wanted, trainer)
            new = self._gather(drawn, trainer)
            written |= drawn
            rollouts |= new
            asked = ask_together(self.reward, list(new.values()), more=attempt > 0)
            for name, values in asked.items():
                parts[name] |= zip(new, values, strict=True)
            batch = list(rollouts.values())
            known = {name: list(values.values()) for name, values in parts.items()}
            learn = attempt == 0 and trainer.model.training
            scored, told = self._combine(batch, known, mine, learn=learn)
            numbers |= told  # of learning the first look tells, of all else the last
            groups = [rollout.group for rollout in batch]
            advantages = compute_advantages(scored.array(), groups, self.stage.advantages)
            tried |= {_key_of(rollout) for rollout in new.values()}
            others = self._others(groups, advantages, tried, attempt, trainer)
            if not others:
                break
            wanted = {place: others[groups[place]] for place in mine if groups[place] in others}
        self._describe(batch, scored, advantages, numbers, trainer)
        self.num_batches += 1
        return {
            "prompt_ids": self._prompts(row.key for row in written.values()),
            "completion_ids": [row.ids for row in written.values()],
            "logprobs": [row.logprobs for row in written.values()] if trainer.use_vllm else None,
            "reward": [scored.rewards[place] for place in mine],
            "advantage": [float(advantages.values[place]) for place in mine],
        }

    def _draw(self, wanted: Mapping[int, str], trainer: JudgeGRPOTrainer) -> dict[int, SampledJudgment]:
        """Draw this process's rollouts, by place."""
        size, most = trainer.num_generations, trainer.max_completion_length
        sampling = [
            SamplingParams(
                trainer.temperature,
                trainer.top_p,
                most,
                derive_seed(trainer.args.seed, "rollout", self.num_batches, key, place % size),
            )
            for place, key in wanted.items()
        ]
        found = self.sample(trainer, list(wanted.values()), sampling, self.stage.rollouts.batch_size, size)
        return dict(zip(wanted, found, strict=True))

    def _gather(self, drawn: Mapping[int, SampledJudgment], trainer: JudgeGRPOTrainer) -> dict[int, Rollout]:
        """Return what all processes have drawn, by place; every process gets the same."""
        told = gather_object([(place, row.key, row.judgment) for place, row in drawn.items()])
        new = {
            place: Rollout(
                comparison=self.prompts[key].comparison,
                judgment=judgment,
                group=f"{place // trainer.num_generations}:{key}",
                num_tokens=judgment.num_tokens or 0,
            )
            for place, key, judgment in told
        }
        self.num_generated_tokens += sum(rollout.num_tokens for rollout in new.values())
        self.num_prompt_tokens += sum(len(self.prompts[key].ids) for _, key, _ in told)
        return new

    def _combine(
        self, batch: Sequence[Rollout], parts: dict[str, Values], mine: range, *, learn: bool
    ) -> tuple[Scored, dict[str, float]]:
        """Return the rewards, and what the MetaRM has to tell."""
        if self.meta is None:
            return self.reward.combine_parts(batch, parts), {}
        return self.meta.score(self.reward, batch, parts, mine, learn=learn)

    def _others(
        self,
        groups: Sequence[str],
        advantages: Advantages,
        tried: Collection[str],
        attempt: int,
        trainer: JudgeGRPOTrainer,
    ) -> dict[str, str]:
        """Return other prompts for groups without variance, none that was tried already, as far as there are any.

        Args:
            groups: Of the global batch.
            advantages: Likewise.
            tried: Keys of the prompts that the batch holds or held.
            attempt: Which refill this would be.
            trainer: Whose seed draws them.

        Returns:
            Group → key of the prompt in its place.
        """
        if attempt == self.stage.rollouts.refill:
            return {}
        dead = [group for group in dict.fromkeys(groups) if group in advantages.dead_groups]
        rows = replacements(
            len(self.train_keys),
            [row for row, key in enumerate(self.train_keys) if key in tried],
            len(dead),
            seed=trainer.args.seed,
            round_=self.num_batches,
            attempt=attempt,
        )
        return {group: self.train_keys[row] for group, row in zip(dead, rows, strict=False)}

    def _describe(
        self,
        batch: Sequence[Rollout],
        scored: Scored,
        advantages: Advantages,
        numbers: Mapping[str, float],
        trainer: JudgeGRPOTrainer,
    ) -> None:
        """Log the batch and keep samples."""
        has_critique = self.spec.grammar.critique is not None
        found = describe_batch(batch, scored, advantages, has_critique=has_critique)
        for name, value in {**found, **numbers}.items():
            trainer._metrics["train"][name].append(value)
        watch = self.stage.watch
        if trainer.run.writable and watch.samples and self.num_batches % watch.samples_every == 0:
            for row in range(min(watch.samples, len(batch))):
                record = sample_record(trainer.state.global_step + 1, batch[row], scored, advantages, row)
                trainer.run.append("samples", record)

    # The policy as it is

    def sample(
        self,
        trainer: JudgeGRPOTrainer,
        keys: Sequence[str],
        sampling: Sequence[SamplingParams],
        batch_size: int | None = None,
        group: int = 1,
    ) -> list[SampledJudgment]:
        """Complete prompts and read the completions. All processes of a launch must call it, with equally many prompts.

        Args:
            trainer: Whose policy writes.
            keys: Of the prompts.
            sampling: How to sample each. Under vLLM all share the temperature of the first, and their seeds say
                nothing.
            batch_size: Prompts per forward pass of transformers; None: all at once.
            group: Each prompt stands so many times side by side; vLLM reads it once.
        """
        prompts = self._prompts(keys)
        logprobs: list[list[float]] | None = None
        if trainer.use_vllm:
            ids, logprobs = _by_vllm(trainer, prompts, sampling[0].temperature, group)
        else:
            ids = self._by_transformers(trainer, prompts, sampling, batch_size or len(prompts) or 1)
        return [
            self.read(key, row, params.max_tokens, None if logprobs is None else logprobs[n])
            for n, (key, row, params) in enumerate(zip(keys, ids, sampling, strict=True))
        ]

    def read(
        self, key: str, ids: Sequence[int], max_tokens: int, logprobs: Sequence[float] | None = None
    ) -> SampledJudgment:
        """Read what was generated for a prompt as judging does, see `read_judgment`."""
        judgment, kept = read_judgment(self.spec, self.base, self.prompts[key], ids, max_tokens)
        return SampledJudgment(
            key, judgment, list(kept), None if logprobs is None else list(logprobs[: len(kept)])
        )

    def _prompts(self, keys: Iterable[str]) -> list[list[int]]:
        return [self.prompts[key].ids.tolist() for key in keys]

    def _by_transformers(
        self,
        trainer: JudgeGRPOTrainer,
        prompts: Sequence[Sequence[int]],
        sampling: Sequence[SamplingParams],
        batch_size: int,
    ) -> list[list[int]]:
        rows: list[list[int]] = []
        base = self.base
        with (
            unwrap_model_for_generation(
                trainer.model_wrapped,
                trainer.accelerator,
                gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
                gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
            ) as unwrapped,
            torch.no_grad(),
            DistributedBackend(trainer.accelerator).summon_full_params(  # type: ignore[no-untyped-call]
                trainer.model_wrapped, recurse=False
            ),
        ):
            draw = _sampler_of(unwrapped, trainer)
            for start in range(0, len(prompts), batch_size):
                part = slice(start, start + batch_size)
                rows += draw(prompts[part], sampling[part], stop_ids=base.stop_ids, pad_id=base.pad_id)
        return rows


def _sampler_of(unwrapped: Any, trainer: JudgeGRPOTrainer) -> Callable[..., list[list[int]]]:
    """Return the sampler of the policy.

    Of peft's wrapper the model inside is sampled from, since peft would put its own generation config over ours. But
    FSDP2 gathers the weights outside of layers when its root is called, which is the wrapper; so sampling is made a
    call of it.
    """
    if not hasattr(unwrapped, "get_base_model"):
        return partial(sample_ids, unwrapped)
    in_step = (trainer.is_fsdp_enabled and trainer.args.world_size > 1) or None
    draw: Callable[..., list[list[int]]] = partial(sample_ids, unwrapped.get_base_model(), in_step=in_step)
    if isinstance(unwrapped, FSDPModule):
        root: Any = unwrapped
        root.draw_rollouts = draw
        register_fsdp_forward_method(root, "draw_rollouts")
        draw = root.draw_rollouts
    return draw


def _by_vllm(
    trainer: JudgeGRPOTrainer, prompts: list[list[int]], temperature: float, group: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Return ids and the log-probabilities under which they were sampled."""
    engine: Any = trainer.vllm_generation
    step = trainer.state.global_step
    if step != trainer._last_loaded_step:
        engine.sync_weights()
        trainer._last_loaded_step = step
    before, engine.temperature = engine.temperature, temperature
    try:
        _, rows, logprobs, _ = engine.generate(prompts=prompts, images=None, num_generations=group)
    finally:
        engine.temperature = before
    return [list(row) for row in rows], [[best[0] for best in row] for row in logprobs]


def _key_of(rollout: Rollout) -> str:
    return f"{rollout.comparison.id}|{rollout.comparison.order}"
