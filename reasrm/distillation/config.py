"""What `reasrm distill` is told: which pairs, which teachers, what is kept. A YAML file into pydantic.

Relative paths mean the working directory, not the file's folder.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reasrm.config import Config
from reasrm.generation.sections import AskedModelSection, PricePair
from reasrm.tables import ColumnMap

__all__ = ["DistillConfig", "HintSection", "RepairSection", "TeacherSection", "Thinking"]

Thinking = Literal["leave_out", "prepend"]


class TeacherSection(AskedModelSection):
    """A teacher: any judge that `reasrm judge` takes, or `scripted`, the teacher of the embedded world.

    Args:
        samples: Most traces of one comparison; the next is asked for only where those before failed.
        price: Money per million prompt and completion tokens, as two numbers. Default: the distillation's.
        scripted: Errors of the scripted teacher: `error_rate`, `malformed_rate`, ….
    """

    samples: int = Field(default=1, ge=1)
    price: PricePair | None = None
    scripted: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherSection:
        if self.scripted and self.judge != "scripted":
            raise ValueError("'scripted' holds settings of 'judge: scripted' only")
        if self.judge.startswith("replay:"):
            raise ValueError("a file of recordings cannot teach; use 'replay' with recordings in the rows")
        return self


class RepairSection(TeacherSection):
    """The second teacher, which is told the label and shown a wrong trace.

    Args:
        betrayal: Regular expressions, besides the built-in ones, that a repaired trace must not match.
    """

    betrayal: tuple[str, ...] = ()

    @field_validator("betrayal")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class HintSection(Config):
    """Kept traces as hints, their verdicts masked.

    Args:
        prefix_ratio: Share of a trace's sentences that a hint shows, from its beginning.
    """

    prefix_ratio: float = Field(default=1.0, gt=0, le=1)


class DistillConfig(Config):
    """Distillation of judgments from teachers.

    Args:
        stage: `distill`.
        input: Files of preference pairs or labelled comparisons.
        source: Their schema, or `auto`.
        columns: Field → the column, or path into one, that holds it in these files.
        limit: Read at most this many rows.
        output: Folder of everything that is written.
        rubrics: File of rubrics by row id or request, shown with the pairs and so to the student.
        rubrics_that_saw_labels: Take also rubrics whose authors knew the labels of the very pairs.
        spec: The protocol by which teachers are asked and read; the student's own.
        teacher: Pass 1: judges without knowing.
        repair: Pass 2: judges what pass 1 got wrong, knowing the label; null for none.
        orders: Which response is shown first: one `random` order, the rows' own (`given`), or `both` orders.
        keep: Most traces kept of one comparison.
        agreement: Keep a trace only if the pair was judged rightly in the other order, too.
        thinking: What becomes of thinking that an endpoint returns apart from its text.
        group_by: Which field of a row names its source, in ledger and quotas.
        quotas: Source → most pairs kept; `*` for all other sources. Pairs beyond what is needed are not asked.
        hints: Also write masked traces.
        seed: Of orders, sampling and the draw under quotas.
        price: Money per million prompt and completion tokens, as two numbers, of teachers without a price of their own.
        budget: Most money to spend, earlier runs of this output included.
        budget_tokens: Most prompt and completion tokens, likewise.
    """

    stage: Literal["distill"]
    input: tuple[str, ...] = Field(min_length=1)
    source: str = "auto"
    columns: ColumnMap = Field(default_factory=dict)
    limit: int | None = Field(default=None, gt=0)
    output: str = Field(min_length=1)
    rubrics: str | None = None
    rubrics_that_saw_labels: bool = False
    spec: str = Field(min_length=1)
    teacher: TeacherSection
    repair: RepairSection | None = None
    orders: Literal["random", "given", "both"] = "random"
    keep: int = Field(default=1, ge=1)
    agreement: bool = False
    thinking: Thinking = "leave_out"
    group_by: Literal["source", "subset"] = "source"
    quotas: dict[str, int] = Field(default_factory=dict)
    hints: HintSection | None = None
    seed: int = Field(default=0, ge=0)
    price: PricePair | None = None
    budget: float | None = Field(default=None, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("quotas")
    @classmethod
    def _positive(cls, quotas: dict[str, int]) -> dict[str, int]:
        for source, most in quotas.items():
            if most < 0:
                raise ValueError(f"the quota of {source!r} is {most}, below 0")
        return quotas

    @model_validator(mode="after")
    def _possible(self) -> DistillConfig:
        if self.agreement and self.orders != "both":
            raise ValueError("agreement compares both orders: set 'orders: both'")
        if self.keep > self.teacher.samples:
            raise ValueError(f"keep is {self.keep}, more than teacher.samples ({self.teacher.samples})")
        return self

    def quota(self, source: str) -> int | None:
        """Return the most pairs kept of a source, or None for no limit."""
        return self.quotas.get(source, self.quotas.get("*"))
