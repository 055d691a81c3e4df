"""Small SFT and RLVR stages for tests: a tiny model, rows made by the prompt builder, a config."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import reasrm
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Message
from tests.tiny import build_tiny_model

if TYPE_CHECKING:
    from reasrm.rewards.base import Part
    from reasrm.training.rlvr.trainer import JudgeGRPOTrainer

SPEC = "sandbox"
SANDBOX_MODEL = Path(reasrm.__file__).parent / "sandbox_judge" / "model"
BREVITY = {"kind": "length", "soft_limit": 0, "per_token": 0.1, "most": 10.0}


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
    _write_model(folder)
    write_rows(folder / "rows.jsonl", [sft_row(n) for n in range(8)] if rows is None else rows)
    config: dict[str, Any] = {
        "stage": "sft",
        "model": {"path": str(folder / "model")},
        "spec": SPEC,
        "data": {"train": [str(folder / "rows.jsonl")], "max_tokens": 400},
        "trainer": {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
    }
    return _write_config(folder, config, sections)


def preference(number: int, **extra: Any) -> dict[str, Any]:
    """A preference row; all of one number of digits have prompts of one length."""
    return {
        "id": f"q{number}",
        "prompt": [{"role": "user", "content": f"question {number}"}],
        "chosen": [{"role": "assistant", "content": f"yes {number}"}],
        "rejected": [{"role": "assistant", "content": f"no {number}"}],
        **extra,
    }


def write_rlvr_stage(
    folder: Path, *, pairs: Sequence[Mapping[str, Any]] | None = None, **sections: Any
) -> Path:
    """Write a model, pairs and a config of two steps of RLVR on them; `sections` are updated or added.

    A random model hardly ever writes a verdict, so it is rewarded for saying little, too. A step has two prompts of
    four rollouts of at most 24 tokens, in full precision.

    Args:
        folder: Where to; a `model` that is there is used.
        pairs: Rows of any schema that `reasrm judge` reads; by default eight preferences.
        sections: Of the config.
    """
    _write_model(folder)
    rows = [preference(n) for n in range(8)] if pairs is None else pairs
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config: dict[str, Any] = {
        "stage": "rlvr",
        "model": {"path": str(folder / "model"), "dtype": "float32"},
        "spec": SPEC,
        "data": {"train": [str(path)]},
        "rewards": {"parts": {"outcome": {"kind": "outcome"}, "brevity": BREVITY}},
        "trainer": {
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 24,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
        },
    }
    return _write_config(folder, config, sections)


def rlvr_trainer(
    config: Path, folder: Path, *overrides: str, parts: Mapping[str, Part] | None = None
) -> JudgeGRPOTrainer:
    """Return the trainer of a stage, with a run folder open, before its first step; `parts` are handed in."""
    from reasrm.runs import RunFolder
    from reasrm.training.rlvr.config import load_rlvr_stage
    from reasrm.training.rlvr.stage import build_trainer, encode_data, set_up

    checkpoints = folder.absolute() / "checkpoints"
    setup = set_up(load_rlvr_stage(config, overrides), str(config), checkpoints, parts)
    run = RunFolder.open(folder, stage="rlvr", config={}, inputs={}, seed=0, resume=True)
    return build_trainer(setup, encode_data(setup), run)


def draw(trainer: JudgeGRPOTrainer, keys: Sequence[str]) -> dict[str, Any]:
    """Return the columns of a generation batch, which is drawn again when the trainer wants it; and their keys."""
    rollouts = trainer.rollouts
    columns = rollouts(keys, trainer)
    rollouts.num_batches -= 1
    key_of = {tuple(prompt.ids.tolist()): key for key, prompt in rollouts.prompts.items()}
    return {**columns, "keys": [key_of[tuple(ids)] for ids in columns["prompt_ids"]]}


def _write_model(folder: Path) -> None:
    if not (folder / "model").is_dir():
        build_tiny_model(folder / "model", context=512)


def _write_config(folder: Path, config: dict[str, Any], sections: Mapping[str, Any]) -> Path:
    for name, value in sections.items():
        merge = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = {**config[name], **value} if merge else value
    path = folder / "stage.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
