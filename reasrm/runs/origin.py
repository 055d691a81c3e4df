"""Where files and models come from, carried along: curation → distillation → training → the judge's card.

What makes data leaves `origin.json` beside it: hashes of the files, and the comparisons with benchmarks that their rows
went through. A run takes it into its manifest by hash, so a file that was changed afterwards has no origin. A run that
starts from another run's checkpoint, or from a judge folder, takes over what is known of that one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reasrm.config import Config
from reasrm.errors import ReasrmError
from reasrm.files import display_name, file_sha256, write_json_atomic
from reasrm.runs.identity import read_json, read_manifest
from reasrm.tables import is_hub

__all__ = [
    "ORIGIN",
    "BaseIdentity",
    "Benchmark",
    "Check",
    "HashedFile",
    "Input",
    "TrainedStage",
    "checks_of",
    "earlier_stages",
    "shareable",
    "trained_stages",
    "with_origins",
    "write_origin",
]

ORIGIN = "origin.json"


class HashedFile(Config):
    """A file by name, or an address of the Hub."""

    name: str
    sha256: str


class Benchmark(Config):
    """A benchmark that rows were compared with.

    Args:
        name: What the curation calls it.
        files: Its files.
        prompts: Its prompts.
        rows: The rows that overlap with it.
    """

    name: str
    files: tuple[HashedFile, ...]
    prompts: int
    rows: int


class Check(Config):
    """A comparison of rows with benchmarks, as `data curate` makes it.

    Args:
        of: Names of the files compared.
        rows: Their rows.
        action: What became of rows that overlap.
        ngram: Words of a run that counts as overlap.
        min_share: Of a benchmark prompt's runs, how many must be found.
        benchmarks: With what.
    """

    of: tuple[str, ...]
    rows: int
    action: Literal["drop", "keep", "refuse"]
    ngram: int
    min_share: float
    benchmarks: tuple[Benchmark, ...]


class Input(HashedFile):
    """A file that a stage read, and the comparisons that its rows went through before."""

    checks: tuple[Check, ...] = ()


class BaseIdentity(Config):
    """What a training started from: a hub id or a folder's name."""

    name: str
    revision: str | None = None
    fingerprint: str | None = None


class TrainedStage(Config):
    """A training that made a judge.

    Args:
        stage: `sft`, for one.
        run: The run folder's name.
        step: Optimizer steps of the checkpoint.
        seed: Of the run.
        base: What it started from.
        rows: That it learned from, where the run counts them.
        inputs: What it learned from and was chosen by; the key says which.
    """

    stage: str
    run: str
    step: int
    seed: int
    base: BaseIdentity
    rows: int | None = None
    inputs: dict[str, Input]


class _Origin(Config):
    files: dict[str, str]
    checks: tuple[Check, ...]


def write_origin(folder: Path, names: Iterable[str], checks: Sequence[Check]) -> None:
    """Say of files in a folder, which must be whole, which comparisons with benchmarks their rows went through."""
    origin = _Origin(files={name: file_sha256(folder / name) for name in names}, checks=tuple(checks))
    write_json_atomic(folder / ORIGIN, origin.model_dump(mode="json"))


def checks_of(path: str | os.PathLike[str], sha256: str) -> tuple[Check, ...]:
    """Return the comparisons with benchmarks that a file's rows went through; none are known of a changed file."""
    try:
        known = _Origin.model_validate_json((Path(path).parent / ORIGIN).read_bytes())
    except (OSError, ValidationError):
        return ()
    return known.checks if sha256 in known.files.values() else ()


def with_origins(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new run's manifest with what is known of its inputs (`checks`) and its model (`before`)."""
    inputs = {}
    for name, file in manifest["inputs"].items():
        checks = [check.model_dump(mode="json") for check in checks_of(file["path"], file["sha256"])]
        inputs[name] = {**file, "checks": checks} if checks else file
    base = config.get("base")
    before = earlier_stages(str(base["path"])) if base else ()
    return {**manifest, "inputs": inputs, "before": [stage.model_dump(mode="json") for stage in before]}


def trained_stages(
    run: Path, manifest: Mapping[str, Any], config: Mapping[str, Any], step: int
) -> tuple[TrainedStage, ...]:
    """Return the trainings that made a run's checkpoint, oldest first.

    Args:
        run: The run folder.
        manifest: Its manifest.
        config: Its config.
        step: Of the checkpoint.
    """
    recorded = manifest.get("before")
    if recorded is None:  # older runs do not say
        before = earlier_stages(str(config["base"]["path"]))
    else:
        before = tuple(map(TrainedStage.model_validate, recorded))
    counts = run / "data.json"
    last = TrainedStage(
        stage=manifest["stage"],
        run=display_name(run),
        step=step,
        seed=manifest["seed"],
        base=shareable(config["base"]),
        rows=read_json(counts).get("rows") if counts.is_file() else None,
        inputs={
            name: Input(name=_shown(file["path"]), sha256=file["sha256"], checks=file.get("checks", ()))
            for name, file in manifest["inputs"].items()
            if name.startswith(("train", "validation"))
        },
    )
    return (*before, last)


def earlier_stages(model: str) -> tuple[TrainedStage, ...]:
    """Return the trainings that made a run's checkpoint or a judge folder's model, oldest first; else none."""
    path = Path(model)
    run, judge = path.parent.parent, path.parent / "judge.json"
    try:
        if path.parent.name == "checkpoints" and (manifest := read_manifest(run)) is not None:
            step = int(path.name.rpartition("-")[2])
            return trained_stages(run, manifest, read_json(run / "config.json"), step)
        if path.name == "model" and judge.is_file():
            identity = read_json(judge)
            return tuple(map(TrainedStage.model_validate, [*identity["earlier"], identity["trained"]]))
    except (ReasrmError, KeyError, TypeError, ValueError):  # what cannot be read says nothing
        pass
    return ()


def shareable(base: Mapping[str, Any]) -> BaseIdentity:
    """Return a base model's identity for a folder that may be published: a name, not a path of this machine."""
    path = str(base["path"])
    local = Path(path).is_absolute() or path.startswith((".", "~")) or Path(path).is_dir()
    name = display_name(os.path.realpath(path)) if local else path
    return BaseIdentity(name=name, revision=base.get("revision"), fingerprint=base.get("fingerprint"))


def _shown(path: str) -> str:
    return path if is_hub(path) else display_name(path)
