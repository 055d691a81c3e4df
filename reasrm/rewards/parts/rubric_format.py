"""The cold-start reward with the rubric format."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reasrm.rewards.parts.format_answer import Tagged


class RubricFormatPart(Tagged):
    """The same with a format that asks for more: the reasoning has to be there, before the answer.

    formula: format (0 or 1) + answer (0 or 1)
    source: RM-R1's ablation (cold start with the rubric format); what counts as the format is ours
    abstains: no label

    The tags are those of the spec `rm-r1`; for the sandbox they are `[eval, answer]`.
    """

    kind: Literal["rubric_format"] = "rubric_format"
    tags: tuple[str, ...] = Field(default=("rubric|solution", "eval", "answer"), min_length=1)
