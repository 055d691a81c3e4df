"""The verbs that train: flags in, a stage run, its summary out. Under `accelerate launch` only one process speaks."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm.cli.console import (
    bars,
    chatter_to_stderr,
    exit_with,
    is_quiet,
    note,
    now_and_then,
    print_summary,
    set_quiet,
)
from reasrm.cli.summary import progress
from reasrm.training.safety.stopping import Stop

if TYPE_CHECKING:
    from reasrm.training.stage.listening import Listener

__all__ = [
    "clock",
    "run_training",
    "seconds_left",
    "training_listener",
]


def run_training(
    verb: str,
    config: Path,
    overrides: list[str],
    run_dir: Path | None,
    *,
    resume: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Run a stage, or plan it, and print its summary. A signal ends it with the signal's exit code.

    Args:
        verb: The command.
        config: The stage's file.
        overrides: `a.b=value`, for keys of the file.
        run_dir: The run's folder; None names it after verb and config.
        resume: Go on from the last checkpoint.
        dry_run: Plan.
        quiet: Say nothing on stderr.
    """
    stop = Stop(say=note)
    with _speaking(verb, config, run_dir, quiet) as (folder, finish), stop.watching():
        room = f"reasrm.training.{verb}"
        load = getattr(import_module(f"{room}.config"), f"load_{verb}_stage")
        stage = load(config, overrides)  # before what takes seconds to import
        with training_listener(_label(verb, config)) as silent:
            listener = replace(silent, stop=stop)
            kind = getattr(import_module(f"{room}.stage"), verb.upper())
            if dry_run:
                summary = kind.dry_run(stage, str(config), folder, listener)
                _describe(summary)
            else:
                summary = kind.train(stage, str(config), folder, resume=resume, listener=listener)
        said = {"command": verb, "output": None if dry_run else str(folder), **summary}
        if "steps" in summary:
            total = None if summary.get("interrupted") else summary["steps"]
            said["progress"] = progress("steps", total, summary["steps"])
        finish(said)
    if summary.get("interrupted"):
        note(f"stopped; {summary['continue']}")
        exit_with(summary["exit_code"])


def _label(verb: str, config: Path) -> str:
    return verb if config.stem == verb else f"{verb} {config.stem}"


@contextmanager
def _speaking(
    verb: str, config: Path, run_dir: Path | None, quiet: bool
) -> Iterator[tuple[Path, Callable[[dict[str, Any]], None]]]:
    """Let one process of a launch speak; lend the run folder, and take the summary for the last line of stdout."""
    speaks = int(os.environ.get("RANK", "0")) == 0
    set_quiet(quiet or not speaks)
    summaries: list[dict[str, Any]] = []
    with chatter_to_stderr():
        yield run_dir or Path("runs") / f"{verb}-{config.stem}", summaries.append
    if speaks:
        for summary in summaries:
            print_summary(summary)


def _hush_libraries() -> None:
    """Our own lines say how far training is; the libraries' bars and warnings to developers do not."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault(
            "DS_ACCELERATOR", "cpu"
        )  # or DeepSpeed says on every run that it found no other
    from datasets import disable_progress_bars

    disable_progress_bars()


@contextmanager
def training_listener(label: str) -> Iterator[Listener]:
    """Show rows and steps: bars on a terminal, lines elsewhere, nothing when quiet."""
    from reasrm.training.stage.listening import Listener

    _hush_libraries()
    if is_quiet():
        yield Listener()
    elif sys.stderr.isatty():
        with _bars(label) as listener:
            yield listener
    else:
        yield _lines(label)


@contextmanager
def _bars(label: str) -> Iterator[Listener]:
    from reasrm.training.stage.listening import Listener

    with bars() as progress:
        rows = progress.add_task("encoding rows", total=None, extra="")
        steps = progress.add_task(label, total=None, extra="", visible=False)

        def step(done: int, total: int, logs: Mapping[str, Any]) -> None:
            progress.update(steps, completed=done, total=total, extra=_numbers(logs), visible=True)

        counted: dict[str, Any] = {}

        def count(name: str, done: int, total: int) -> None:
            if name not in counted:
                counted[name] = progress.add_task(name, total=total, extra="")
            progress.update(counted[name], completed=done)

        yield Listener(
            say=lambda text: progress.console.print(text, markup=False, highlight=False),
            rows=lambda number: progress.update(rows, completed=number),
            steps=step,
            counts=count,
        )


def _lines(label: str) -> Listener:
    from reasrm.training.stage.listening import Listener

    started = time.monotonic()
    begun: tuple[float, int] | None = None
    rows_due, step_due, count_due = now_and_then(), now_and_then(at_once=True), now_and_then()

    def rows(number: int) -> None:
        if rows_due():
            note(f"{label}: encoded {number:,} rows")

    def step(done: int, total: int, logs: Mapping[str, Any]) -> None:
        nonlocal begun
        now = time.monotonic()
        begun = begun or (now, done)
        if step_due() or done == total:
            left = seconds_left(now - begun[0], done - begun[1], total - done)
            eta = "" if left is None else f", about {clock(left)} left"
            note(f"{label}: step {done}/{total}, {_numbers(logs)}, {clock(now - started)}{eta}")

    def count(name: str, done: int, total: int) -> None:
        if count_due() or done == total:
            note(f"{label}: {done:,} of {total:,} {name}")

    return Listener(say=note, rows=rows, steps=step, counts=count)


def seconds_left(elapsed_s: float, done: int, left: int) -> float | None:
    """Return how long the rest takes at the pace so far; None at the end and where there is no pace yet."""
    return elapsed_s / done * left if done > 0 and left > 0 else None


def clock(seconds: float) -> str:
    """Return a time as people read it: `42 s`, `7 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _numbers(logs: Mapping[str, Any]) -> str:
    """Return what was logged, as far as a person wants it on one line."""
    names = {
        "loss": "loss",
        "eval_loss": "eval loss",
        "eval_mse": "held-out mse",
        "eval_variance": "variance",
        "eval_right_auc": "auc",
        "reward/mean": "reward",
        "rollouts/accuracy": "accuracy",
        "rollouts/coverage": "coverage",
        "rollouts/tokens": "tokens",
        "groups/dead": "dead groups",
        "grad_norm": "gradient",
        "learning_rate": "lr",
        **{
            name: name.removeprefix("eval/")
            for name in logs
            if name.startswith("eval/") and name.count("/") == 2
        },
    }
    shown = [f"{word} {logs[name]:.4g}" for name, word in names.items() if name in logs]
    return " ".join(shown) or "done"


_SAID = {
    "targets": "better response: {}",
    "validation_rows": "validation: {}",
    "held_out_rows": "held out: {} rows",
    "judgments": "judgments: {}",
    "too_long": "too long: {}",
    "max_tokens": "longest input: {} tokens",
    "max_prompt_tokens": "longest prompt: {} tokens",
    "max_completion_tokens": "longest completion: {} tokens",
    "longer_than_sampling": "answers longer than the spec's max_tokens in judging: {}",
}
"""Keys of a plan → what is said of them where they are not 0 or empty."""


def _describe(plan: Mapping[str, Any]) -> None:
    """Say what a run would do, in lines for people."""
    note(f"rows: {plan['rows']:,} kept, dropped: {_shown(plan['dropped'])}")
    for name, values in plan["lengths"].items():
        note(f"  {name} tokens: {_shown(values)}")
    for key, words in _SAID.items():
        if plan.get(key):
            note("  " + words.format(_shown(plan[key])))
    batch = plan["batches"]
    unit = {"sft": "packs" if batch.get("packed") else "rows", "rlvr": "rollouts", "metarm": "judgments"}
    per_step = batch.get("per_step") or batch["rollouts_per_step"]
    if "num_iterations" in batch:
        note(
            f"generation batch: {batch['prompts_per_generation_batch']:,} prompts × {batch['rollouts_per_prompt']} "
            f"rollouts = {batch['rollouts_per_generation_batch']:,}, learned from in "
            f"{batch['steps_per_generation']} passes, {batch['num_iterations']} times"
        )
    note(
        f"steps: {batch['per_device']} per process × {batch['accumulation']} passes × {batch['processes']} processes = "
        f"{per_step:,} {unit[plan['stage']]} per step; {batch['steps_per_epoch']:,} steps per epoch, "
        f"{batch['total_steps']:,} in all"
    )
    if "tokens_per_step" in batch:
        note(
            f"tokens per step: {batch['tokens_per_step']:,}, {batch['trained_tokens_per_step']:,} of them with loss"
        )
    _describe_size(plan)
    if "mode" in plan.get("metarm", ()):
        note(f"the MetaRM beside it, {plan['metarm']['mode']}:")
        _describe_size(plan["metarm"])


def _shown(value: Any) -> str:
    """Return a number, or numbers with their names, for people."""
    if not isinstance(value, Mapping):
        return f"{value:,}"
    return ", ".join(f"{name} {number:,}" for name, number in value.items()) or "none"


def _describe_size(plan: Mapping[str, Any]) -> None:
    """Say how large a model is and what memory it takes."""
    parameters, memory = plan["parameters"], plan["memory_gib"]
    note(f"parameters: {parameters['total']:,}, trained {parameters['trained']:,}, as {plan['dtype']}")
    parts = ", ".join(f"{name} {size:.2f}" for name, size in memory.items())
    note(f"memory per process, estimated, in GiB: {parts}")
