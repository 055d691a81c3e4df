"""A result as the table that a person reads first: score with interval, companions, subsets, what was unreadable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["format_estimate", "format_headline", "render_rows", "render_table"]


def format_estimate(estimate: Mapping[str, Any] | None) -> str:
    """Return `0.657 [0.606, 0.705]`, or `-` for a rate over nothing."""
    if estimate is None or estimate["value"] is None:
        return "-"
    if estimate["ci_low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} [{estimate['ci_low']:.3f}, {estimate['ci_high']:.3f}]"


def format_headline(headline: Mapping[str, Any]) -> str:
    """Return the line that `judge` and `eval` end with."""
    value = {"value": headline["accuracy"], **headline}
    coverage = "-" if headline["coverage"] is None else f"{headline['coverage']:.3f}"
    labelled = (
        f"accuracy {format_estimate(value)}, n {headline['n']}" if headline["n"] else "no labelled verdict"
    )
    return f"headline: {labelled}, splits {headline['splits']}, coverage {coverage}"


def render_rows(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as aligned columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def render_table(result: Mapping[str, Any]) -> str:
    """Return one evaluation as text."""
    rows = [(result["suite"], "value [95 % interval]", "n")]
    for group in ("metrics", "subsets"):
        rows += [(name, format_estimate(e), str(e["n"])) for name, e in result[group].items()]
    counts = ", ".join(f"{name} {count}" for name, count in result["parse_status"].items())
    policy = dict(result["policy"])
    critiques = policy.pop("critiques", None)
    also = ", ".join(f"{name.removeprefix('num_')} {count}" for name, count in result["counts"].items())
    return (
        f"{render_rows(rows)}\n{_critique_rows(result)}"
        f"counts: {also}; without an answer {result['num_errors']}\n"
        f"judgments: {counts or 'none kept'}\n"
        f"policy: {_settings(policy)}" + (f"\ncritiques: {_settings(critiques)}" if critiques else "")
    )


def _critique_rows(result: Mapping[str, Any]) -> str:
    """Return a table of the critiques of each subset, nothing where there are none."""
    subsets = result.get("critique_subsets")
    if not subsets:
        return ""
    names = ("inconsistency", "critique_f1", "critique_coverage")
    rows = [("critiques of", *names, "n")]
    for subset, found in subsets.items():
        shown = (format_estimate(found[name]) for name in names)
        rows.append((subset, *shown, str(found["critique_coverage"]["n"])))
    return f"\n{render_rows(rows)}\n\n"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
