"""Rows for a writer's SFT: the prompt that the writer will be asked with, and the rubric as it is to write it."""

from __future__ import annotations

from typing import Any

from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison
from reasrm.sources.rubric_lines import RubricLine

__all__ = ["writer_row"]


def writer_row(spec: JudgeSpec, line: RubricLine, shown: Comparison) -> SFTRow:
    """Return the row that teaches a writer one rubric.

    Args:
        spec: How the writer will be asked.
        line: The rubric.
        shown: The pair in a drawn order, without label or rubric; a spec for the request alone shows the request.
    """
    meta: dict[str, Any] = {
        "rubric": line.id,
        "prompt_hash": line.prompt_hash,
        "spec": spec.name,
        "spec_hash": spec.hash,
    }
    return SFTRow(line.id, build_prompt(spec, shown), line.rubric.render(), meta)
