"""What a demo, or an experiment in the sandbox, consists of."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from reasrm.config import Config
from reasrm.sandbox.base import BaseConfig
from reasrm.sandbox.teacher import TeacherConfig
from reasrm.world.config import Split

__all__ = ["DemoConfig"]

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


class DemoConfig(Config):
    """Everything that shapes a demo; two demos with equal configurations do the same.

    Args:
        base: The base model, and with it the world.
        teacher: Who writes the traces.
        pairs: Training pairs that the teacher is shown.
        traces: Most traces that are learnt from. Scripted traces cost nothing, so a cap stands for what real ones cost.
        trainer: Arguments of TRL's `SFTConfig`.
        splits: Which test splits are judged.
        rows_per_split: Test rows of each.
        seed: Of the test rows' orders, of training and of the teacher's errors; the base has its own.
    """

    base: BaseConfig = BaseConfig()
    teacher: TeacherConfig = TeacherConfig()
    pairs: int = Field(default=700, gt=0)
    traces: int = Field(default=500, gt=0)
    trainer: dict[str, Any] = Field(default=_TRAINER)
    splits: tuple[Split, ...] = ("iid", "ood", "hard")
    rows_per_split: int = Field(default=500, gt=0)
    seed: int = Field(default=0, ge=0)
