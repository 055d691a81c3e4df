"""The loss of a generation batch, from the formula and from TRL; what may be left out; the ids that judging sees."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from reasrm.rewards.base import Part
from reasrm.training.rlvr.trainer import JudgeGRPOTrainer
from reasrm.training.stage.models import load_weights
from tests.commands import rows_of
from tests.training.stages import draw, rlvr_trainer, write_rlvr_stage

pytestmark = pytest.mark.slow

REWARDS: list[float | None] = [1.0, -1.0, 0.5, 1.0, 0.25, None, -1.0, 2.0]
"""Of the eight rollouts of a batch: two groups, one row abstains."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rlvr_stage(tmp_path_factory.mktemp("stage"), lora=None)


@pytest.fixture
def build(config: Path, tmp_path: Path) -> Iterator[Callable[..., JudgeGRPOTrainer]]:
    """Trainers of the stage, whose rollouts earn `REWARDS`."""
    built: list[JudgeGRPOTrainer] = []

    def make(*overrides: str, rewards: Sequence[float | None] = REWARDS) -> JudgeGRPOTrainer:
        parts = {"outcome": by_place(rewards), "brevity": by_place([0.0])}
        trainer = rlvr_trainer(config, tmp_path / f"run-{len(built)}", *overrides, parts=parts)
        built.append(trainer)
        return trainer

    yield make
    for trainer in built:
        trainer.run.close()


def by_place(rewards: Sequence[float | None]) -> Part:
    """Rewards by place in the batch."""
    return lambda rollouts: [rewards[row % len(rewards)] for row in range(len(rollouts))]


def rows(trainer: JudgeGRPOTrainer) -> list[dict[str, Any]]:
    """What the data loader gives for one generation batch of one process."""
    size = trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation
    return [{"prompt": trainer.rollouts.train_keys[row]} for row in list(trainer._get_train_sampler())[:size]]


def prepare(trainer: GRPOTrainer, batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw a batch of one micro-step; TRL shuffles it by torch's generator."""
    torch.manual_seed(0)
    trainer.model.train()
    inputs: dict[str, Any] = trainer._prepare_inputs(batch)
    return inputs


def gradients(
    trainer: GRPOTrainer, inputs: dict[str, Any]
) -> tuple[float, dict[str, torch.Tensor], dict[str, list[float]]]:
    """Loss, gradients by name, and the numbers that TRL keeps, of a batch as it is."""
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    grads = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), grads, dict(trainer._metrics["train"])


def assert_alike(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], limit: float) -> None:
    """Gradients differ by at most that part of their size, and there are some."""
    assert ours.keys() == theirs.keys()
    assert max(float(grad.abs().max()) for grad in theirs.values()) > 1e-4
    for name, grad in theirs.items():
        assert float((ours[name] - grad).norm()) <= limit * float(grad.norm()) + 1e-9, name


def disturb(model: torch.nn.Module, size: float) -> None:
    """Move all weights a little, as a step of the optimizer would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)


def row_logps(model: Any, prompt: list[int], completion: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities of one completion, read alone and without padding."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)[range(len(completion)), completion]


def reference_loss(
    trainer: JudgeGRPOTrainer,
    drawn: dict[str, Any],
    old_model: Any,
    first_model: Any,
    *,
    low: float,
    high: float,
) -> torch.Tensor:
    """GRPO as the papers write it, row by row.

    A = (r − mean)/(std + 1e-4) over the group, rows that abstain left out; per token min(ρA, clip(ρ)A) − β(e^d − d − 1)
    with d = log π_ref − log π; the mean over the tokens of a row, then over rows.
    """
    clip, terms = trainer.stage.pre_clip, []
    for row, (key, ids) in enumerate(zip(drawn["keys"], drawn["completion_ids"], strict=True)):
        group = [reward for reward in REWARDS[row // 4 * 4 :][:4] if reward is not None]
        reward = REWARDS[row]
        deviation = float(np.std(group, ddof=1)) + 1e-4
        advantage = 0.0 if reward is None else (reward - float(np.mean(group))) / deviation
        prompt = trainer.rollouts.prompts[key].ids.tolist()
        new = row_logps(trainer.model, prompt, ids, trainer.temperature)
        with torch.no_grad():
            old = row_logps(old_model, prompt, ids, trainer.temperature)
            first = row_logps(first_model, prompt, ids, trainer.temperature)
        difference = new - old
        if clip is not None:
            difference = difference.clamp(math.log(clip.low), math.log(clip.high))
        ratio = difference.exp()
        gained = torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
        away = first - (old + difference)
        terms.append((gained - trainer.beta * (away.exp() - away - 1)).mean())
    return -torch.stack(terms).mean()


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0},
        {"beta": 0.1, "num_iterations": 2, "epsilon": 0.1, "epsilon_high": 0.28, "temperature": 0.7},
        {"beta": 0.1, "num_iterations": 2, "pre_clip": "{low: 0.9, high: 1.05}"},
    ],
    ids=["on-policy", "kl-and-a-ratio", "pre-clip"],
)
def test_the_loss_is_that_of_the_formula(
    build: Callable[..., JudgeGRPOTrainer], settings: dict[str, Any]
) -> None:
    names = [f"{'' if name == 'pre_clip' else 'trainer.'}{name}={value}" for name, value in settings.items()]
    trainer = build("skip_settled=false", "trainer.max_steps=4", *names)
    off_policy = trainer.num_iterations == 2
    first = plain_copy(trainer)
    if off_policy:  # the policy that draws is no longer the reference
        disturb(trainer.model, 0.003)
    old = plain_copy(trainer)
    drawn = draw(trainer, [row["prompt"] for row in rows(trainer)])
    inputs = prepare(trainer, rows(trainer))
    if off_policy:  # and the one that learns no longer the one that drew
        disturb(trainer.model, 0.01)
    loss, grads, numbers = gradients(trainer, inputs)
    trainer.model.zero_grad()
    expected = reference_loss(trainer, drawn, old, first, low=trainer.epsilon_low, high=trainer.epsilon_high)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-5)
    theirs = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert_alike(grads, theirs, 1e-4)
    if off_policy:
        assert trainer.epsilon_high == settings.get("epsilon_high", 0.2)
        assert numbers["kl"][0] > 1e-3
        assert numbers["clip_ratio/region_mean"][0] > 0 or trainer.stage.pre_clip is not None


def plain_copy(trainer: JudgeGRPOTrainer) -> Any:
    """The policy's weights in a model that TRL has not touched."""
    base = trainer.rollouts.base
    model = load_weights(base, trainer.stage.model, torch.float32)
    model.load_state_dict(trainer.model.state_dict())
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "scale"),
    [("group", "group"), ("mean_only", "none"), ("batch", "batch")],
    ids=lambda value: value,
)
def test_the_loss_is_that_of_trl_where_both_can(
    build: Callable[..., JudgeGRPOTrainer], kind: str, scale: str
) -> None:
    ours = build(f"advantages.kind={kind}", "trainer.beta=0.05")
    drawn = draw(ours, [row["prompt"] for row in rows(ours)])
    arguments = copy.copy(ours.args)
    arguments.scale_rewards = scale
    stock = GRPOTrainer(
        model=plain_copy(ours),
        reward_funcs=lambda prompts, **_: REWARDS,
        args=arguments,
        train_dataset=ours.train_dataset,
        processing_class=ours.processing_class,
    )
    stock.rollout_func = lambda *_: {
        name: drawn[name] for name in ("prompt_ids", "completion_ids", "logprobs")
    }
    theirs = prepare(stock, rows(ours))
    inputs = prepare(ours, rows(ours))
    assert inputs.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(inputs[name].float(), value.float(), atol=1e-5), name
    loss, grads, _ = gradients(ours, inputs)
    stock_loss, stock_grads, _ = gradients(stock, theirs)
    assert loss == pytest.approx(stock_loss, abs=1e-6)
    assert_alike(grads, stock_grads, 1e-4)


LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo")


@pytest.mark.parametrize(
    "rewards",
    [[1.0, 1.0, 1.0, 1.0, 0.25, None, -1.0, 2.0], [None, 1.0, None, 1.0] * 2],
    ids=["some-settled", "all-settled"],
)
def test_leaving_settled_rows_out_changes_no_gradient(
    build: Callable[..., JudgeGRPOTrainer], rewards: list[float | None]
) -> None:
    trainer = build("trainer.beta=0", "trainer.num_iterations=2", "trainer.max_steps=4", rewards=rewards)
    inputs = prepare(trainer, rows(trainer))
    settled = int((inputs["advantages"] == 0).sum())
    assert settled == (5 if rewards[4] else 8)
    disturb(trainer.model, 0.01)
    for loss_type in LOSSES:
        trainer.loss_type = loss_type
        found = {}
        for skip in (True, False):
            trainer.stage = trainer.stage.model_copy(update={"skip_settled": skip})
            trainer.num_trained_tokens = 0
            found[skip] = (*gradients(trainer, inputs)[:2], trainer.num_trained_tokens)
        (loss, grads, tokens), (all_loss, all_grads, all_tokens) = found[True], found[False]
        assert loss == pytest.approx(all_loss, abs=1e-6), loss_type
        assert tokens < all_tokens
        if settled == 8:
            assert all(not grad.any() for grad in (*grads.values(), *all_grads.values()))
        else:
            assert_alike(grads, all_grads, 1e-4)


@pytest.mark.parametrize(
    "setting", ["trainer.beta=0.1", "trainer.entropy_coef=0.1", "trainer.loss_type=sapo"]
)
def test_settled_rows_stay_where_they_carry_loss(
    build: Callable[..., JudgeGRPOTrainer], setting: str
) -> None:
    trainer = build("trainer.beta=0", setting, rewards=[1.0, 1.0, 1.0, 1.0, 0.25, None, -1.0, 2.0])
    inputs = prepare(trainer, rows(trainer))
    assert trainer._unsettled(inputs)[0] is inputs


def test_one_pass_of_eight_rollouts_is_eight_passes_of_one(config: Path, tmp_path: Path) -> None:
    """Equal too, up to rounding: weights, which move by what the gradients say (plain SGD)."""
    runs = []
    for size in (8, 1):
        trainer = rlvr_trainer(
            config,
            tmp_path / f"run-{size}",
            f"trainer.per_device_train_batch_size={size}",
            f"trainer.gradient_accumulation_steps={8 // size}",
            *("trainer.max_steps=2", "trainer.optim=sgd", "trainer.learning_rate=0.1", "trainer.beta=0.05"),
            "watch.samples=8",
            "watch.samples_every=1",
            parts={"outcome": by_place(REWARDS), "brevity": by_place([0.0])},
        )
        trainer.train()
        trainer.run.close()
        texts = [row["text"] for row in rows_of(tmp_path / f"run-{size}" / "samples.jsonl")]
        runs.append((trainer.state.log_history, trainer.model.state_dict(), texts))
    (whole, weights, texts), (parts, other_weights, other_texts) = runs
    assert texts == other_texts
    assert len(texts) == 16
    for step in (0, 1):
        for name in ("loss", "reward/mean", "num_tokens"):
            assert whole[step][name] == pytest.approx(parts[step][name], abs=1e-5)
        assert whole[step]["grad_norm"] == pytest.approx(parts[step]["grad_norm"], rel=1e-4)
    for name, weight in weights.items():
        assert torch.allclose(weight, other_weights[name], atol=1e-6), name
