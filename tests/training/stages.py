"""Small SFT stages for tests: a tiny model, rows made by the prompt builder, a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Message
from tests.tiny import build_tiny_model

SPEC = "sandbox"


def comparison(number: int) -> Comparison:
    """A comparison whose length depends on its number."""
    return Comparison(
        id=f"q{number}",
        prompt=(Message("user", f"question {number}"),),
        response_a="yes " * (number % 5 + 1),
        response_b="no " * (number % 3 + 1),
    )


def sft_row(number: int, completion: str | None = None, spec: str = SPEC, **meta: Any) -> SFTRow:
    """A row that teaches a short judgment."""
    judge = load_spec(spec)
    text = f"<eval>{'it ' * (number % 4 + 1)}says yes</eval>\n<answer>[[{'AB'[number % 2]}]]</answer>"
    prompt = build_prompt(judge, comparison(number))
    return SFTRow(f"q{number}", prompt, completion or text, {"spec_hash": judge.hash, **meta})


def write_rows(path: Path, rows: list[SFTRow]) -> Path:
    """Write rows as a file."""
    path.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows), encoding="utf-8")
    return path


def write_stage(folder: Path, *, rows: list[SFTRow] | None = None, **sections: Any) -> Path:
    """Write a model, rows and a config that trains on them; `sections` are updated or added."""
    if not (folder / "model").is_dir():
        build_tiny_model(folder / "model", context=512)
    write_rows(folder / "rows.jsonl", [sft_row(n) for n in range(8)] if rows is None else rows)
    config: dict[str, Any] = {
        "stage": "sft",
        "model": {"path": str(folder / "model")},
        "spec": SPEC,
        "data": {"train": [str(folder / "rows.jsonl")], "max_tokens": 400},
        "trainer": {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
    }
    for name, value in sections.items():
        merge = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = {**config[name], **value} if merge else value
    path = folder / "stage.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
