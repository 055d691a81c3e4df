"""The card's contamination check: which rows were learned from, chosen by and measured on.

Files are compared by hash. Prompts are compared, in the normal form of curation, where the files of a run and of an
evaluation are still at hand, unchanged, and hold pairs; SFT rows are whole judgments and cannot be compared so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasrm.curation.text import prompt_key
from reasrm.errors import ReasrmError
from reasrm.export.source import Provenance
from reasrm.judging.inputs import JudgeInput
from reasrm.tables import content_sha256

__all__ = ["as_code", "describe_overlaps"]

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
    learned = None if known is None else _prompts(_training_files(inputs), known)
    for result in results:
        measured: Sequence[_File] = result.get("inputs") or [{"sha256": str(result.get("data_sha256"))}]
        suite = f"- suite {as_code(result.get('suite'))}"
        same = [used[file["sha256"]] for file in measured if file["sha256"] in used]
        lines += [f"{suite} was measured on the file of {as_code(name)}" for name in same]
        seen = _prompts(measured, None)
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


def _training_files(inputs: Mapping[str, _File]) -> list[_File]:
    return [file for name, file in inputs.items() if name.startswith("train")]


def _prompts(files: Sequence[_File], known: Provenance | None) -> set[bytes] | None:
    """Return the keys of all prompts of some files, None where one is gone, changed, or holds no pairs."""
    columns = None if known is None else known.config.get("data", {}).get("columns")
    found: set[bytes] = set()
    for file in files:
        path = Path(file.get("path", ""))
        try:
            if not path.is_file() or content_sha256(path) != file["sha256"]:
                return None
            rows = [item.row for item in JudgeInput([path], columns=columns) if item.row is not None]
        except (ReasrmError, OSError):
            return None
        if not rows:
            return None
        found |= {prompt_key(row.prompt) for row in rows}
    return found if files else None


def as_code(value: Any) -> str:
    """Return somebody's text as inline code that it cannot leave."""
    text = str(value if value is not None else "-")
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    shown = "".join(c if c.isprintable() and c not in _INERT else f"\\u{ord(c):04x}" for c in text)
    return f"`{shown.strip() or '-'}`"
