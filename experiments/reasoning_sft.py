"""Reasoning SFT against answer-only SFT at equal compute, on the embedded world.

    python experiments/reasoning_sft.py --output runs/reasoning-sft [--seeds 0 1 2] [--rows 1000] [--config FILE]

Each seed is a base, a teacher and a training run of its own. Both arms see the same prompts; the reasoning arm learns
the teacher's traces, the answer-only arm the bare verdict, for as many tokens processed in training (prompt
and answer: the compute; tokens with loss are fewer in the answer-only arm and reported). Test rows are the
same for all seeds; settings were chosen on other rows. Each test row is judged once, in an order
drawn by its id, greedy and at T = 1. Differences are paired by row; intervals are 95 % bootstraps over rows, and the
spread over seeds stands beside them. Stopped runs continue.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from reasrm.cli.console import judging_progress, note
from reasrm.cli.sandbox import load_demo_config
from reasrm.cli.training import training_listener
from reasrm.demo.config import DemoConfig
from reasrm.demo.stages import (
    UNSEEN,
    cached_base,
    cap_rows,
    make_traces,
    read_pairs,
    write_pairs,
    write_sft_config,
)
from reasrm.durable import read_records
from reasrm.errors import ConfigError
from reasrm.evaluation.table import format_estimate, render_rows
from reasrm.files import replacing, write_json_atomic
from reasrm.judging.batch import RunControl, judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.intervals import Estimate, bootstrap_mean
from reasrm.protocol.spec import load_spec
from reasrm.sandbox.measure import measure_file
from reasrm.sandbox.writing import verdict_text
from reasrm.strictjson import dumps
from reasrm.training.config import load_sft_stage
from reasrm.training.sft import train
from reasrm.world.pairs import World

ARMS = ("reasoning", "answer-only")
MODES = {"greedy": 0.0, "sampled": 1.0}


def run_seed(config: DemoConfig, tests: dict[str, Path], folder: Path, bases: Path) -> dict[str, Any]:
    """Train and measure all arms of one seed; return accuracy and companions by arm, mode and split."""
    spec = load_spec(config.base.spec)
    folder.mkdir(parents=True, exist_ok=True)
    base = cached_base(config, bases)
    pairs = write_pairs(World(config.base.world).pairs("train", config.pairs), folder / "pairs.jsonl")
    kept = make_traces(config, spec, pairs, folder / "traces.jsonl")
    reasoning = folder / "reasoning.jsonl"
    cap_rows(kept.output, config.traces, reasoning)
    answers = answer_only(reasoning, folder / "answer-only.jsonl", spec)
    ours = fit(config, base, reasoning, folder / "sft-reasoning")
    per_step = ours["processed_tokens"] / ours["steps"]
    probe = orjson.loads((folder / "sft-reasoning" / "data.json").read_bytes())
    note(f"reasoning arm: {ours['steps']} steps, {ours['processed_tokens']:,} tokens, {per_step:.0f} a step")
    steps = equal_steps(config, base, answers, ours["processed_tokens"], folder)
    theirs = fit(config, base, answers, folder / "sft-answer-only", steps)
    judges = {"base": base, "reasoning": Path(ours["checkpoint"]), "answer-only": Path(theirs["checkpoint"])}
    measured = {name: evaluate(config, path, tests, folder / name) for name, path in judges.items()}
    compute = {
        name: {key: run[key] for key in ("steps", "processed_tokens", "trained_tokens")}
        for name, run in (("reasoning", ours), ("answer-only", theirs))
    }
    return {"seed": config.seed, "compute": compute, "rows": probe["rows"], "arms": measured}


def answer_only(rows: Path, output: Path, spec: Any) -> Path:
    """Write the same rows with nothing but the verdict to learn."""
    with open(rows, "rb") as lines, replacing(output) as stream:
        for line in lines:
            row = orjson.loads(line)
            row["completion"][0]["content"] = verdict_text(spec, row["meta"]["label"])
            stream.write(dumps(row) + b"\n")
    return output


def fit(
    config: DemoConfig, base: Path, rows: Path, run_dir: Path, steps: int | None = None
) -> dict[str, Any]:
    """Run the SFT stage, or find it finished."""
    changed = (
        config
        if steps is None
        else config.model_copy(update={"trainer": {**config.trainer, "max_steps": steps}})
    )
    file = write_sft_config(changed, base, rows, run_dir.with_suffix(".yaml"))
    with training_listener(run_dir.name) as listener:
        return train(load_sft_stage(file), str(file), run_dir, resume=True, listener=listener)


def equal_steps(config: DemoConfig, base: Path, rows: Path, tokens: int, folder: Path) -> int:
    """Return how many steps of these rows process as many tokens."""
    from reasrm.training.sft import encode_data, set_up

    file = write_sft_config(config, base, rows, folder / "probe.yaml")
    setup = set_up(load_sft_stage(file), str(file), folder / "probe")
    lengths = [len(example.ids) for example in encode_data(setup).train.examples]
    return steps_for(tokens, lengths, config.trainer["per_device_train_batch_size"])


def steps_for(tokens: int, lengths: Sequence[int], batch: int) -> int:
    """Return the steps that process `tokens` when every epoch shows each row once, its last batch as short as it is."""
    return round(tokens / (sum(lengths) / math.ceil(len(lengths) / batch)))


def evaluate(config: DemoConfig, model: Path, tests: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Judge every test row once per mode."""
    judge = open_judge(str(model), spec=config.base.spec, dtype="float32", batch_size=256)
    result: dict[str, Any] = {}
    folder.mkdir(exist_ok=True)
    with closing(judge.backend):
        for mode, temperature in MODES.items():
            for split, pairs in tests.items():
                output = folder / f"{mode}-{split}.jsonl"
                sampling = judge.sampling(temperature=temperature)
                options = JudgingOptions(orders="random", seed=0, sampling=sampling)
                with judging_progress(f"{folder.name} {mode} {split}") as on_progress:
                    judge_file(
                        judge, JudgeInput([pairs]), output, options, RunControl(on_progress=on_progress)
                    )
                findings = measure_file(output, read_pairs(pairs)).as_dict()
                lines = list(read_records(output))
                result[f"{mode} {split}"] = {
                    "accuracy": findings["accuracy"][split],
                    "shortcut": findings["shortcut"][split],
                    "inconsistency": findings["inconsistency"][split],
                    "evidence": findings["evidence"],
                    "coverage": sum(line["status"] == "ok" for line in lines) / len(lines),
                    # Unreadable counts as not right, so that arms are compared on the same rows.
                    "right": {line["id"]: line["correct"] is True for line in lines},
                }
    return result


def report(seeds: list[dict[str, Any]]) -> str:
    """Return the table, and the paired differences."""
    heads = (
        "mode",
        "split",
        "arm",
        "accuracy, mean ± sd of seeds",
        "shortcut",
        "coverage",
        "difference, per seed",
    )
    rows: list[tuple[str, ...]] = [heads]
    for cell in seeds[0]["arms"]["base"]:
        for arm in seeds[0]["arms"]:
            cells = [seed["arms"][arm][cell] for seed in seeds]
            accuracies = [c["accuracy"]["value"] for c in cells]
            spread = f" ± {statistics.stdev(accuracies):.3f}" if len(seeds) > 1 else ""
            differences = "" if arm != "reasoning" else "  ".join(paired(seed, cell) for seed in seeds)
            rows.append(
                (
                    *cell.split(" "),
                    arm,
                    f"{statistics.mean(accuracies):.3f}{spread}",
                    f"{statistics.mean(c['shortcut']['value'] for c in cells):.3f}",
                    f"{min(c['coverage'] for c in cells):.3f}",
                    differences,
                )
            )
    return render_rows(rows)


def paired(seed: dict[str, Any], cell: str) -> str:
    """Return reasoning minus answer-only on the same rows, with its interval."""
    ours, theirs = (seed["arms"][arm][cell]["right"] for arm in ARMS)
    return format_estimate(paired_difference(ours, theirs).as_dict())


def paired_difference(ours: Mapping[str, bool], theirs: Mapping[str, bool]) -> Estimate:
    """Return the mean difference over the same rows, with a bootstrap over rows."""
    if ours.keys() != theirs.keys():
        raise ValueError("the arms were judged on different rows")
    return bootstrap_mean([float(ours[row]) - float(theirs[row]) for row in sorted(ours)], 0)


def eyesight(seed: dict[str, Any]) -> str:
    """Return how often the base's evidence was right, by kind of rule: what it cannot see, nothing later creates."""
    evidence = seed["arms"]["base"]["greedy iid"]["evidence"]
    return "the base's evidence " + ", ".join(
        f"{kind} {rates['accuracy']:.2f}" for kind, rates in evidence.items()
    )


def settle(output: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds test rows of other settings."""
    record = output / "settings.json"
    if record.exists() and orjson.loads(record.read_bytes()) != settings:
        raise ConfigError(
            "holds an experiment with other rows", place=str(output), remedy="choose another --output"
        )
    write_json_atomic(record, settings)


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--config", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    world = World(load_demo_config(arguments.config, None).base.world)
    settle(arguments.output, {"rows": arguments.rows, "world": world.config.model_dump(mode="json")})
    tests = {
        split: write_pairs(world.pairs(split, arguments.rows, UNSEEN), arguments.output / f"{split}.jsonl")
        for split in ("iid", "ood", "hard")
    }
    seeds = []
    for seed in arguments.seeds:
        config = load_demo_config(arguments.config, seed)
        seeds.append(run_seed(config, tests, arguments.output / f"seed-{seed}", arguments.output))
    note(report(seeds))
    for seed in seeds:
        note(f"seed {seed['seed']}: {eyesight(seed)}; {seed['compute']}")
    for seed in seeds:
        cells = seed["arms"]["base"]
        seed["reasoning_minus_answer_only"] = {
            cell: paired_difference(*(seed["arms"][arm][cell]["right"] for arm in ARMS)).as_dict()
            for cell in cells
        }
        for arm in seed["arms"].values():
            for cell in arm.values():
                del cell["right"]
    write_json_atomic(arguments.output / "result.json", {"seeds": seeds})
    print(json.dumps({"output": str(arguments.output), "seeds": arguments.seeds}))


if __name__ == "__main__":
    sys.exit(main())
