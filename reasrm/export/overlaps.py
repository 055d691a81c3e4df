"""The card's contamination check: which rows were learned from, chosen by and measured on.

Curation compares training prompts with benchmarks, and what it found travels with the files' hashes. At export files
are compared by hash. Prompts are compared, in the normal form of curation, where the files of a run and of an
evaluation are still at hand, unchanged, and hold pairs; SFT rows are whole judgments and cannot be compared so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reasrm.export.markdown import as_code, short_hash, table
from reasrm.export.measured import Measurement
from reasrm.export.source import ExportSource, Provenance
from reasrm.judging.overlaps import prompt_keys
from reasrm.runs.origin import Input, TrainedStage

__all__ = ["describe_overlaps", "training_files"]

_File = Mapping[str, Any]  # `path` and `sha256`
_Stages = Sequence[TrainedStage]


def describe_overlaps(source: ExportSource, evaluations: Sequence[Measurement]) -> list[str]:
    """Return the lines of the check.

    Args:
        source: What is exported; nothing is known of the training of a bare model.
        evaluations: What the card shows.
    """
    lines = ["## Contamination check", ""]
    checks = list(_checks(source.stages))
    if checks:
        columns = ("training file", "rows compared", "with", "rows that overlap")
        lines += ["At curation, before training:", "", *table(columns, checks), ""]
    found = [*_unchecked(source.stages), *_selection(source), *_measured(source, evaluations)]
    lines += [*(f"- {line}" for line in found), *([""] if found else [])]
    return [*lines, "Anything else: not compared.", ""]


def _checks(stages: _Stages) -> Iterator[tuple[str, ...]]:
    for where, file in _training_files(stages):
        for check in file.checks:
            compared = f"{check.rows} of {', '.join(map(as_code, check.of))}"
            for benchmark in check.benchmarks:
                files = ", ".join(f"{as_code(f.name)} ({short_hash(f.sha256)})" for f in benchmark.files)
                against = f"{as_code(benchmark.name)}: {benchmark.prompts} prompts of {files}"
                then = "removed" if check.action == "drop" else "kept"
                found = f"{benchmark.rows}, {then}" if benchmark.rows else "0"
                yield where, compared, against, found


def _unchecked(stages: _Stages) -> list[str]:
    return [
        f"{where}: no curation against a benchmark is on record"
        for where, file in _training_files(stages)
        if not file.checks
    ]


def training_files(known: Provenance) -> list[_File]:
    """Return the files that a run learned from, each a `path` and a `sha256`."""
    return [file for name, file in known.manifest["inputs"].items() if name.startswith("train")]


def _training_files(stages: _Stages) -> Iterator[tuple[str, Input]]:
    for stage in stages:
        for name, file in stage.inputs.items():
            if name.startswith("train"):
                yield f"{as_code(stage.stage)} {as_code(file.name)}", file


def _selection(source: ExportSource) -> Iterator[str]:
    """Say what validation has in common with training."""
    known = source.provenance
    if known is None:
        return
    inputs: Mapping[str, _File] = known.manifest["inputs"]
    trained = {file["sha256"]: name for name, file in inputs.items() if name.startswith("train")}
    for name, file in inputs.items():
        if name.startswith("validation") and file["sha256"] in trained:
            yield f"{as_code(name)} is the same file as {as_code(trained[file['sha256']])}"
    shared = known.data.get("validation_overlap") or {}
    if isinstance(shared, int):
        yield f"validation: {shared} rows have the prompt of a training row"
        return
    for name, counts in shared.items():
        yield (
            f"validation split {as_code(name)}: {counts['rows']} rows are training rows, "
            f"{counts['prompts']} have the prompt of one"
        )


def _measured(source: ExportSource, evaluations: Sequence[Measurement]) -> Iterator[str]:
    """Say what each evaluation has in common with the files that were learned from."""
    used = {
        file.sha256: f"{as_code(stage.stage)} {as_code(name)}"
        for stage in source.stages
        for name, file in stage.inputs.items()
    }
    known = source.provenance
    columns = None if known is None else known.config.get("data", {}).get("columns")
    learned = None if known is None else prompt_keys(training_files(known), columns)
    for evaluation in evaluations:
        suite = f"suite {evaluation.name}"
        for file in evaluation.files:
            if file["sha256"] in used:
                yield f"{suite} was measured on the file of {used[file['sha256']]}"
        seen = prompt_keys(evaluation.files)
        if known is None or learned is None or seen is None:
            yield f"{suite}: whether its rows share prompts with training rows is unknown"
            continue
        shared = sum(key in learned for key in seen)
        yield f"{suite}: {shared} of {len(seen)} prompts are prompts of training rows of {as_code(known.stage)}"
