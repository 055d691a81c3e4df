"""What a demo, or an experiment in the sandbox, consists of."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from reasrm.config import Config
from reasrm.rewards.config import RewardSection
from reasrm.sandbox.base import BaseConfig
from reasrm.sandbox.teacher import TeacherConfig
from reasrm.scorers.config import CritiqueSection
from reasrm.training.rlvr.config import MetaRewardSection
from reasrm.world.config import Split

__all__ = ["DemoConfig", "RLConfig"]

_TRAINER: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "max_steps": 120,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "linear",
    "warmup_steps": 10,
    "weight_decay": 0.0,
    "adam_beta2": 0.98,
    "logging_steps": 10,
}


_RL_TRAINER: dict[str, Any] = {
    "per_device_train_batch_size": 128,
    "num_generations": 8,
    "max_steps": 60,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 10,
    "beta": 0.0,
    "adam_beta2": 0.98,
    "logging_steps": 1,
    "save_steps": 10,
}


class RLConfig(Config):
    """The second stage of the demo.

    Args:
        pairs: Training pairs that are judged in rollouts; none of those that the teacher was shown.
        critiques: Share of them, by id, that come with the world's true critique.
        rewards: What a rollout earns.
        critique: How critiques are read and compared, where the reward does.
        metarm: Stands in for critiques where there are none.
        trainer: Arguments of TRL's `GRPOConfig`.
    """

    pairs: int = Field(default=2000, gt=0)
    critiques: float = Field(default=1.0, ge=0, le=1)
    rewards: RewardSection = Field(default_factory=RewardSection)
    critique: CritiqueSection | None = None
    metarm: MetaRewardSection | None = None
    trainer: dict[str, Any] = Field(default=_RL_TRAINER)


class DemoConfig(Config):
    """Everything that shapes a demo; two demos with equal configurations do the same.

    Args:
        base: The base model, and with it the world.
        teacher: Who writes the traces.
        pairs: Training pairs that the teacher is shown.
        traces: Most traces that are learnt from. Scripted traces cost nothing, so a cap stands for what real ones cost.
        trainer: Arguments of TRL's `SFTConfig`.
        rlvr: Reinforcement learning after SFT; null leaves it out.
        splits: Which test splits are judged.
        rows_per_split: Test rows of each.
        seed: Of the test rows' orders, of training and of the teacher's errors; the base has its own.
    """

    base: BaseConfig = BaseConfig()
    teacher: TeacherConfig = TeacherConfig()
    pairs: int = Field(default=700, gt=0)
    traces: int = Field(default=500, gt=0)
    trainer: dict[str, Any] = Field(default=_TRAINER)
    rlvr: RLConfig | None = RLConfig()
    splits: tuple[Split, ...] = ("iid", "ood", "hard")
    rows_per_split: int = Field(default=500, gt=0)
    seed: int = Field(default=0, ge=0)
