"""The verbs of the embedded world: pairs, the base model, a teacher's traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from reasrm.cli.console import chatter_to_stderr, note, print_summary
from reasrm.cli.summary import progress
from reasrm.config import load_config
from reasrm.demo.config import DemoConfig
from reasrm.demo.stages import make_base, make_traces, read_pairs, write_pairs
from reasrm.errors import ConfigError
from reasrm.files import in_folder
from reasrm.protocol.spec import load_spec
from reasrm.world.english.config import EnglishConfig
from reasrm.world.english.pairs import EnglishWorld
from reasrm.world.pairs import World
from reasrm.world.rows import DrawnRows, keep_critique

__all__ = ["load_demo_config", "open_world", "write_base", "write_judge", "write_split", "write_traces"]


def load_demo_config(path: Path | None, seed: int | None) -> DemoConfig:
    """Return the sandbox's configuration: from a file or the defaults, with one seed for base, training and orders.

    The world keeps its own seed, so that test rows stay the same from seed to seed.
    """
    config = DemoConfig() if path is None else load_config(DemoConfig, path)
    if seed is None:
        return config
    teacher = config.teacher.model_copy(update={"seed": seed})
    base = config.base.model_copy(update={"seed": seed})
    return config.model_copy(update={"seed": seed, "base": base, "teacher": teacher})


def open_world(name: Literal["words", "english"], path: Path | None) -> DrawnRows[Any]:
    """Return a world by its name, as a file of its configuration says or with its defaults."""
    if name == "words":
        return World(load_demo_config(path, None).base.world)
    return EnglishWorld(EnglishConfig() if path is None else load_config(EnglishConfig, path))


def write_split(
    world: DrawnRows[Any],
    split: str,
    rows: int,
    start: int,
    output: Path,
    critiques: float = 1.0,
    apart_from: Sequence[Path] = (),
) -> None:
    """Write rows of a split as preference pairs, of which a share keeps its critique.

    Args:
        world: Whose.
        split: Which.
        rows: How many.
        start: Number of the first.
        output: Where to.
        critiques: The share.
        apart_from: Files of pairs; rows with a prompt of theirs are passed over.
    """
    if split not in world.splits:
        raise ConfigError(f"no such split: {split!r}", remedy=f"use one of {', '.join(world.splits)}")
    if output.exists():
        raise ConfigError("exists already", place=str(output), remedy="choose another --output")
    with in_folder(output.parent):
        without = {pair.prompt for path in apart_from for pair in read_pairs(path).values()}
        drawn = world.pairs(split, rows, start, without)
        write_pairs((keep_critique(pair, critiques) for pair in drawn), output)
    note(f"{rows} pairs of the split {split} in {output}")
    print_summary(
        {
            "command": "sandbox pairs",
            "output": str(output),
            "progress": progress("rows", rows, rows),
            "split": split,
            "rows": rows,
        }
    )


def write_base(config: DemoConfig, output: Path) -> None:
    """Build the base model, or find it built."""
    with chatter_to_stderr():
        folder = make_base(config, output)
    note(f"the base lies in {folder}; judge with it: reasrm judge --judge {folder} --spec {config.base.spec}")
    print_summary({"command": "sandbox base", "output": str(folder), "hash": config.base.hash})


def write_traces(config: DemoConfig, spec: str, pairs: Path, output: Path) -> None:
    """Let the scripted teacher judge pairs of the world, and keep the traces with the right verdict."""
    if output.exists() and pairs.exists() and output.samefile(pairs):
        raise ConfigError("is also the input", place=str(output), remedy="choose another --output")
    with in_folder(output.parent):
        kept = make_traces(config, load_spec(spec), pairs, output)
    summary = {
        "command": "sandbox traces",
        "output": str(kept.output),
        "progress": progress("traces", kept.kept + kept.reasons.total(), kept.kept + kept.reasons.total()),
        "rejected": str(kept.rejected),
        "kept": kept.kept,
        "reasons": dict(kept.reasons),
    }
    note(f"{kept.kept} traces kept in {kept.output}, {kept.reasons.total()} rejected")
    print_summary(summary)


def write_judge(config: DemoConfig, work: Path, output: Path) -> None:
    """Make the judge that ships with the package: base, traces, SFT, evaluation, export with its numbers."""
    with chatter_to_stderr():
        from reasrm.demo.run import make_judge

        summary = make_judge(config, work, output)
    note(f"the judge lies in {output}")
    print_summary({"command": "sandbox judge", **summary})
