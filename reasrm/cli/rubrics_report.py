"""`reasrm rubrics report`: from files to `report.json`, `report.md` and a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasrm.cli.console import chatter_to_stderr, finish, note, progress_bar
from reasrm.cli.rubrics import open_asked
from reasrm.cli.running import add_end, control_of
from reasrm.cli.summary import progress
from reasrm.config import parse_config
from reasrm.criteria.alike import undecided
from reasrm.errors import ConfigError
from reasrm.evaluation.table import format_estimate
from reasrm.files import replacing, write_json_atomic
from reasrm.generation.run import RunControl
from reasrm.judged import JudgedRow
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.look import judged_file, judged_rows
from reasrm.pipes import settled
from reasrm.records import Row
from reasrm.rubrics.config import RelateSection
from reasrm.rubrics.relate import Related, Relator
from reasrm.rubrics.report import SAYS, Marks, Material, load_marks, marks_of_world, report
from reasrm.sources.rubric_lines import Rubrics, load_rubrics

__all__ = ["render_report", "run_report"]

_HEADLINE = ("saw_own_labels", "leak_rate", "redundant", "misaligned", "precision", "recall", "gap_closed")


def run_report(
    rubrics: Path,
    output: Path,
    *,
    pairs: Sequence[Path],
    marks: str | None,
    gold_rubrics: Path | None,
    swapped: Path | None,
    judged: Mapping[str, Path | None],
    relate: str | None,
    seed: int,
) -> None:
    """Write the report and print the summary.

    Args:
        rubrics: The file of rubrics.
        output: The folder of `report.json` and `report.md`.
        pairs: Rows that the rubrics are for.
        marks: A file of marks, or `sandbox`.
        gold_rubrics: Rubrics to compare with.
        swapped: What the same writer wrote with the responses exchanged.
        judged: Judged files or folders of eval, under `none`, `arm`, `gold` and `swapped`.
        relate: A model that says whether criteria repeat or contradict each other where their words do not.
        seed: Of the intervals.
    """
    with chatter_to_stderr():
        material = _material(rubrics, pairs, marks, gold_rubrics, swapped, judged)
        summary: dict[str, Any] = {"command": "rubrics report", "output": str(output)}
        code = 0
        if relate is not None:
            related = _relate(relate, material.rubrics, output)
            summary |= related.cost
            code = add_end(summary, related, f"{len(related.words)} pairs of criteria")
            if related.signum is not None:
                finish(summary, code)
            material = replace(material, words=related.words)
        found = report(material, seed)
    output.mkdir(parents=True, exist_ok=True)
    files = {"rubrics": rubrics, "gold_rubrics": gold_rubrics, "swapped": swapped}
    given: dict[str, Any] = {name: None if file is None else str(file) for name, file in files.items()}
    given |= {"pairs": list(map(str, pairs)), "marks": marks}
    given["judged"] = {name: str(path) for name, path in judged.items() if path is not None}
    write_json_atomic(output / "report.json", {"given": given, "seed": seed, **found})
    page = render_report(found, str(rubrics))
    with replacing(output / "report.md") as stream:
        stream.write(page.encode())
    note(page)
    flat = {name: value for numbers in found["sections"].values() for name, value in numbers.items()}
    count = found["num_rubrics"]
    finish(
        {
            **summary,
            "progress": progress("rubrics", count, count),
            "num_rubrics": count,
            "num_rows": found["num_rows"],
            **{name: flat[name] for name in _HEADLINE if name in flat},
            **({"related": found["related"]} if relate is not None else {}),
        },
        code,
    )


def _relate(name: str, rubrics: Rubrics, output: Path) -> Related:
    """Ask a model about the criteria of each rubric; its answers lie beside the report, and the next call has them."""
    section = parse_config(RelateSection, {"judge": name}, "--relate")
    pairs = (
        texts
        for line in rubrics.by_id.values()
        for texts in undecided(line.rubric.criteria, least=section.least)
    )
    with closing(open_asked(section)) as model, progress_bar("comparing criteria", unit=" pairs,") as update:
        control = control_of(
            RunControl, "pairs of criteria", lambda said: update(said.done, said.total, f"{said.errors} err")
        )
        return Relator(model, section, output / "relations.jsonl")(pairs, control)


def _material(
    rubrics: Path,
    pairs: Sequence[Path],
    marks: str | None,
    gold_rubrics: Path | None,
    swapped: Path | None,
    judged: Mapping[str, Path | None],
) -> Material:
    own = load_rubrics(settled(rubrics))
    if marks is not None and not pairs:
        raise ConfigError("marks are for rows", place="--marks", remedy="give the rows with --pairs")
    if judged.get("swapped") is not None and (swapped is None or judged.get("arm") is None):
        raise ConfigError(
            "compares two orders of a writer", place="--arm-swapped", remedy="give --swapped and --arm, too"
        )
    rows = _rows(pairs)
    return Material(
        rubrics=own,
        rows=rows,
        marks=None if marks is None else _marks(marks, own, rows),
        gold=None if gold_rubrics is None else load_rubrics(settled(gold_rubrics)),
        swapped=None if swapped is None else load_rubrics(settled(swapped)),
        judged={name: _judged(path) for name, path in judged.items() if path is not None},
    )


def _rows(pairs: Sequence[Path]) -> list[Row]:
    if not pairs:
        return []
    rows = JudgeInput(pairs)
    rows.scan()
    return [item.row for item in rows if item.row is not None]


def _marks(marks: str, rubrics: Rubrics, rows: Sequence[Row]) -> Mapping[str, Marks]:
    return marks_of_world(rubrics, rows) if marks == "sandbox" else load_marks(settled(Path(marks)))


def _judged(path: Path) -> dict[str, JudgedRow]:
    return {row.id: row for row in judged_rows(judged_file(path))}


def render_report(found: Mapping[str, Any], name: str) -> str:
    """Return a report as Markdown.

    Args:
        found: What `rubrics.report.report` returned.
        name: Of the file of rubrics.
    """
    lines = [f"# Rubrics: {Path(name).name}\n"]
    lines.append(f"{found['num_rubrics']:,} rubrics, {found['num_rows']:,} rows.\n")
    for section, numbers in found["sections"].items():
        lines += [
            f"## {section[0].upper()}{section[1:]}\n",
            "| | value [95 %] | n | |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {key} | {format_estimate(estimate)} | {estimate['n']:,} | {SAYS[key]} |"
            for key, estimate in numbers.items()
        ]
        lines.append("")
        if section == "leaks" and found["reasons"]:
            counts = (f"{reason} {count}" for reason, count in found["reasons"].items())
            lines.append(f"Leaks by reason: {', '.join(counts)}.\n")
        if section == "discrimination":
            lines += _by_criterion(found["by_criterion"])
    if "related" in found:
        said = ", ".join(f"{count} {word}" for word, count in found["related"].items())
        lines.append(f"- pairs of criteria that a model was asked about: {said or 'none'}")
    for arm, judges in found["judges"].items():
        named = " and ".join(f"{one.get('name')} under {one.get('spec')}" for one in judges)
        lines.append(f"- judged, {arm}: {named or 'nobody'}")
    return "\n".join(lines).rstrip() + "\n"


def _by_criterion(criteria: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| criterion | spread | correlation with the label | marks |", "| --- | --- | --- | --- |"]
    for one in criteria:
        spread, correlation = (
            "-" if one[key] is None else f"{one[key]:.2f}" for key in ("spread", "correlation")
        )
        text = one["text"].replace("|", "\\|")
        lines.append(f"| {text} | {spread} | {correlation} | {one['n']:,} |")
    return [*lines, ""]
