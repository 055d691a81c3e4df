"""A real language model through every stage: base → distil → SFT → RLVR → export, judged after each in both orders.

    python -m experiments.real_model --output runs/real [--size small|full] [--model smollm2] [--page FILE.md]

Every step is the command that a user types, in a process of its own: the stages of `configs/smollm2/` on rows of the
English world, which `--set` names. What is finished is kept in `OUTPUT/steps/`, so the same command continues a run
that was stopped or killed, from the last checkpoint of its stage. `small` is for two idle cores and an hour and a half.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from experiments.real.rows import SPLITS, english
from experiments.real.steps import DTYPES, SPEC, UNREADABLE, Steps, number_format, sets, trained_in
from experiments.real_model_page import write_real_page
from reasrm.cli.console import note
from reasrm.demo.report import shown_rows
from reasrm.demo.stages import read_pairs, write_pairs
from reasrm.durable import read_records
from reasrm.files import write_json_atomic
from reasrm.judged import read_judged
from reasrm.sandbox.measure import measure_file
from reasrm.training.safety.states import load_state
from reasrm.world.english.config import EnglishSplit

_SHOWN = 1.6
"""Pairs that the teacher is shown, for each trace that is learnt from."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Args:
        traces: Traces that are learnt from, three times each, 8 a step.
        rl_pairs: Pairs of each RLVR stage.
        rl_steps: Updates of each, of 6 groups of 4 rollouts.
        rows: Test rows of each split.
    """

    traces: int
    rl_pairs: int
    rl_steps: int
    rows: int


SIZES = {
    "small": Size(traces=300, rl_pairs=120, rl_steps=20, rows=100),
    "full": Size(traces=2000, rl_pairs=800, rl_steps=100, rows=300),
}


def run(output: Path, size: str, model: str, dtype: str) -> dict[str, Any]:
    """Do what is not done yet; return the table of the page.

    Args:
        output: Where everything lies.
        size: Name of a size.
        model: What all begins with: a folder, or a name that `reasrm models fetch` knows.
        dtype: What is computed in, float32 or bfloat16.

    Raises:
        SystemExit: A run of another size or number format lies there; 2.
    """
    steps, much = Steps(output), SIZES[size]
    _keep_size(output / "size.json", {**asdict(much), "dtype": dtype})
    tests = _rows(steps, much)
    stages = _train(steps, much, model, dtype)
    *before, last = stages
    judges = {"untouched": model, **{name: stages[name]["checkpoint"] for name in before}}
    judged = {name: _judge(steps, name, judge, tests, dtype) for name, judge in judges.items()}
    export = ("export", "--run", stages[last]["run"], "--output", output / "judge", "--license", "apache-2.0")
    steps.do("export", *export)
    judged[last] = _judge(steps, last, output / "judge", tests, dtype, spec=None)
    steps.do("card", *export, "--results", judged[last]["folder"], "--force")
    pairs = {row: pair for path in tests for row, pair in read_pairs(path).items()}
    judgments = {name: Path(found["folder"]) / "judgments.jsonl" for name, found in judged.items()}
    found = {name: measure_file(path, pairs).as_dict() for name, path in judgments.items()}
    return {
        "size": size,
        "settings": asdict(much),
        "dtype": dtype,
        "date": max(step["date"] for step in steps.known()),
        "code": sorted({step["code"] for step in steps.known()}),
        "machine": _machine(),
        "seconds": sum(step["seconds"] for step in steps.known()),
        "stages": stages,
        "judged": judged,
        "seen": {name: {key: told[key] for key in ("evidence", "marks")} for name, told in found.items()},
        "shown": list(shown_rows(judgments[last], pairs, 3)),
    }


def _keep_size(path: Path, size: Mapping[str, Any]) -> None:
    if path.exists() and orjson.loads(path.read_bytes()) != size:
        note(f"{path.parent} holds a run of another size or dtype; name another --output")
        raise SystemExit(2)
    write_json_atomic(path, size)


def _rows(steps: Steps, much: Size) -> list[Path]:
    """Make the pairs and the traces; return the files of test rows."""
    shown = math.ceil(much.traces * _SHOWN)
    pairs = _pairs(steps.output / "pairs.jsonl", "train", shown)
    _pairs(steps.output / "rlvr-pairs.jsonl", "train", much.rl_pairs, shown)
    tests = [_pairs(steps.output / f"test-{split}.jsonl", split, much.rows) for split in SPLITS]
    given = (f"input={pairs}", f"output={steps.output / 'traces'}")
    steps.do("distil", "distill", "--config", "smollm2/distill", *sets(given))
    return tests


def _pairs(path: Path, split: EnglishSplit, rows: int, start: int = 0) -> Path:
    """Write rows of the English world, the same ones each time."""
    path.unlink(missing_ok=True)
    return write_pairs(english(split, rows, start), path)


def _train(steps: Steps, much: Size, model: str, dtype: str) -> dict[str, dict[str, Any]]:
    """Go through the stages; return what each took, and where its run and checkpoint lie."""
    traces, pairs = steps.output / "traces" / "sft.jsonl", steps.output / "rlvr-pairs.jsonl"
    learnt = (f"data.train={traces}", f"data.limit={much.traces}", trained_in(dtype))
    rewarded = (f"data.train={pairs}", f"trainer.max_steps={much.rl_steps}", trained_in(dtype))
    stages = {"SFT": _stage(steps, "sft", "sft", model, learnt)}
    stages["RLVR"] = _stage(steps, "rlvr", "rlvr", stages["SFT"]["run"], rewarded)
    stages["RLVR + critique"] = _stage(steps, "rlvr", "rlvr-critique", stages["RLVR"]["run"], rewarded)
    return stages


def _stage(steps: Steps, verb: str, name: str, model: str, given: Sequence[str]) -> dict[str, Any]:
    words = (verb, "--config", f"smollm2/{name}", *sets((f"model.path={model}", *given)))
    plan = steps.do(f"{name}-plan", *words, "--dry-run")
    took = steps.do(name, *words, "--run-dir", steps.output / name, "--resume")
    said = took["summary"]
    trained = load_state(Path(said["checkpoint"]), "rank-0")["progress"]["seconds"]
    return {
        **_times(took),
        "peak_gib": took["peak_gib"],
        "estimate_gib": plan["summary"]["memory_gib"]["total"],
        "steps": said["steps"],
        "tokens": said["processed_tokens"],
        "seconds_per_step": trained / said["steps"],
        "run": said["run"],
        "checkpoint": said["checkpoint"],
    }


def _judge(
    steps: Steps, name: str, judge: str | Path, tests: Sequence[Path], dtype: str, spec: str | None = SPEC
) -> dict[str, Any]:
    """Judge the test rows in both orders; return the result, and what a judgment took."""
    slug = name.lower().replace(" + ", "-")
    folder = steps.output / "eval" / slug
    inputs = [word for path in tests for word in ("--input", path)]
    asked = () if spec is None else ("--spec", spec)
    words = ("eval", "pairs", *inputs, "--judge", judge, *asked, "--dtype", dtype, "--batch-size", "32")
    took = steps.do(f"judge-{slug}", *words, "--output", folder, fine=(0, UNREADABLE))
    rows = map(read_judged, read_records(folder / "judgments.jsonl"))
    written = [judgment.num_tokens or 0 for row in rows for judgment in row.judgments]
    return {
        **_times(took),
        "folder": str(folder),
        "tokens": statistics.fmean(written),
        "result": {name: took["summary"][name] for name in ("metrics", "subsets", "parse_status")},
    }


def _times(took: Mapping[str, Any]) -> dict[str, Any]:
    return {name: took[name] for name in ("seconds", "parts", "ended")}


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    libraries = ("torch", "transformers", "trl")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": {name: importlib.metadata.version(name) for name in libraries},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder of the run; none: the page alone, not run")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--model", default="smollm2", help="model folder, or a name of reasrm models fetch")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="what is computed in (`number_format`)"
    )
    parser.add_argument("--page", type=Path, help="where to write the page")
    arguments = parser.parse_args(words)
    table = None
    if arguments.output is not None:
        dtype = number_format(arguments.dtype)
        table = run(arguments.output, arguments.size, arguments.model, dtype)
        write_json_atomic(arguments.output / "table.json", table)
    if arguments.page is not None:
        write_real_page(arguments.page, table)
        note(f"the page is {arguments.page}")
    said = {"output": arguments.output, "page": arguments.page}
    print(json.dumps({name: path and str(path) for name, path in said.items()}))


if __name__ == "__main__":
    main()
