"""Rollouts of a judge under TRL's GRPO trainer: prompts by key, seeded sampling, reading, rewards, refill.

`Rollouts` goes before a trainer class. Order of a generation batch: draw → read → reward (where a MetaRM completes
it: `meta_reward.py`) → (refill: other prompts for groups without variance) → advantages → TRL, whose own drawing and
rewarding is answered with what is there already. Rollouts by transformers are drawn by the sampler of judging, each
from a seed made of the run's seed, the generation batch, the prompt and the number in its group, so they do not
depend on how many processes share the work.

Private methods of TRL 1.16 are overridden; a test compares their signatures with what this was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from trl.models.utils import unwrap_model_for_generation

from reasrm.errors import InternalError
from reasrm.generation.hf import sample_ids
from reasrm.hashing import derive_seed
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Judgment
from reasrm.requests import SamplingParams
from reasrm.rewards.advantages import Advantages, compute_advantages
from reasrm.rewards.base import Rollout
from reasrm.rewards.build import RewardFunction, Scored
from reasrm.training.rlvr.batches import replacements
from reasrm.training.rlvr.comparisons import Prompt, read_judgment
from reasrm.training.rlvr.config import RLVRStage
from reasrm.training.rlvr.meta_reward import MetaReward
from reasrm.training.rlvr.watch import describe_batch, sample_record
from reasrm.training.stage.models import BaseModel
from reasrm.training.stage.sharing import ask_together

__all__ = ["Policy", "Rollouts", "judge_reward"]

if TYPE_CHECKING:
    from trl.trainer.grpo_trainer import GRPOTrainer as _Trainer
else:
    _Trainer = object


@dataclass(frozen=True, slots=True)
class Policy:
    """How the policy is asked and read.

    Args:
        spec: The judge's protocol.
        base: The model that training starts from: its encoder and its ends.
        prompts: All prompts that may be asked, by key.
    """

    spec: JudgeSpec
    base: BaseModel
    prompts: Mapping[str, Prompt]


@dataclass(slots=True)
class _Drawn:
    """A generation batch of this process, and what the rewards say about the whole.

    Args:
        keys: Prompt of each row.
        ids: Completion of each row.
        logprobs: Of the sampler, where vLLM drew.
        scored: Rewards of the global batch.
        advantages: Of the global batch.
    """

    keys: list[str]
    ids: list[list[int]]
    logprobs: list[list[float]] | None
    scored: Scored
    advantages: Advantages


def judge_reward(**_: Any) -> list[float]:
    """Stand for our rewards where TRL wants a function and a name; `_calculate_rewards` answers instead."""
    raise InternalError("rewards are computed on the global batch")


class Rollouts(_Trainer):
    """Mixin for TRL's GRPO trainer.

    Args:
        stage: The config.
        policy: How the policy is asked and read.
        train_keys: Keys of the prompts to learn from, in order.
        reward: Rollouts to rewards.
        meta: Completes them where a row has no human critique.

    Attributes:
        num_generated_tokens: Completion tokens drawn so far, over all processes, earlier parts of the run and
            groups that were replaced included.
        num_prompt_tokens: Prompt tokens read to draw them.
    """

    num_generations: int
    max_completion_length: int

    def __init__(
        self,
        *,
        stage: RLVRStage,
        policy: Policy,
        train_keys: Sequence[str],
        reward: RewardFunction,
        meta: MetaReward | None = None,
        **named: Any,
    ) -> None:
        self.stage = stage
        self.policy = policy
        self._train_keys = list(train_keys)
        self._row_of = {key: row for row, key in enumerate(self._train_keys)}
        self._reward = reward
        self.meta = meta
        self._drawn: _Drawn | None = None
        self._meta_numbers: dict[str, float] = {}
        self.num_generated_tokens = self.num_prompt_tokens = 0
        super().__init__(**named)

    @property
    def _generate_every(self) -> int:
        return int(self.args.steps_per_generation or 1) * int(self.num_iterations)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.policy.prompts[key].ids.tolist() for key in prompts], None, {}

    # Rollouts

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        drawn = self._draw([row["prompt"] for row in inputs])
        self._drawn = drawn
        output: dict[str, Any] = super()._generate_and_score_completions(
            [{"prompt": key} for key in drawn.keys]
        )
        self._drawn = None
        first = self.accelerator.process_index * len(drawn.keys)
        mine = drawn.advantages.values[first : first + len(drawn.keys)]
        output["advantages"] = torch.tensor(mine, dtype=torch.float32, device=self.accelerator.device)
        return output

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self._drawn is None:
            raise InternalError("rollouts are drawn before TRL asks for them")
        return self._drawn.ids, self._drawn.logprobs

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        if self._drawn is None:
            raise InternalError("rewards are computed before TRL asks for them")
        rewards = torch.tensor(
            self._drawn.scored.array(), dtype=torch.float32, device=self.accelerator.device
        )
        return rewards[:, None]

    def _draw(self, keys: list[str]) -> _Drawn:
        """Draw and reward the generation batch of which this process has `keys`."""
        round_ = self._step // self._generate_every
        keys = list(keys)
        ids, logprobs = self._complete(keys, self._rollout_seeds(keys, round_))
        judgments = self._read(keys, ids)
        rollouts, scored, advantages = self._score(keys, judgments, learn=True)
        self._count(rollouts)
        seen = {self._row_of[_key_of(rollout)] for rollout in rollouts}
        first, size = self.accelerator.process_index * len(keys), self.num_generations
        for attempt in range(self.stage.rollouts.refill):
            places = self._refill(rollouts, advantages, seen, round_, attempt)
            if not places:
                break
            changed = [row for row in range(len(keys)) if (first + row) // size in places]
            for row in changed:
                keys[row] = places[(first + row) // size]
            seeds = self._rollout_seeds(keys, round_)
            new_ids, _ = self._complete([keys[row] for row in changed], [seeds[row] for row in changed])
            new = self._read([keys[row] for row in changed], new_ids)
            for row, completion, judgment in zip(changed, new_ids, new, strict=True):
                ids[row], judgments[row] = completion, judgment
            rollouts, scored, advantages = self._score(keys, judgments)
            self._count([rollout for row, rollout in enumerate(rollouts) if row // size in places])
        self._describe(rollouts, scored, advantages, round_)
        return _Drawn(keys, ids, logprobs, scored, advantages)

    def _count(self, rollouts: Sequence[Rollout]) -> None:
        self.num_generated_tokens += sum(rollout.num_tokens for rollout in rollouts)
        self.num_prompt_tokens += sum(len(self.policy.prompts[_key_of(r)].ids) for r in rollouts)

    def _rollout_seeds(self, keys: Sequence[str], round_: int) -> list[int]:
        """Return the seed of each rollout: of the run, the batch, the prompt and the number in its group."""
        first = self.accelerator.process_index * len(keys)
        return [
            derive_seed(self.args.seed, "rollout", round_, key, (first + row) % self.num_generations)
            for row, key in enumerate(keys)
        ]

    def _complete(
        self, keys: Sequence[str], seeds: Sequence[int]
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Draw completions of prompts, each at most `max_completion_length` tokens and cut behind its end."""
        if self.use_vllm:
            prompts = self._tokenize_prompts(list(keys))[0]
            drawn, logprobs = super()._generate_single_turn(  # type: ignore[no-untyped-call]
                prompts, None, {}, self.num_generations
            )
            ids = [
                list(self.read(k, row, self.max_completion_length)[1])
                for k, row in zip(keys, drawn, strict=True)
            ]
            return ids, [row[: len(kept)] for row, kept in zip(logprobs, ids, strict=True)]
        sampling = [
            SamplingParams(self.temperature, self.top_p, self.max_completion_length, seed) for seed in seeds
        ]
        return self.sample(keys, sampling, self.stage.rollouts.batch_size), None

    def sample(
        self, keys: Sequence[str], sampling: Sequence[SamplingParams], batch_size: int | None = None
    ) -> list[list[int]]:
        """Complete prompts with the policy as it is. All processes of a launch must call it, with equally many prompts.

        Args:
            keys: Of the prompts.
            sampling: How to sample each. Under vLLM all share the temperature of the first, and their seeds say
                nothing.
            batch_size: Prompts per forward pass of transformers; None: all at once.

        Returns:
            Ids of the completions, cut behind their end.
        """
        prompts = self._tokenize_prompts(list(keys))[0]
        rows = (
            self._sample_by_vllm(prompts, sampling[0].temperature)
            if self.use_vllm
            else self._sample_by_transformers(prompts, sampling, batch_size or len(prompts) or 1)
        )
        return [
            list(self.read(key, ids, params.max_tokens)[1])
            for key, ids, params in zip(keys, rows, sampling, strict=True)
        ]

    def _sample_by_transformers(
        self, prompts: Sequence[Sequence[int]], sampling: Sequence[SamplingParams], batch_size: int
    ) -> list[list[int]]:
        rows: list[list[int]] = []
        base = self.policy.base
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as unwrapped,
            torch.no_grad(),
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            draw = self._sampler_of(unwrapped)
            for start in range(0, len(prompts), batch_size):
                part = slice(start, start + batch_size)
                rows += draw(prompts[part], sampling[part], stop_ids=base.stop_ids, pad_id=base.pad_id)
        return rows

    def _sampler_of(self, unwrapped: Any) -> Callable[..., list[list[int]]]:
        """Return the sampler of the policy.

        Of peft's wrapper the model inside is sampled from, since peft would put its own generation config over ours.
        But FSDP2 gathers the weights outside of layers when its root is called, which is the wrapper; so sampling is
        made a call of it.
        """
        if not hasattr(unwrapped, "get_base_model"):
            return partial(sample_ids, unwrapped)
        in_step = (self.is_fsdp_enabled and self.args.world_size > 1) or None
        draw: Callable[..., list[list[int]]] = partial(
            sample_ids, unwrapped.get_base_model(), in_step=in_step
        )
        if isinstance(unwrapped, FSDPModule):
            root: Any = unwrapped
            root.draw_rollouts = draw
            register_fsdp_forward_method(root, "draw_rollouts")
            draw = root.draw_rollouts
        return draw

    def _sample_by_vllm(self, prompts: list[list[int]], temperature: float) -> list[list[int]]:
        if self.state.global_step != self._last_loaded_step:
            self.vllm_generation.sync_weights()  # type: ignore[no-untyped-call]
            self._last_loaded_step = self.state.global_step
        before, self.vllm_generation.temperature = self.vllm_generation.temperature, temperature
        try:
            _, rows, _, _ = self.vllm_generation.generate(prompts=prompts, images=None, num_generations=1)
        finally:
            self.vllm_generation.temperature = before
        return [list(row) for row in rows]

    def read(self, key: str, ids: Sequence[int], max_tokens: int) -> tuple[Judgment, tuple[int, ...]]:
        """Read a completion as judging does, see `read_judgment`."""
        return read_judgment(self.policy.spec, self.policy.base, self.policy.prompts[key], ids, max_tokens)

    def _read(self, keys: Sequence[str], ids: Sequence[Sequence[int]]) -> list[Judgment]:
        return [
            self.read(key, row, self.max_completion_length)[0] for key, row in zip(keys, ids, strict=True)
        ]

    def _score(
        self, keys: Sequence[str], judgments: Sequence[Judgment], *, learn: bool = False
    ) -> tuple[list[Rollout], Scored, Advantages]:
        """Reward the global batch; every process comes to the same numbers.

        Args:
            keys: Prompts of this process's rollouts.
            judgments: What was written.
            learn: Whether this batch is seen for the first time, so that a MetaRM may learn from it.
        """
        gathered = gather_object(list(zip(keys, judgments, strict=True)))
        rollouts = [
            Rollout(
                comparison=self.policy.prompts[key].comparison,
                judgment=judgment,
                group=f"{row // self.num_generations}:{key}",
                num_tokens=judgment.num_tokens or 0,
            )
            for row, (key, judgment) in enumerate(gathered)
        ]
        parts = ask_together(self._reward, rollouts)
        if self.meta is None:
            scored = self._reward.combine_parts(rollouts, parts)
        else:
            first = self.accelerator.process_index * len(keys)
            mine, learn = range(first, first + len(keys)), learn and self.model.training
            scored, numbers = self.meta.score(self._reward, rollouts, parts, mine, learn=learn)
            self._meta_numbers |= numbers  # of several looks at a batch the last one counts
        groups = [rollout.group for rollout in rollouts]
        return rollouts, scored, compute_advantages(scored.array(), groups, self.stage.advantages)

    def _refill(
        self, rollouts: Sequence[Rollout], advantages: Advantages, seen: set[int], round_: int, attempt: int
    ) -> dict[int, str]:
        """Choose other prompts for groups without variance, none that was tried already.

        Args:
            rollouts: Of the global batch.
            advantages: Of the rollouts.
            seen: Rows of the prompts tried in this batch; the chosen ones are added.
            round_: Number of the generation batch.
            attempt: Which refill of it.

        Returns:
            Number of the group in the global batch → key of its new prompt.
        """
        dead = set(advantages.dead_groups)
        size = self.num_generations
        places = [place for place in range(len(rollouts) // size) if rollouts[place * size].group in dead]
        new = replacements(
            len(self._train_keys),
            sorted(seen),
            len(places),
            seed=self.args.seed,
            round_=round_,
            attempt=attempt,
        )
        seen.update(new)
        return {place: self._train_keys[row] for place, row in zip(places, new, strict=False)}

    def _describe(
        self, rollouts: Sequence[Rollout], scored: Scored, advantages: Advantages, round_: int
    ) -> None:
        """Log the batch and keep samples."""
        has_critique = self.policy.spec.grammar.critique is not None
        numbers = describe_batch(rollouts, scored, advantages, has_critique=has_critique)
        # Learned at the first look at the batch, and routed as it is now, after refills.
        numbers |= self._meta_numbers
        self._meta_numbers = {}
        for name, value in numbers.items():
            self._metrics["train"][name].append(value)
        watch = self.stage.watch
        if self.run.writable and watch.samples and round_ % watch.samples_every == 0:
            for row in range(min(watch.samples, len(rollouts))):
                record = sample_record(self.state.global_step + 1, rollouts[row], scored, advantages, row)
                self.run.append("samples", record)


def _key_of(rollout: Rollout) -> str:
    return f"{rollout.comparison.id}|{rollout.comparison.order}"
