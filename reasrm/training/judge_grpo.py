"""`JudgeGRPOTrainer`: TRL's GRPO with a judge's prompts, a judge's reading, and a judge's rewards.

TRL does what any policy needs: padding, probabilities of the old policy and the reference, the clipped loss, vLLM.
Overridden is what a judge needs otherwise. Prompts come encoded by the encoder of judging; completions are read by the
reader of judging, from their ids; all rollouts of the global batch are rewarded together by one function, whose parts
can abstain; advantages come from `reasrm.rewards.advantages`. Rollouts by transformers are drawn by the sampler of
judging, each from a seed made of the run's seed, the generation batch, the prompt and the number in its group, so they
do not depend on how many processes share the work.

A dataset row is nothing but the key of a prompt. Order of a generation batch: draw → read → reward → (refill: other
prompts for groups without variance) → advantages → TRL. Deviations from GRPO (arXiv 2402.03300): none by default;
`pre_clip` is StableReinforce's (arXiv 2505.02835), whose clamp here also bounds the ratio inside the KL term.

Private methods of TRL 1.16 are overridden; `tests/training/test_contract.py` compares their signatures with what this
was written for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_trainer import GRPOTrainer

from reasrm.errors import ConfigError, InternalError
from reasrm.generation.hf import sample_ids
from reasrm.hashing import derive_seed
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Judgment
from reasrm.requests import SamplingParams
from reasrm.rewards.advantages import Advantages, compute_advantages
from reasrm.rewards.base import RewardProblem, Rollout
from reasrm.rewards.build import RewardFunction, Scored
from reasrm.runs import write_best
from reasrm.training.batches import ComparisonSampler, replacements
from reasrm.training.checkpoints import SafeCheckpoints
from reasrm.training.comparisons import Prompt, read_judgment
from reasrm.training.guards import GuardedSteps
from reasrm.training.models import BaseModel
from reasrm.training.rlvr_config import RLVRStage
from reasrm.training.watch import Alarms, describe_batch, sample_record

__all__ = ["JudgeGRPOTrainer", "Policy"]

_LOG = logging.getLogger("reasrm")


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


class JudgeGRPOTrainer(GuardedSteps, SafeCheckpoints, GRPOTrainer):
    """TRL's trainer for a judge.

    Args:
        stage: The config.
        policy: How the policy is asked and read.
        train_keys: Keys of the prompts to learn from, in order.
        reward: Rollouts to rewards.
        stop_alarm: Called with a sentence when an alarm sounds; by default the log is told.

    Attributes:
        num_generated_tokens: Completion tokens drawn so far, over all processes, earlier parts of the run included.
        num_prompt_tokens: Prompt tokens read to draw them.
        num_trained_tokens: Tokens of prompts and completions that went through the backward pass.
        start: Accuracy by which checkpoints are chosen, before the first step, or None.
        best: Step, accuracy and splits of the best validation so far, or None.
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
        say: Callable[[str], None] = _LOG.warning,
        **named: Any,
    ) -> None:
        from datasets import Dataset

        self.stage = stage
        self.policy = policy
        self._train_keys = list(train_keys)
        self._row_of = {key: row for row, key in enumerate(self._train_keys)}
        self._reward = reward
        self._say = say
        self._alarms = Alarms(stage.watch.alarms)
        self._drawn: _Drawn | None = None
        self._old_logps: torch.Tensor | None = None
        self._stop_reason: str | None = None
        self.num_generated_tokens = self.num_prompt_tokens = self.num_trained_tokens = 0
        self.start: float | None = None
        self.best: dict[str, Any] | None = None
        super().__init__(
            reward_funcs=judge_reward, train_dataset=Dataset.from_dict({"prompt": self._train_keys}), **named
        )
        self.eos_token_ids = sorted(policy.base.stop_ids)
        # TRL's shape checks want it set; every reading of ours uses the base's.
        self._tokenizer.pad_token_id = policy.base.pad_id
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
        if len(self._train_keys) < groups:
            raise ConfigError(
                f"a generation batch takes {groups} prompts, and there are {len(self._train_keys)}",
                place="data.train",
                remedy="give more pairs, or set trainer.generation_batch_size lower",
            )
        if self.stage.rollouts.refill and (self.is_fsdp_enabled or self._zero_stage == 3):
            raise ConfigError(
                "rollouts.refill draws unequal numbers in each process, which sharded weights cannot do",
                place="rollouts.refill",
                remedy="set it to 0, or use DDP or ZeRO-2",
            )

    @property
    def _unit(self) -> int:
        return 2 if self.stage.data.orders == "both" else 1

    @property
    def _prompts_per_batch(self) -> int:
        return int(self.args.generation_batch_size or 0) // self.num_generations

    @property
    def _zero_stage(self) -> int:
        plugin = self.accelerator.state.deepspeed_plugin
        return 0 if plugin is None else int(plugin.zero_stage)

    @property
    def _generate_every(self) -> int:
        return int(self.args.steps_per_generation or 1) * int(self.num_iterations)

    # Which prompts

    def _get_train_sampler(self, dataset: Any = None) -> ComparisonSampler:
        return ComparisonSampler(
            len(self._train_keys),
            unit=self._unit,
            prompts_per_batch=self._prompts_per_batch,
            group_size=self.num_generations,
            repeats=self._generate_every,
            seed=self.args.seed,
        )

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
        rollouts, scored, advantages = self._score(keys, judgments)
        for attempt in range(self.stage.rollouts.refill):
            changed = self._refill(keys, rollouts, advantages, round_, attempt)
            if changed is None:
                break
            seeds = self._rollout_seeds(keys, round_)
            new_ids, _ = self._complete([keys[row] for row in changed], [seeds[row] for row in changed])
            new = self._read([keys[row] for row in changed], new_ids)
            for row, completion, judgment in zip(changed, new_ids, new, strict=True):
                ids[row], judgments[row] = completion, judgment
            rollouts, scored, advantages = self._score(keys, judgments)
        self._describe(rollouts, scored, advantages, round_)
        return _Drawn(keys, ids, logprobs, scored, advantages)

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
            # peft would put its own generation config over ours.
            model = unwrapped.get_base_model() if hasattr(unwrapped, "get_base_model") else unwrapped
            for start in range(0, len(prompts), batch_size):
                part = slice(start, start + batch_size)
                rows += sample_ids(
                    model, prompts[part], sampling[part], stop_ids=base.stop_ids, pad_id=base.pad_id
                )
        return rows

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
        self, keys: Sequence[str], judgments: Sequence[Judgment]
    ) -> tuple[list[Rollout], Scored, Advantages]:
        """Reward the global batch; every process comes to the same numbers."""
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
        scored = self._reward_once(rollouts)
        groups = [rollout.group for rollout in rollouts]
        return rollouts, scored, compute_advantages(scored.array(), groups, self.stage.advantages)

    def _reward_once(self, rollouts: Sequence[Rollout]) -> Scored:
        """Ask the reward in one process and tell the others: a referee is paid once, and all go on from one answer."""
        if self.args.world_size == 1:
            return self._reward(rollouts)
        answer: list[Any] = [None, None]
        problem: RewardProblem | None = None
        if self.args.process_index == 0:
            try:
                answer[0] = self._reward(rollouts)
            except RewardProblem as error:
                problem, answer[1] = error, (error.part, error.cause)
        broadcast_object_list(answer)
        if answer[1] is not None:
            raise problem or RewardProblem(*answer[1])
        scored: Scored = answer[0]
        return scored

    def _refill(
        self, keys: list[str], rollouts: Sequence[Rollout], advantages: Advantages, round_: int, attempt: int
    ) -> list[int] | None:
        """Put other prompts in the place of groups without variance; return this process's rows that changed."""
        dead = set(advantages.dead_groups)
        size = self.num_generations
        places = [place for place in range(len(rollouts) // size) if rollouts[place * size].group in dead]
        taken = {self._row_of[_key_of(rollout)] for rollout in rollouts}
        new = replacements(
            len(self._train_keys),
            sorted(taken),
            len(places),
            seed=self.args.seed,
            round_=round_,
            attempt=attempt,
        )
        if not new:
            return None
        first = self.accelerator.process_index * len(keys)
        changed = []
        for place, prompt in zip(places, new, strict=False):
            for row in range(place * size - first, (place + 1) * size - first):
                if 0 <= row < len(keys):
                    keys[row] = self._train_keys[prompt]
                    changed.append(row)
        return changed

    def _describe(
        self, rollouts: Sequence[Rollout], scored: Scored, advantages: Advantages, round_: int
    ) -> None:
        """Log the batch, count its tokens, sound alarms, keep samples."""
        self.num_generated_tokens += sum(rollout.num_tokens for rollout in rollouts)
        self.num_prompt_tokens += sum(len(self.policy.prompts[_key_of(r)].ids) for r in rollouts)
        has_critique = self.policy.spec.grammar.critique is not None
        numbers = describe_batch(rollouts, scored, advantages, has_critique=has_critique)
        for name, value in numbers.items():
            self._metrics["train"][name].append(value)
        for alarm, value in self._alarms.check(numbers):
            bound = f"below {alarm.below}" if alarm.below is not None else f"above {alarm.above}"
            text = (
                f"alarm at step {self.state.global_step + 1}: {alarm.metric} is {value:.4g}, {bound} "
                f"in {alarm.patience} batches in a row"
            )
            if alarm.action == "stop":
                self._stop_reason = text
            if self.run.writable:
                self._say(text)
        watch = self.stage.watch
        if self.run.writable and watch.samples and round_ % watch.samples_every == 0:
            for row in range(min(watch.samples, len(rollouts))):
                record = sample_record(self.state.global_step + 1, rollouts[row], scored, advantages, row)
                self.run.append("samples", record)

    # Loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        inputs, share = self._unsettled(inputs)
        # TRL sums these itself, on the same mask.
        tokens = inputs["prompt_mask"].sum() + inputs["completion_mask"].sum()
        self.num_trained_tokens += int(self.accelerator.reduce(tokens, reduction="sum"))
        self._old_logps = inputs.get("old_per_token_logps") if self.stage.pre_clip else None
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
            return loss * share
        finally:
            self._old_logps = None

    def _unsettled(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Leave out rows whose advantage is 0, which carry no loss; return the rest and what its mean is worth.

        At least one row stays: without a backward pass DDP and ZeRO would wait for each other.
        """
        settled = inputs["advantages"] == 0
        if not self._skips or not bool(settled.any()):
            return inputs, 1.0
        keep = ~settled
        if not bool(keep.any()):
            keep[0] = True
        size = len(settled)
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
        return rest, 1.0 if self.loss_type in ("dapo", "cispo") else int(keep.sum()) / size

    @property
    def _skips(self) -> bool:
        return (
            self.stage.skip_settled
            and self.beta == 0.0
            and not self._entropy_bonus_enabled
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

    # What a checkpoint keeps

    @property
    def at_boundary(self) -> bool:
        """Whether no part of a generation batch is still to be learned from, so that a checkpoint loses nothing."""
        return self._step % self._generate_every == 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self._name_best()

    def _name_best(self) -> None:
        if self.best is not None and self.run.writable:
            write_best(self.run.path, {**self.best, "start": self.start})

    def kept_steps(self) -> tuple[int, ...]:
        """Return the step of the best checkpoint, which is never removed."""
        return () if self.best is None else (self.best["step"],)

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of counts, alarms and the best so far."""
        if not self.at_boundary:
            raise InternalError("a checkpoint between two generation batches would lose the rest of one")
        return {
            **super().progress(),
            "generated_tokens": self.num_generated_tokens,
            "prompt_tokens": self.num_prompt_tokens,
            "processed_tokens": self.num_trained_tokens,
            "micro_step": self._step,
            "alarms": list(self._alarms.streaks),
            "start": self.start,
            "best": self.best,
            "entropy": [self.entropy_coef, self._last_world_entropy],
        }

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        super().resume(progress)
        self.num_generated_tokens = progress["generated_tokens"]
        self.num_prompt_tokens = progress["prompt_tokens"]
        self.num_trained_tokens = progress["processed_tokens"]
        self._step = progress["micro_step"]
        self._alarms.streaks = list(progress["alarms"])
        self.start, self.best = progress["start"], progress["best"]
        self.entropy_coef, self._last_world_entropy = progress["entropy"]
        self._name_best()

    @property
    def stop_reason(self) -> str | None:
        """Why an alarm wants training to stop, or None."""
        return self._stop_reason

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card comes with the exported judge."""


def _key_of(rollout: Rollout) -> str:
    return f"{rollout.comparison.id}|{rollout.comparison.order}"
