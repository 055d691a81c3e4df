"""Does a policy get better when the embedded judge rewards it? Stock `GRPOTrainer`, on the embedded world.

    python experiments/judge_as_reward.py --output runs/judge-as-reward [--seeds 0 1 2] [--steps 100]

One arm per scheme of `as_reward`, and a control whose rewards are coins. The policy starts from the
weights in the package, is trained on training prompts and answers other ones, greedily and at T = 1. What is measured
is the world's own truth, the share of the weighted rules that an answer meets, which no judge sees; differences to
the start are paired by prompt, with 95 % bootstraps over prompts. An arm of a seed that is finished is not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from reasrm import as_reward, open_judge
from reasrm.cli.console import note
from reasrm.evaluation.table import format_estimate, render_rows
from reasrm.files import write_json_atomic
from reasrm.hashing import derive_seed
from reasrm.metrics.intervals import bootstrap_mean
from reasrm.world.pairs import World, read_task, score

POLICY = str(files("reasrm") / "sandbox_judge" / "model")
ARMS = ("round_robin", "tournament", "anchor", "coins")
MODES = {"greedy": 0.0, "sampled": 1.0}
PROMPTS, GROUP, MAX_TOKENS, TEST_ROWS = 4, 8, 24, 500
LEARNING_RATE = 1e-3


def prompts(split: Any, count: int, seed: int) -> list[str]:
    """Draw prompts of the world."""
    world, draw = World(), random.Random(derive_seed("as-reward", split, seed))
    return [world.draw_task(draw, split)[0].text for _ in range(count)]


def answers(model: Any, tokenizer: Any, texts: Sequence[str], temperature: float) -> list[str]:
    """Return one answer to each prompt."""
    chats = [[{"role": "user", "content": text}] for text in texts]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    chance = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    torch.manual_seed(0)
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=MAX_TOKENS, **chance)
    tails = output[:, inputs["input_ids"].shape[1] :]
    return list(tokenizer.batch_decode(tails, skip_special_tokens=True))


def quality(text: str, answer: str) -> float:
    """Return the share of a prompt's weighted rules that an answer meets."""
    task = read_task(text)
    assert task is not None  # noqa: S101
    return score(task.rules, answer) / sum(rule.weight for rule in task.rules)


def measure(model: Any, tokenizer: Any) -> dict[str, list[float]]:
    """Return the quality of each test answer by mode."""
    model.eval()
    texts = prompts("iid", TEST_ROWS, 0)
    return {
        mode: [quality(*pair) for pair in zip(texts, answers(model, tokenizer, texts, t), strict=True)]
        for mode, t in MODES.items()
    }


def coins(seed: int) -> Callable[..., list[float]]:
    """Return a reward function that says nothing: a coin for each completion, whatever its text.

    A coin drawn by the text would be learnt: the policy would narrow down on texts whose coin fell well.
    """
    draw = random.Random(derive_seed("coins", seed))

    def coin(completions: list[Any], **columns: Any) -> list[float]:
        return [float(draw.random() < 0.5) for _ in completions]

    return coin


def run(arm: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train one policy and measure it before and after."""
    tokenizer = AutoTokenizer.from_pretrained(POLICY, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    before = measure(model, tokenizer)
    texts = prompts("train", PROMPTS * steps, seed)
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in texts]
    judge = open_judge("sandbox", dtype="float32", batch_size=128)
    if arm == "anchor":  # the greedy answers of the policy before training
        for row, answer in zip(rows, answers(model, tokenizer, texts, 0.0), strict=True):
            row["reference"] = [{"role": "assistant", "content": answer}]
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=coins(seed) if arm == "coins" else as_reward(judge, arm),
        args=GRPOConfig(
            output_dir=str(folder / "trainer"),
            seed=seed,
            max_steps=steps,
            per_device_train_batch_size=PROMPTS * GROUP,
            num_generations=GROUP,
            max_completion_length=MAX_TOKENS,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(rows),
    )
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    after = measure(trainer.model, tokenizer)
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    gained = {mode: [new - old for new, old in zip(after[mode], before[mode], strict=True)] for mode in MODES}
    tenth = max(1, len(log) // 10)
    return {
        "arm": arm,
        "seed": seed,
        "steps": steps,
        "wall_s": seconds,
        "before": {mode: fmean(before[mode]) for mode in MODES},
        "after": {mode: fmean(after[mode]) for mode in MODES},
        "gain": {mode: bootstrap_mean(gained[mode], 0).as_dict() for mode in MODES},
        "log": {
            key: [fmean(e[key] for e in part if key in e) for part in (log[:tenth], log[-tenth:])]
            for key in log[0]
            if key == "reward" or key.startswith(("judge/", "completions/mean_length", "entropy"))
        },
    }


def report(results: Sequence[dict[str, Any]]) -> str:
    """Return the table."""
    rows = [("arm", "seed", "mode", "before", "after", "gain [95 %]", "reward, first → last tenth")]
    for result in results:
        for mode in MODES:
            rewards = " → ".join(f"{value:.3f}" for value in result["log"]["reward"])
            before, after = f"{result['before'][mode]:.3f}", f"{result['after'][mode]:.3f}"
            gain = format_estimate(result["gain"][mode])
            rows.append((result["arm"], str(result["seed"]), mode, before, after, gain, rewards))
    return render_rows(rows)


def main() -> None:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        for arm in arguments.arms:
            record = arguments.output / f"{arm}-{seed}-{arguments.steps}.json"
            if not record.exists():
                note(f"{arm}, seed {seed}")
                arguments.output.mkdir(parents=True, exist_ok=True)
                write_json_atomic(record, run(arm, seed, arguments.steps, arguments.output))
            results.append(orjson.loads(record.read_bytes()))
    note(report(results))
    print(json.dumps({"output": str(arguments.output), "runs": len(results)}))


if __name__ == "__main__":
    sys.exit(main())
