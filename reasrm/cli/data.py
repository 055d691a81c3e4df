"""`reasrm data …` and `reasrm specs`: what can be read, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasrm.cli.console import note, print_summary
from reasrm.protocol.spec import builtin_specs, load_spec
from reasrm.sources import SOURCES
from reasrm.sources.importing import import_pairs

__all__ = ["list_sources", "run_import", "show_specs"]


def run_import(inputs: Sequence[Path], output: Path, *, source: str, coerce_scalars: bool) -> None:
    """Import, say per file what was kept and dropped, and print the report."""
    report = import_pairs(
        inputs,
        output,
        source=source,
        coerce_scalars=coerce_scalars,
        on_rows=lambda file: note(f"{file.path}: {file.rows:,} rows, {file.kept:,} pairs kept"),
    )
    summary = report.to_json()
    for file in report.files:
        name = "+".join(file.sources)
        note(f"{file.path} ({name}): {file.rows} rows, {file.read} pairs read, {file.kept} kept")
        for reason, count in file.dropped.most_common():
            places = ", ".join(file.examples[reason][:6]) + (" …" if count > 6 else "")
            note(f"  dropped {count} × {reason}: {places}")
    note(f"pairs: {output}")
    print_summary({"command": "data import", **summary})


def list_sources() -> None:
    """Print the schemas that are read."""
    for source in SOURCES:
        print(f"{source.name}: {source.label_rule}\n    {source.licence}; {source.url} at {source.revision}")
    print_summary({"command": "data sources", "sources": [source.name for source in SOURCES]})


def show_specs(name: str | None) -> None:
    """List the built-in specs, or show one whole."""
    if name is not None:
        spec = load_spec(name)
        shown: dict[str, Any] = spec.model_dump(mode="json")
        print_summary({"command": "specs", "hash": spec.hash, "spec": shown})
        return
    specs = [load_spec(known) for known in builtin_specs()]
    for spec in specs:
        print(f"{spec.name} ({spec.protocol}, {spec.hash}): {spec.description}")
    print_summary({"command": "specs", "specs": {spec.name: spec.hash for spec in specs}})
