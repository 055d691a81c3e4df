"""Run folders as the SFT stage leaves them, made by hand: a tiny model, moved weights or a LoRA adapter, a seal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasrm.generation.checkpoint import Checkpoint
from reasrm.protocol.spec import load_spec
from reasrm.runs import RunFolder, checkpoint_folder, seal_checkpoint
from tests.tiny import build_tiny_model

_SANDBOX = load_spec("sandbox")
SPEC = _SANDBOX.model_copy(update={"sampling": _SANDBOX.sampling.model_copy(update={"max_tokens": 16})})
"""A short protocol with short answers."""
TRAINER = {"learning_rate": 1e-4, "max_steps": 7}
FILES = {
    "README.md",
    "judge.json",
    *(
        f"model/{name}"
        for name in (
            *("config.json", "generation_config.json", "model.safetensors"),
            *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        )
    ),
}
"""What an exported judge of the tiny model consists of."""


def adapter_model(base: Path, *, seed: int = 1) -> Any:
    """The base with a LoRA adapter of rank 3 that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules="all-linear")
    adapted = get_peft_model(model, config)
    draw = torch.Generator().manual_seed(seed)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=draw) * 0.2
    return adapted.eval()


def full_model(base: Path, *, seed: int = 1) -> Any:
    """The base with all weights moved, and what a trainer does to its config."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    draw = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.data += torch.randn(weight.shape, generator=draw) * 0.05
    model.config.use_cache = False
    return model.eval()


def make_run(
    folder: Path,
    *,
    lora: bool = False,
    steps: tuple[int, ...] = (7,),
    context: int = 2048,
    data: str = "rows.jsonl",
) -> Path:
    """Write `folder/base`, rows and `folder/run` with a sealed checkpoint per step; return the run."""
    from transformers import AutoTokenizer

    base = folder / "base"
    if not base.is_dir():
        build_tiny_model(base, context=context)
    rows = folder / data
    rows.write_text('{"id": "q0"}\n')
    config = {
        "stage": "sft",
        "model": {"path": str(base), "revision": None},
        "spec": SPEC.model_dump(mode="json"),
        "base": {"path": str(base), "revision": None, "fingerprint": Checkpoint(str(base)).fingerprint()},
        "lora": {"r": 3, "alpha": 6} if lora else None,
        "data": {"train": [str(rows)], "max_tokens": 400},
        "trainer": TRAINER,
        "seed": 5,
    }
    run = folder / "run"
    inputs = {"train:0": rows}
    with RunFolder.open(run, stage="sft", config=config, inputs=inputs, seed=5, resume=False):
        (run / "data.json").write_text(json.dumps({"rows": 8, "dropped": {"too_long": 2}}))
    for step in steps:
        checkpoint = checkpoint_folder(run, step)
        model = adapter_model(base, seed=step) if lora else full_model(base, seed=step)
        model.save_pretrained(checkpoint)
        AutoTokenizer.from_pretrained(base).save_pretrained(checkpoint)
        # What is there besides the weights is never read: it would not even parse.
        (checkpoint / "optimizer.safetensors").write_bytes(b"not weights")
        (checkpoint / "optimizer.json").write_bytes(b"not json")
        seal_checkpoint(checkpoint, step, 1, "safe")
    return run


def files_below(folder: Path) -> set[str]:
    """The names of all files of a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def nothing_beside(output: Path) -> bool:
    """Whether the place is free and nothing temporary lies beside it."""
    return not output.exists() and not [p.name for p in output.parent.iterdir() if p.name.startswith(".")]
