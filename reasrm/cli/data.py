"""`reasrm data …`: what can be read, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reasrm.cli.console import note, print_summary
from reasrm.cli.summary import progress
from reasrm.errors import ConfigError
from reasrm.sources import SOURCES, Source, get
from reasrm.sources.importing import import_pairs
from reasrm.tables import given_columns

__all__ = ["list_sources", "run_import"]


def run_import(
    inputs: Sequence[Path],
    output: Path,
    *,
    source: str,
    coerce_scalars: bool,
    options: Sequence[str] = (),
    columns: str | None = None,
) -> None:
    """Import, say per file what was kept and dropped, and print the report."""
    named = given_columns(columns)
    chosen = _configured(source, options)
    report = import_pairs(
        inputs,
        output,
        source=chosen,
        columns=named,
        coerce_scalars=coerce_scalars,
        on_rows=lambda file: note(f"{file.path}: {file.rows:,} rows, {file.kept:,} pairs kept"),
    )
    summary = report.to_json()
    for file in report.files:
        name = "+".join(file.sources) or "no schema recognised"
        note(f"{file.path} ({name}): {file.rows} rows, {file.read} pairs read, {file.kept} kept")
        for reason, count in file.dropped.most_common():
            places = ", ".join(file.examples[reason][:6]) + (" …" if count > 6 else "")
            note(f"  dropped {count} × {reason}: {places}")
            if reason in file.why:
                note(f"    the first: {file.why[reason]}")
        if file.unverified:
            note("  schema unverified: these column names were not confirmed against the owner's files")
    note(f"pairs: {output}" if summary["kept"] else f"not one pair was kept; {output} is empty")
    settings = {"options": list(options)} if options else {}
    done = progress("rows", report.rows, report.rows)
    print_summary({"command": "data import", "progress": done, **settings, **summary})


def _configured(name: str, options: Sequence[str]) -> str | Source:
    """Return the named source with its options; the name alone where there are none."""
    if not options:
        return name
    if name == "auto":
        raise ConfigError("--option speaks of one source", remedy="name it: --source NAME")
    chosen: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key in chosen:
            raise ConfigError(f"--option {option!r}", remedy="give each option once, as NAME=VALUE")
        chosen[key] = value
    return get(name).configured(chosen, {})


def list_sources() -> None:
    """Print the schemas that are read."""
    for source in SOURCES:
        print(f"{source.name}: {source.label_rule}\n    {source.licence}; {source.url} at {source.revision}")
        for option, values in source.options.items():
            print(f"    --option {option}={'|'.join(values)} (default {next(iter(values))})")
        if not source.verified:
            print(f"    column names not confirmed: {', '.join(source.assumed)}")
    print_summary({"command": "data sources", "sources": [source.name for source in SOURCES]})
