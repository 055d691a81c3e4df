"""GRPO steps of a model of some shape with random weights: tokens per second and peak memory.

    python -m benchmarks.rlvr_step --shape 0.5b|7b|tiny [--steps 3] [--full]

The shapes are those of Qwen2.5; the weights are random, so rollouts run to their limit and the reward is a length
penalty. LoRA unless `--full`; bfloat16 on a GPU, float32 on a CPU, where only `tiny` is of use. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

import reasrm
from reasrm.cli.console import chatter_to_stderr
from reasrm.demo.stages import write_pairs
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.stage import train
from reasrm.world.pairs import World

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "20m": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 4096,
    },
    "50m": {
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 10,
        "num_key_value_heads": 5,
        "vocab_size": 8192,
    },
    "100m": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 10,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "vocab_size": 16384,
    },
    "200m": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 14,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "vocab_size": 32768,
    },
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}


def build_model(shape: str, folder: Path, dtype: torch.dtype, ends_in: int | None = None) -> None:
    """Write a model of random weights, with the tokenizer of the embedded judge.

    Args:
        shape: One of `SHAPES`.
        folder: Where to.
        dtype: Of the weights.
        ends_in: One token of so many ends an answer, so that lengths differ; None: only the tokenizer's own end.
    """
    tokenizer = AutoTokenizer.from_pretrained(Path(reasrm.__file__).parent / "sandbox_judge" / "model")
    config = Qwen2Config(
        **{"vocab_size": len(tokenizer), **SHAPES[shape]},
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=shape in ("0.5b", "1.5b"),
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config).to(dtype)
    ends = {tokenizer.eos_token_id, *(range(0, config.vocab_size, ends_in) if ends_in else ())}
    model.generation_config.eos_token_id = sorted(ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(shape: str, steps: int, tokens: int, full: bool, folder: Path) -> dict[str, Any]:
    """Train some steps and return what they took."""
    on_gpu = torch.cuda.is_available()
    build_model(shape, folder / "model", torch.bfloat16 if on_gpu else torch.float32)
    pairs = write_pairs(World().pairs("train", 64), folder / "pairs.jsonl")
    stage = {
        "stage": "rlvr",
        "model": {"path": str(folder / "model"), "dtype": "bfloat16" if on_gpu else "float32"},
        "spec": "sandbox",
        "data": {"train": [str(pairs)]},
        "rewards": {
            "parts": {"length": {"kind": "length", "soft_limit": 0}, "words": {"kind": "repetition"}}
        },
        "lora": None if full else {"r": 16},
        "watch": {"canary": None, "alarms": []},
        "trainer": {
            "max_steps": steps,
            "per_device_train_batch_size": 8,
            "num_generations": 8,
            "max_completion_length": tokens,
            "logging_steps": 1,
        },
    }
    config = folder / "stage.yaml"
    config.write_text(yaml.safe_dump(stage))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    summary = train(load_rlvr_stage(config), str(config), folder / "run")
    wall = time.perf_counter() - began
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    (total,) = (line["train_runtime"] for line in lines if "train_runtime" in line)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None
    return {
        "shape": shape,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "lora": not full,
        "steps": steps,
        "generated_tokens": summary["generated_tokens"],
        "generated_tokens_per_s": round(summary["generated_tokens"] / total, 1),
        "processed_tokens_per_s": round(summary["processed_tokens"] / total, 1),
        "train_s": round(total, 2),
        "wall_s": round(wall, 2),
        "peak_gib": None if peak is None else round(peak, 2),
    }


def main() -> None:
    """Measure one shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--full", action="store_true", help="train all weights instead of LoRA adapters")
    arguments = parser.parse_args()
    with chatter_to_stderr(), tempfile.TemporaryDirectory() as folder:
        found = run(arguments.shape, arguments.steps, arguments.tokens, arguments.full, Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
