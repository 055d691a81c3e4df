"""`reasrm export`: from flags to a judge folder, and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasrm.cli.console import chatter_to_stderr, note, print_summary

__all__ = ["run_export"]


def run_export(output: Path, *, run: Path | None, results: Sequence[Path], **options: Any) -> None:
    """Export and print the summary; `options` are those of `export_judge`."""
    with chatter_to_stderr():
        from reasrm.export import export_judge

        summary = export_judge(output, run=run, results=results, say=note, **options)
    note(f"judge folder: {output}")
    print_summary({"command": "export", **summary})
