"""The verbs that train: flags in, a stage run, its summary out. Under `accelerate launch` only one process speaks."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm.cli.console import (
    bars,
    chatter_to_stderr,
    is_quiet,
    note,
    now_and_then,
    print_summary,
    set_quiet,
)

if TYPE_CHECKING:
    from reasrm.training.sft import Listener

__all__ = ["run_sft", "training_listener"]


def run_sft(
    config: Path, overrides: list[str], run_dir: Path | None, *, resume: bool, dry_run: bool, quiet: bool
) -> None:
    """Train a judge on written judgments, or say what that would do and need."""
    speaks = int(os.environ.get("RANK", "0")) == 0
    set_quiet(quiet or not speaks)
    with chatter_to_stderr():
        summary = _run_sft(config, overrides, run_dir or Path("runs") / f"sft-{config.stem}", resume, dry_run)
    if speaks:
        print_summary(summary)


def _run_sft(config: Path, overrides: list[str], folder: Path, resume: bool, dry_run: bool) -> dict[str, Any]:
    from reasrm.training.config import load_sft_stage

    stage = load_sft_stage(config, overrides)
    from reasrm.training.sft import encode_data, plan, set_up, train

    with training_listener(f"sft {config.stem}") as listener:
        if not dry_run:
            return train(stage, str(config), folder, resume=resume, listener=listener)
        setup = set_up(stage, str(config), folder / "checkpoints")
        summary = plan(setup, encode_data(setup, listener))
        _describe(summary)
        return summary


def _hush_libraries() -> None:
    """Our own lines say how far training is; the libraries' bars and warnings to developers do not."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    from datasets import disable_progress_bars

    disable_progress_bars()


@contextmanager
def training_listener(label: str) -> Iterator[Listener]:
    """Show rows and steps: bars on a terminal, lines elsewhere, nothing when quiet."""
    from reasrm.training.sft import Listener

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
    from reasrm.training.sft import Listener

    with bars() as progress:
        rows = progress.add_task("encoding rows", total=None, extra="")
        steps = progress.add_task(label, total=None, extra="", visible=False)

        def step(done: int, total: int, logs: Mapping[str, Any]) -> None:
            progress.update(steps, completed=done, total=total, extra=_numbers(logs), visible=True)

        yield Listener(
            say=lambda text: progress.console.print(text, markup=False, highlight=False),
            rows=lambda number: progress.update(rows, completed=number),
            steps=step,
        )


def _lines(label: str) -> Listener:
    from reasrm.training.sft import Listener

    started = time.monotonic()
    rows_due, step_due = now_and_then(), now_and_then(at_once=True)

    def rows(number: int) -> None:
        if rows_due():
            note(f"{label}: encoded {number:,} rows")

    def step(done: int, total: int, logs: Mapping[str, Any]) -> None:
        if step_due() or done == total:
            elapsed = time.monotonic() - started
            note(f"{label}: step {done}/{total}, {_numbers(logs)}, {elapsed:.0f} s")

    return Listener(say=note, rows=rows, steps=step)


def _numbers(logs: Mapping[str, Any]) -> str:
    """Return what was logged, as far as a person wants it on one line."""
    names = {"loss": "loss", "eval_loss": "eval loss", "grad_norm": "gradient", "learning_rate": "lr"}
    shown = [f"{word} {logs[name]:.4g}" for name, word in names.items() if name in logs]
    return " ".join(shown) or "done"


def _describe(plan: Mapping[str, Any]) -> None:
    """Say what a run would do, in lines for people."""
    batch, memory, lengths = plan["batches"], plan["memory_gib"], plan["lengths"]
    dropped = ", ".join(f"{count} {code}" for code, count in plan["dropped"].items()) or "none"
    note(f"rows: {plan['rows']:,} kept, dropped: {dropped}; validation: {plan['validation_rows']:,}")
    for name, values in lengths.items():
        shown = "  ".join(f"{percentile} {value:,}" for percentile, value in values.items())
        note(f"  {name} tokens: {shown}")
    note(f"  limit of a row: {plan['max_tokens']:,} tokens")
    if plan["longer_than_sampling"]:
        note(f"  {plan['longer_than_sampling']:,} answers are longer than the spec's max_tokens in judging")
    kind = "packs" if batch["packed"] else "rows"
    note(
        f"steps: {batch['per_device']} per process × {batch['accumulation']} passes × {batch['processes']} "
        f"processes = {batch['per_step']} {kind} per step; {batch['steps_per_epoch']:,} steps per epoch, "
        f"{batch['total_steps']:,} in all; {batch['tokens_per_step']:,} tokens per step, "
        f"{batch['trained_tokens_per_step']:,} of them with loss"
    )
    parameters = plan["parameters"]
    note(f"parameters: {parameters['total']:,}, trained {parameters['trained']:,}, as {plan['dtype']}")
    parts = ", ".join(f"{name} {size:.2f}" for name, size in memory.items())
    note(f"memory per process, estimated, in GiB: {parts}")
