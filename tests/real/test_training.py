"""A real language model learns to judge, by all weights and by adapters: trained, exported, loaded back, asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from reasrm import models
from tests.commands import here, rows_of, summary
from tests.training.stages import preference, sft_row, write_rlvr_stage, write_stage

pytestmark = pytest.mark.slow

REWARDS = {
    "parts": {
        "outcome": {"kind": "outcome"},
        "words": {"kind": "rouge", "variant": "rouge1", "against": "reference", "read": "text"},
    }
}

COMMON = "The answer to the question is a yes or no, and I think it says that you are in the right of this."
"""Of these words few or many are in anything that is written."""


def sft(folder: Path, model: str | Path, **sections: Any) -> Path:
    config = write_stage(
        folder,
        rows=[sft_row(n) for n in range(4)],
        model={"path": str(model)},
        trainer={"per_device_train_batch_size": 2, "learning_rate": 1e-4, "logging_steps": 1},
        **sections,
    )
    return finished("sft", config, folder / "sft", steps=2)


def rlvr(folder: Path, model: str | Path, **sections: Any) -> Path:
    config = write_rlvr_stage(
        folder,
        pairs=[preference(0, reference=COMMON)],
        model={"path": str(model)},
        rewards=REWARDS,
        trainer={
            "max_steps": 1,
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "max_completion_length": 12,
            "temperature": 1.5,  # or all four say the same
            "learning_rate": 1e-4,
        },
        **sections,
    )
    return finished("rlvr", config, folder / "rlvr", steps=1)


def finished(verb: str, config: Path, run: Path, steps: int) -> Path:
    """Run a stage to its end and return its folder."""
    done = here(verb, "--config", config, "--run-dir", run)
    assert done.returncode == 0, done.stderr
    assert summary(done)["steps"] == steps
    logged = [row for row in rows_of(run / "metrics.jsonl") if "loss" in row]
    assert len(logged) == steps
    assert all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in logged)
    return run


def exported(run: Path, judge: Path) -> dict[str, Any]:
    done = here("export", "--run", run, "--output", judge)
    assert done.returncode == 0, done.stderr
    return summary(done)


def judged(judge: Path, folder: Path) -> list[dict[str, Any]]:
    """What a judge folder says of one row, in both orders."""
    rows, out = folder / "asked.jsonl", folder / "judged.jsonl"
    rows.write_text(json.dumps(preference(7)) + "\n")
    done = here("judge", "--judge", judge, "--input", rows, "--output", out, "--max-tokens", "12")
    assert done.returncode in (0, 3), done.stderr
    return list(rows_of(out)[0]["judgments"])


def test_all_weights_are_trained_and_judge(smollm2: str, tmp_path: Path) -> None:
    first = sft(tmp_path, smollm2)
    assert json.loads((first / "config.json").read_text())["base"]["path"] == "smollm2"
    second = rlvr(tmp_path, first)
    exported(second, tmp_path / "judge")
    before = load_file(Path(models.find(smollm2)) / "model.safetensors")
    after = load_file(tmp_path / "judge" / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before)
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "smollm2" in card
    assert models.find(smollm2) not in card
    assert all(judgment["num_tokens"] > 0 for judgment in judged(tmp_path / "judge", tmp_path))


def test_adapters_are_trained_merged_and_judge_alike(smollm2: str, tmp_path: Path) -> None:
    lora = {"r": 4, "alpha": 8}
    (tmp_path / "one").mkdir()
    first = sft(tmp_path / "one", smollm2, lora=lora)
    told = exported(first, tmp_path / "taught")
    assert told["merged_adapter"] is True
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "taught" / "model"))
    base = AutoModelForCausalLM.from_pretrained(models.find(smollm2))
    untaught = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, first / "checkpoints" / "checkpoint-2"))
    scale = adapted.abs().max().item()
    assert (merged - adapted).abs().max().item() <= 1e-5 * scale
    assert (merged - untaught).abs().max().item() > 1e-3 * scale, (
        "an adapter that does nothing proves nothing"
    )
    (tmp_path / "two").mkdir()
    second = rlvr(tmp_path / "two", tmp_path / "taught", lora=lora)
    told = exported(second, tmp_path / "judge")
    assert 0 < told["logits_max_abs_diff"] <= 1e-5 * told["largest_logit"]
    assert all(judgment["num_tokens"] > 0 for judgment in judged(tmp_path / "judge", tmp_path))


def logits(model: Any) -> torch.Tensor:
    """What a model expects behind each of a few tokens."""
    with torch.inference_mode():
        return model.eval()(input_ids=torch.arange(100, 132)[None]).logits
