"""The card's contamination check: which rows were learned from, chosen by and measured on.

Files are compared by hash. Prompts are compared, in the normal form of curation, where the files of a run and of an
evaluation are still at hand, unchanged, and hold pairs; SFT rows are whole judgments and cannot be compared so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasrm.export.source import Provenance
from reasrm.judging.overlaps import prompt_keys

__all__ = ["as_code", "describe_overlaps", "training_files"]

_LONGEST = 200
_INERT = frozenset("`|\\<>")
_File = Mapping[str, str]  # `path` and `sha256`


def describe_overlaps(known: Provenance | None, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the check.

    Args:
        known: What the run recorded; None where nothing is known of the training.
        results: `result.json` of each evaluation that the card shows.
    """
    lines = ["## Contamination check", ""]
    inputs: Mapping[str, _File] = {} if known is None else known.manifest["inputs"]
    trained = {file["sha256"]: name for name, file in inputs.items() if name.startswith("train")}
    for name, file in inputs.items():
        if name.startswith("validation") and file["sha256"] in trained:
            lines.append(f"- {as_code(name)} is the same file as {as_code(trained[file['sha256']])}")
    lines += [] if known is None else _selection(known)
    used = {file["sha256"]: name for name, file in inputs.items()}
    columns = None if known is None else known.config.get("data", {}).get("columns")
    learned = None if known is None else prompt_keys(training_files(known), columns)
    for result in results:
        measured: Sequence[_File] = result.get("inputs") or [{"sha256": str(result.get("data_sha256"))}]
        suite = f"- suite {as_code(result.get('suite'))}"
        same = [used[file["sha256"]] for file in measured if file["sha256"] in used]
        lines += [f"{suite} was measured on the file of {as_code(name)}" for name in same]
        seen = prompt_keys(measured)
        if learned is not None and seen is not None:
            shared = sum(key in learned for key in seen)
            lines.append(f"{suite}: {shared} of {len(seen)} prompts are prompts of training rows")
        else:
            lines.append(f"{suite}: whether its rows share prompts with training rows is unknown")
    return [*lines, *([""] if len(lines) > 2 else []), *_UNKNOWN]


_UNKNOWN = ("Other benchmarks: not compared.", "")


def _selection(known: Provenance) -> list[str]:
    shared = known.data.get("validation_overlap") or {}
    if isinstance(shared, int):
        return [f"- validation: {shared} rows have the prompt of a training row"]
    return [
        f"- validation split {as_code(name)}: {counts['rows']} rows are training rows, "
        f"{counts['prompts']} have the prompt of one"
        for name, counts in shared.items()
    ]


def training_files(known: Provenance) -> list[_File]:
    """Return the files that a run learned from, each a `path` and a `sha256`."""
    return [file for name, file in known.manifest["inputs"].items() if name.startswith("train")]


def as_code(value: Any) -> str:
    """Return somebody's text as inline code that it cannot leave."""
    text = str(value if value is not None else "-")
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    shown = "".join(c if c.isprintable() and c not in _INERT else f"\\u{ord(c):04x}" for c in text)
    return f"`{shown.strip() or '-'}`"
