"""A tiny judge that has learnt to write a letter: rollouts that can be right, wrong and unreadable, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reasrm.protocol.spec import load_spec
from tests.training.stages import preference, sft_row, write_rlvr_stage, write_stage

STEPS = 40


def write_letters_stage(folder: Path, **sections: Any) -> Path:
    """Train a tiny judge to answer `[[A]]` or `[[B]]`, and write a config of RLVR that starts from it.

    A step has four prompts of four rollouts; two splits are validated every other step, and the best one is kept.

    Args:
        folder: Where to.
        sections: Of the config.
    """
    from reasrm.training.sft.config import load_sft_stage
    from reasrm.training.sft.stage import train

    spec = _write_spec(folder / "letters.yaml")
    rows = [sft_row(n, f"[[{'AB'[n % 2]}]]", spec=spec) for n in range(8)]
    trainer = {"max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": 5e-3}
    (folder / "sft").mkdir(parents=True)
    sft = write_stage(folder / "sft", rows=rows, spec=spec, trainer=trainer)
    train(load_sft_stage(sft), str(sft), folder / "sft" / "run")
    model = folder / "sft" / "run" / "checkpoints" / f"checkpoint-{STEPS}"
    pairs = str(folder / "pairs.jsonl")
    ours: dict[str, Any] = {
        "model": {"path": str(model)},
        "validation": {
            "splits": {"seen": pairs, "more": [pairs]},
            "every": 2,
            "limit": 8,
            "batch_size": 8,
            "allow_training_rows": True,
        },
        "selection": {"split": "seen"},
        "rewards": {"parts": {"outcome": {"kind": "outcome", "unparsed": -2.0}}},
        "watch": {"samples": 2, "samples_every": 1, "canary": {"rows": 2, "every": 4}},
        "trainer": {
            "max_steps": 6,
            "per_device_train_batch_size": 16,
            "num_generations": 4,
            "max_completion_length": 6,
            "learning_rate": 1e-3,
            "save_steps": 2,
        },
    }
    for name, value in sections.items():
        ours[name] = {**ours[name], **value} if isinstance(value, dict) and name in ours else value
    return write_rlvr_stage(folder, pairs=[preference(n) for n in range(10, 34)], spec=spec, **ours)


def _write_spec(path: Path) -> str:
    """Write the sandbox's spec with a shorter answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = load_spec("sandbox").model_dump(mode="json")
    grammar = {key: spec["grammar"][key] for key in ("kind", "open", "close", "menu")}
    path.write_text(yaml.safe_dump({**spec, "name": "letters", "grammar": grammar}), encoding="utf-8")
    return str(path)
