"""The papers' claims in kind, on the embedded world: what each stage adds, over several seeds, with a base for each.

    python -m experiments.reproduce --output runs/reproduce [--seeds 0 1 2 3 4] [--rows 1000] [--page FILE.md]
        [--only main strong process] [--primary]

Arms: the base · answer-only SFT · reasoning SFT · the same SFT continued to the budget of the last arm · RL from the
base (cold start) · cold start with a format reward · reasoning SFT and then RL. A second table has a world with a
strong shortcut; a third is about rewards on the critique (`process.py`). Stages are shared between arms; results are
cached by a hash of config and code; a stopped program goes on by the same command. Updates are fixed, not seconds;
traces are capped. Every test row is judged once per mode, in an order drawn by its id. A claim is the difference of
two arms on the same test rows, one number per seed, with a 95 % t-interval over seeds; it holds where the interval
excludes 0; the page says which of them survive a correction for so many (`corrections.py`). `--primary` runs the
seeds and tables of the claims that were written down before (`primary_claims.yaml`), nothing else. Each table is kept
with the hash of the code that it was made by; the page is written anew each time from the tables there are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import orjson

from experiments.arms import Bench, SandboxLab, code_hash
from experiments.page import write_page
from experiments.primary import load_primary
from experiments.process import careless, run_process
from reasrm.cli.console import chatter_to_stderr, note
from reasrm.cli.sandbox import load_demo_config
from reasrm.config import parse_config
from reasrm.demo.config import DemoConfig, RLConfig
from reasrm.files import write_json_atomic
from reasrm.rewards.config import RewardSection
from reasrm.world.config import WorldConfig

TABLES = ("main", "strong", "process")
_COLD_FORMAT = {"parts": {"format": {"kind": "rubric_format", "tags": ["eval", "answer"]}}}
_STRONG = {"kind": "polite", "train": 0.80, "hard": 0.15, "ood": 0.50}
_WEAK_TRACES, _WEAK_STEPS = 60, 14


def run_seed(lab: SandboxLab, bench: Bench, rows: int) -> dict[str, Any]:
    """Train and measure all arms of one seed; return results by arm."""
    config = lab.config
    rl = config.rlvr or RLConfig()
    traces = lab.traces(config)
    base = lab.base()
    sft = lab.sft(config, traces, name="sft-reasoning")
    answers = lab.answers(traces)
    equal = lab.steps_for(config, answers, sft.trained)
    with_format = rl.model_copy(update={"rewards": parse_config(RewardSection, _COLD_FORMAT, "rewards")})
    distilled = lab.rlvr(config, sft, rl, "rl-distilled")
    longer = lab.steps_for(config, traces, distilled.trained + distilled.sampled)
    arms = {
        "base": base,
        "answer-only SFT": lab.sft(config, answers, steps=equal, name="sft-answers"),
        "reasoning SFT": sft,
        "reasoning SFT, longer": lab.sft(config, traces, steps=longer, name="sft-longer"),
        "cold-start RL": lab.rlvr(config, base, rl, "rl-cold"),
        "cold-start RL + format": lab.rlvr(config, base, with_format, "rl-cold-format"),
        "distil + RL": distilled,
    }
    return {name: lab.measure(_slug(name), trained, bench, rows) for name, trained in arms.items()}


def run_strong(lab: SandboxLab, bench: Bench, rows: int) -> dict[str, Any]:
    """Train and measure the arms of the world with the strong shortcut, from a judge that cannot see well yet."""
    strong = lab.config
    rl = strong.rlvr or RLConfig()
    weak = strong.model_copy(update={"traces": _WEAK_TRACES})
    sft = lab.sft(weak, lab.traces(weak), steps=_WEAK_STEPS, name="strong-sft")
    arms = {
        "base": lab.base(),
        "reasoning SFT, weak": sft,
        "weak SFT + RL": lab.rlvr(weak, sft, rl, "strong-rl"),
    }
    return {
        name: lab.measure(_slug(f"strong {name}"), trained, bench, rows) for name, trained in arms.items()
    }


def strong_world(config: DemoConfig) -> DemoConfig:
    """Return the config with the strong shortcut in its pairs; the base has read the same documents."""
    world = parse_config(
        WorldConfig, {**config.base.world.model_dump(mode="json"), "shortcut": _STRONG}, "strong world"
    )
    return config.model_copy(update={"base": config.base.model_copy(update={"world": world})})


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-").replace(",", "").replace("+", "and")


def main() -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--page", type=Path, help="where to write the page")
    parser.add_argument("--only", choices=TABLES, nargs="+", default=TABLES, help="make these tables only")
    parser.add_argument(
        "--primary", action="store_true", help="run the primary claims' seeds and tables instead"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    primary = load_primary()
    prefix, seeds, tables = "table", arguments.seeds, list(arguments.only)
    if arguments.primary:
        prefix, seeds = "primary", primary.seeds
        tables = sorted({claim.table for claim in primary.claims})
    with chatter_to_stderr():
        for table in tables:
            _make(table, seeds, arguments, arguments.output / f"{prefix}-{table}.json")
    if arguments.page:
        found, confirming = _tables(arguments.output, "table"), _tables(arguments.output, "primary")
        numbers = next((kept["numbers"] for kept in found.values() if "numbers" in kept), arguments.seeds)
        write_page(arguments.page, found, numbers, confirming)
        note(f"the page is {arguments.page}")
    print(json.dumps({"output": str(arguments.output), "seeds": seeds, "page": str(arguments.page)}))


def _make(table: str, seeds: list[int], arguments: argparse.Namespace, path: Path) -> None:
    """Run what a table lacks, and keep it."""
    arms = [
        _seed(table, load_demo_config(arguments.config, seed), arguments.output, arguments.rows)
        for seed in seeds
    ]
    kept = {
        "code": code_hash(),
        "date": dt.date.today().isoformat(),
        "rows": arguments.rows,
        "numbers": seeds,
        "seeds": arms,
    }
    write_json_atomic(path, kept)


def _tables(folder: Path, prefix: str) -> dict[str, Any]:
    files = {table: folder / f"{prefix}-{table}.json" for table in TABLES}
    return {table: orjson.loads(file.read_bytes()) for table, file in files.items() if file.exists()}


def _seed(table: str, config: DemoConfig, root: Path, rows: int) -> dict[str, Any]:
    """Return the arms of one table for one seed."""
    if table == "strong":
        config = strong_world(config)
    elif table == "process":
        config = careless(config)
    lab = SandboxLab(config, root, code_hash())
    run = {"main": run_seed, "strong": run_strong, "process": run_process}[table]
    return run(lab, lab.bench(config, rows), rows)


if __name__ == "__main__":
    sys.exit(main())
