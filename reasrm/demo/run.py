"""`reasrm demo`: base → pairs → teacher's traces kept by label → SFT → RLVR → export → judged files → table.

Every stage is the one that a user runs on other data: the demo writes its config files and calls what the verbs
call. Whatever is finished is kept, so the same command continues an interrupted demo.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from reasrm import __version__
from reasrm.cli.console import note
from reasrm.cli.training import training_listener
from reasrm.config import read_yaml
from reasrm.demo.config import DemoConfig, RLConfig
from reasrm.demo.report import Measured, evidence_table, result_table, shown_rows
from reasrm.demo.stages import (
    cached_base,
    cap_rows,
    distill_config_of,
    evaluate_judge,
    make_traces,
    read_pairs,
    unseen_pairs,
    write_pairs,
    write_rlvr_config,
    write_sft_config,
)
from reasrm.durable import open_folder, refuse_others, set_aside
from reasrm.export import export_judge
from reasrm.files import write_json_atomic
from reasrm.judging.judge import Judge, open_judge
from reasrm.protocol.spec import load_spec
from reasrm.training.rlvr.config import GRPO_OWNED, load_rlvr_stage
from reasrm.training.rlvr.stage import train as train_rlvr
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.sft.stage import train
from reasrm.training.stage.config import check_trainer
from reasrm.world.config import Split
from reasrm.world.pairs import World

__all__ = ["make_judge", "run_demo"]

_SHOWN = 10
_BATCH = 128


def run_demo(output: Path, config: DemoConfig) -> dict[str, Any]:
    """Run the demo into `output`, or what is left of it, and return its summary.

    An earlier demo with another configuration or version is moved aside.
    """
    started = time.monotonic()
    base, judge_folder, measured, tests = _pipeline(output, config)
    _tell(config, measured, tests)
    summary = {
        "command": "demo",
        "output": str(output),
        "seed": config.seed,
        "base": str(base),
        "judge": str(judge_folder),
        "results": [item.numbers() for item in measured],
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json_atomic(output / "summary.json", summary)
    note(
        f"\nEverything lies under {output}. Judge your own rows: reasrm judge --judge {judge_folder} --input …"
    )
    return summary


def make_judge(config: DemoConfig, work: Path, output: Path) -> dict[str, Any]:
    """Make a judge as the demo does, and export it to `output` with `build.json`: how to make it again.

    The same configuration gives the same bits on the same kind of CPU; on another kind rounding differs.
    """
    _, _, measured, _ = _pipeline(work, config)
    run, name = _last_stage(config, work)
    summary = export_judge(
        output,
        run=run,
        results=[m.folder for m in measured if m.judge == name],
        license="apache-2.0",  # the package's own
        force=True,
    )
    build = {
        "config": config.model_dump(mode="json"),
        "weights_sha256": summary["weights_sha256"],
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    write_json_atomic(output / "build.json", build)
    return {**summary, "results": [item.numbers() for item in measured]}


def _pipeline(output: Path, config: DemoConfig) -> tuple[Path, Path, list[Measured], dict[Split, Path]]:
    """Do whatever is not done yet; return base, judge folder, what was measured, and the test files."""
    check_trainer(config.trainer, SFTConfig, "trainer of the demo")  # now, not after the base was built
    if config.rlvr is not None:
        check_trainer(config.rlvr.trainer, GRPOConfig, "rlvr.trainer of the demo", GRPO_OWNED)
    _settle(output, config)
    spec = load_spec(config.base.spec)
    world = World(config.base.world)
    with _stage("base model: knows the words, reads evidence, writes in form; its verdicts are coins"):
        base = cached_base(config, output)
    with _stage(f"pairs: {config.pairs} to learn from, {config.rows_per_split} to test on from each split"):
        num_trained = config.pairs + (config.rlvr.pairs if config.rlvr else 0)
        tests = {
            split: write_pairs(
                unseen_pairs(world, split, config.rows_per_split, num_trained), output / f"{split}.jsonl"
            )
            for split in config.splits
        }
    sft = _distil(config, base, output)
    models = {"base": base, "SFT": Path(sft["checkpoint"])}
    if config.rlvr is not None:
        models["SFT+RLVR"] = Path(_reinforce(config, config.rlvr, models["SFT"], output)["checkpoint"])
    run, name = _last_stage(config, output)
    judge_folder = output / "judge"
    with _stage(f"export: reasrm export --run {run} --output {judge_folder}"):
        if not (judge_folder / "judge.json").is_file():
            export_judge(judge_folder, run=run)
    models[name] = judge_folder
    measured: list[Measured] = []
    for label, model in models.items():
        judge = open_judge(
            str(model),
            spec=None if model == judge_folder else spec,
            dtype="float32",
            batch_size=_BATCH,
        )
        with _stage(f"judging with {label}: every test row in both orders"), closing(judge.backend):
            measured += _measure(config, judge, label, tests, output)
    trained = [item.folder for item in measured if item.judge == name]
    with _stage("export again, now that its card can say how good the judge is"):
        export_judge(judge_folder, run=run, results=trained, force=True)
    return base, judge_folder, measured, tests


def _last_stage(config: DemoConfig, output: Path) -> tuple[Path, str]:
    """Return the run that the demo's judge comes from, and what the table calls it."""
    return (output / "sft", "SFT") if config.rlvr is None else (output / "rlvr", "SFT+RLVR")


def _tell(config: DemoConfig, measured: list[Measured], tests: Mapping[Split, Path]) -> None:
    """Say what came out: judged rows, what the base could see, the table and what its columns mean."""
    shown = measured[-len(tests)]
    note(f"\n{_SHOWN} judged rows of the split {shown.split}, wrong ones first\n")
    for text in shown_rows(shown.folder / "judgments.jsonl", read_pairs(tests[shown.split]), _SHOWN):
        note(text + "\n")
    note(
        f"What the base reads off responses, before it learnt to judge\n{evidence_table(measured[0].findings)}\n"
    )
    note(result_table(measured))
    worn = " / ".join(f"{config.base.world.shortcut_share(split):.0%}" for split in tests)
    note(
        "\naccuracy: over both orders; a row that changes its mind counts half"
        "\nconsistency: rows with the same verdict in both orders"
        "\ninconsistency: right verdicts whose critique misses the true reasons"
        f"\nshortcut: verdicts for the response with the {config.base.world.shortcut.kind} opening, "
        f"which is the better one in {worn} of the rows"
    )


def _distil(config: DemoConfig, base: Path, output: Path) -> dict[str, Any]:
    """Make traces and learn from them; return the summary of the SFT run."""
    spec = load_spec(config.base.spec)
    traces = output / "traces.jsonl"
    with _stage(
        "teacher: some judgments careless, some malformed; those with the right verdict are kept: "
        f"reasrm distill --config {distill_config_of(traces)}"
    ):
        world = World(config.base.world)
        pairs = write_pairs(world.pairs("train", config.pairs), output / "pairs.jsonl")
        kept = make_traces(config, spec, pairs, traces)
        rows = cap_rows(kept.output, config.traces, output / "sft.jsonl")
        dropped = ", ".join(f"{count} {reason}" for reason, count in kept.reasons.most_common())
        note(f"  {kept.kept} of {kept.kept + kept.reasons.total()} traces kept ({dropped}), {rows} used")
    run_dir = output / "sft"
    file = write_sft_config(config, base, output / "sft.jsonl", output / "sft.yaml")
    with _stage(f"SFT: reasrm sft --config {file} --run-dir {run_dir}"), training_listener("sft") as listener:
        return train(load_sft_stage(file), str(file), run_dir, resume=True, listener=listener)


def _reinforce(config: DemoConfig, rl: RLConfig, model: Path, output: Path) -> dict[str, Any]:
    """Learn from labels alone, on pairs that the teacher was not shown; return the summary of the RLVR run."""
    world = World(config.base.world)
    pairs = write_pairs(world.pairs("train", rl.pairs, config.pairs), output / "rlvr-pairs.jsonl")
    run_dir = output / "rlvr"
    file = write_rlvr_config(config, rl, model, pairs, output / "rlvr.yaml")
    with (
        _stage(f"RLVR: reasrm rlvr --config {file} --run-dir {run_dir}"),
        training_listener("rlvr") as listener,
    ):
        return train_rlvr(load_rlvr_stage(file), str(file), run_dir, resume=True, listener=listener)


def _measure(
    config: DemoConfig, judge: Judge, name: str, tests: Mapping[Split, Path], output: Path
) -> Iterator[Measured]:
    for split, pairs in tests.items():
        folder = output / "eval" / f"{name.lower().replace('+', '-')}-{split}"
        result, findings = evaluate_judge(judge, pairs, folder, seed=config.seed, label=f"{name} {split}")
        yield Measured(name, split, result, findings, folder)


def _settle(output: Path, config: DemoConfig) -> None:
    """Make the folder this demo's: another demo in its place moves aside.

    Raises:
        ConfigError: The folder holds other things.
    """
    mine = {"reasrm": __version__, "config": config.model_dump(mode="json")}
    record = output / "demo.json"
    if record.is_file() and read_yaml(record) != mine:
        note(f"{output} held another demo: moved to {set_aside([output])[0]}")
    open_folder(output)
    if not record.is_file():
        refuse_others(output, "demo", (), record.name)
    write_json_atomic(record, mine)


@contextmanager
def _stage(text: str) -> Iterator[None]:
    note(f"\n— {text}")
    started = time.monotonic()
    yield
    note(f"  {time.monotonic() - started:.0f} s")
