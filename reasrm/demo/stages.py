"""The stages of a sandbox run, each a file or folder that is made once: pairs, traces, judge, evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from reasrm.cli.console import judging_progress, progress_bar
from reasrm.cli.distill import distilling_progress, open_setup
from reasrm.demo.config import DemoConfig, RLConfig
from reasrm.distillation.run import distil
from reasrm.evaluation.run import evaluate
from reasrm.files import replacing, write_json_atomic
from reasrm.generation.ledger import KEPT
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.suites import get_suite
from reasrm.protocol.spec import JudgeSpec, builtin_specs, load_spec
from reasrm.records import PreferencePair
from reasrm.sandbox.base import build_base
from reasrm.sandbox.measure import Findings, measure_file
from reasrm.sources.importing import pair_to_json
from reasrm.strictjson import dumps
from reasrm.world.config import Split
from reasrm.world.pairs import World

__all__ = [
    "UNSEEN",
    "KeptTraces",
    "cached_base",
    "cap_rows",
    "distill_config_of",
    "evaluate_judge",
    "make_base",
    "make_traces",
    "read_pairs",
    "unseen_pairs",
    "write_distill_config",
    "write_pairs",
    "write_rlvr_config",
    "write_sft_config",
]

UNSEEN = 10_000
"""Where test rows begin: defaults of this package were chosen by looking at rows before."""


def unseen_pairs(world: World, split: Split, rows: int, trained: int) -> Iterator[PreferencePair]:
    """Yield test rows none of whose prompts stands in a training row.

    Args:
        world: Whose.
        split: Which.
        rows: How many.
        trained: How many training rows there are; the test rows are the same for all numbers up to `UNSEEN`.
    """
    prompts = {pair.prompt for pair in world.pairs("train", max(trained, UNSEEN))}
    return world.pairs(split, rows, UNSEEN, without=prompts)


def write_pairs(pairs: Iterable[PreferencePair], path: Path) -> Path:
    """Write preference pairs as `data import` writes them, unless the file is there."""
    if not path.exists():
        with replacing(path) as stream:
            for pair in pairs:
                stream.write(dumps(pair_to_json(pair, source="sandbox")) + b"\n")
    return path


def read_pairs(path: Path) -> dict[str, PreferencePair]:
    """Return the pairs of a file by id."""
    rows = (item.row for item in JudgeInput([path]))
    return {row.id: row for row in rows if isinstance(row, PreferencePair)}


def make_base(config: DemoConfig, folder: Path) -> Path:
    """Return the base in `folder`, built now unless it is there."""
    with progress_bar("base") as update:
        return build_base(
            config.base, folder, lambda done, total, loss: update(done, total, f"loss {loss:.3f}")
        )


def cached_base(config: DemoConfig, cache: Path) -> Path:
    """Return the base from a folder of bases, each named by its hash, built now unless it is there."""
    return make_base(config, cache / f"base-{config.base.hash}")


@dataclass(frozen=True, slots=True)
class KeptTraces:
    """What the teacher's traces came to.

    Args:
        output: SFT rows.
        rejected: Traces that were not kept, with `reason`.
        kept: How many were.
        reasons: Why the other pairs have none → how many.
    """

    output: Path
    rejected: Path
    kept: int
    reasons: Counter[str]


def make_traces(config: DemoConfig, spec: JudgeSpec, pairs: Path, output: Path) -> KeptTraces:
    """Let the teacher judge the pairs, one order each, and keep the traces with the right verdict as SFT rows.

    Config and folder of the distillation lie beside `output`, named after it; `reasrm distill` takes the one and
    continues the other.

    Raises:
        KeyboardInterrupt: The run was asked to stop; the same call continues.
    """
    file = write_distill_config(config, spec, pairs, output)
    with open_setup(file) as setup, distilling_progress("teacher") as on_progress:
        result = distil(setup, RunControl(on_progress=on_progress))
    if result.ledger is None or result.signum is not None:
        raise KeyboardInterrupt
    cap_rows(result.files.sft, None, output)
    reasons = Counter(result.ledger.rows())
    del reasons[KEPT]
    return KeptTraces(output, result.files.rejected, result.num_sft_rows, reasons)


def distill_config_of(output: Path) -> Path:
    """Return where the config lies that makes the traces `output`."""
    return output.with_name(f"{output.stem}.distill.yaml")


def write_distill_config(config: DemoConfig, spec: JudgeSpec, pairs: Path, output: Path) -> Path:
    """Write what makes the traces `output` as the YAML file that `reasrm distill --config` takes."""
    path = distill_config_of(output)
    named = spec.name
    if named not in builtin_specs() or load_spec(named).hash != spec.hash:
        named = str(path.with_suffix(".spec.json"))
        write_json_atomic(named, spec.model_dump(mode="json"))
    teacher = {
        "judge": "scripted",
        "samples": 1,
        "temperature": 1.0,
        "scripted": config.teacher.model_dump(mode="json"),
    }
    stage = {
        "stage": "distill",
        "input": [str(pairs)],
        "output": str(path.with_suffix("")),
        "spec": named,
        "teacher": teacher,
        "orders": "random",
        "keep": 1,
        "seed": config.seed,
    }
    return _write_yaml(stage, path)


def cap_rows(kept: Path, most: int | None, output: Path) -> int:
    """Copy the first rows of a file, at most `most`, or all; return how many there are."""
    with open(kept, "rb") as rows, replacing(output) as stream:
        lines = list(islice(rows, most))
        stream.writelines(lines)
    return len(lines)


def write_sft_config(config: DemoConfig, base: Path, rows: Path, path: Path, spec: str | None = None) -> Path:
    """Write the SFT stage as the YAML file that `reasrm sft --config` takes; the spec is the base's unless given."""
    stage = {
        "stage": "sft",
        "model": {"path": str(base), "dtype": "float32"},
        "spec": spec or config.base.spec,
        "data": {"train": [str(rows)], "max_tokens": config.base.model.max_positions},
        "trainer": config.trainer,
        "seed": config.seed,
    }
    return _write_yaml(stage, path)


def write_rlvr_config(config: DemoConfig, rl: RLConfig, model: Path, pairs: Path, path: Path) -> Path:
    """Write the RLVR stage as the YAML file that `reasrm rlvr --config` takes."""
    room = config.base.model.max_positions - load_spec(config.base.spec).sampling.max_tokens
    stage = {
        "stage": "rlvr",
        "model": {"path": str(model), "dtype": "float32"},
        "spec": config.base.spec,
        "data": {"train": [str(pairs)], "orders": "random", "max_prompt_tokens": room},
        "rewards": rl.rewards.model_dump(mode="json"),
        "critique": rl.critique and rl.critique.model_dump(mode="json"),
        "metarm": rl.metarm and rl.metarm.model_dump(mode="json"),
        "trainer": rl.trainer,
        "seed": config.seed,
    }
    return _write_yaml(stage, path)


def _write_yaml(stage: dict[str, Any], path: Path) -> Path:
    with replacing(path) as stream:
        stream.write(yaml.safe_dump(stage, sort_keys=False).encode())
    return path


def evaluate_judge(
    judge: Judge, pairs: Path, folder: Path, *, seed: int, label: str, temperature: float | None = None
) -> tuple[dict[str, Any], Findings]:
    """Judge test pairs in both orders; return the suite's result and what only this world can tell.

    Raises:
        KeyboardInterrupt: The run was asked to stop; the same call continues.
    """
    options = JudgingOptions(seed=seed, sampling=judge.sampling(temperature=temperature))
    with judging_progress(label) as on_progress:
        run = evaluate(
            get_suite("pairs"),
            judge,
            JudgeInput([pairs]),
            folder,
            options,
            RunControl(on_progress=on_progress),
        )
    if not run.result:
        raise KeyboardInterrupt
    findings = measure_file(run.batch.output, read_pairs(pairs), seed)
    write_json_atomic(folder / "sandbox.json", findings.as_dict())
    return run.result, findings
