"""What the SFT stage is told: the rows, and which of them are used."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from reasrm.config import Config, OneOrMany
from reasrm.tables import ColumnMap
from reasrm.training.stage.config import Stage, load_stage

__all__ = ["DataSection", "SFTStage", "load_sft_stage"]


class DataSection(Config):
    """Which rows, and which of them are used.

    Args:
        train: Files of SFT rows.
        validation: Files of SFT rows whose loss is measured along the way.
        columns: Field → the column, or path into one, that holds it in these files.
        max_tokens: Longest row, prompt and completion together. A longer one is dropped and counted, never cut.
        limit: Read at most this many training rows.
        on_unreadable: What happens to a row whose completion holds no readable verdict, or no readable rubric.
        rubrics_that_saw_labels: Learn also from rows whose prompt shows a rubric whose author knew the row's label.
    """

    train: OneOrMany = Field(min_length=1)
    validation: OneOrMany = ()
    columns: ColumnMap = Field(default_factory=dict)
    max_tokens: int = Field(default=12288, gt=0)
    limit: int | None = Field(default=None, gt=0)
    on_unreadable: Literal["drop", "keep"] = "drop"
    rubrics_that_saw_labels: bool = False


class SFTStage(Stage):
    """Supervised fine-tuning of a judge on written judgments.

    Args:
        stage: `sft`.
        data: The rows.
    """

    trainer_class: ClassVar[str] = "trl.trainer.sft_config:SFTConfig"

    stage: Literal["sft"]
    data: DataSection


load_sft_stage = partial(load_stage, SFTStage)
