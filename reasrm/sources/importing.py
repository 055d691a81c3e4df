"""Public rows in, training pairs out: TRL conversational preference rows with an explicit prompt.

Every candidate pair is either kept or dropped by name, and the report adds up: `read == kept + dropped`.
Ties, equal responses, empty responses and rows that cannot be read are dropped to a file of their own, with
line and reason. Absolute scores and lists are refused in the same way (`pointwise`, `listwise`): making
preferences of them is a decision that no reader should take alone.

Rows of a source whose column names were not confirmed say `schema: unverified` in `meta`, and so does the report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonlines

from reasrm.errors import ConfigError
from reasrm.files import in_folder, replacing
from reasrm.jsonl import dumps
from reasrm.pipes import refuse_stream, settled
from reasrm.records import CandidateSet, Comparison, Critique, PreferencePair, Row, Rubric
from reasrm.sources import SOURCES, RowIds, Source, SourceRow, get, read_file
from reasrm.tables import Columns, input_files, is_hub

__all__ = ["REASONS", "FileReport", "ImportReport", "as_pair", "import_pairs", "pair_to_json"]

_MAX_EXAMPLES = 10
_REPORT_EVERY = 100_000
_UNVERIFIED = {"schema": "unverified"}
REASONS = {
    "tie": "the label says that neither response is better",
    "no_label": "the row does not say which response is better",
    "identical": "both responses are the same text",
    "empty_response": "a response is empty",
    "pointwise": "the row has one response with a score, which is no preference",
    "listwise": "the row has a list of responses, which is no pair",
}
"""Why a row is no pair that teaches something, for people."""


@dataclass(slots=True)
class FileReport:
    """What became of one input file.

    Args:
        path: The file.
        sources: Names of the sources that read it.
        rows: Lines or items in the file.
        read: Candidate pairs: one per row, nine per RM-Bench row; a row in error counts as one.
        kept: Pairs written.
        dropped: Reason → pairs not written.
        examples: Reason → the first places.
        why: Reason → what was wrong with the first row that could not be read, and what mends it.
        unverified: Whether a source that read it has column names that were not confirmed.
    """

    path: str
    sources: list[str] = field(default_factory=list)
    rows: int = 0
    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    unverified: bool = False

    def drop(self, reason: str, place: str) -> None:
        """Count one pair that is not written."""
        self.dropped[reason] += 1
        places = self.examples.setdefault(reason, [])
        if len(places) < _MAX_EXAMPLES:
            places.append(place)

    def to_json(self) -> dict[str, Any]:
        """Return the report as the summary shows it."""
        return {
            "path": self.path,
            "sources": self.sources,
            "rows": self.rows,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "examples": self.examples,
            **({"why": self.why} if self.why else {}),
            **(_UNVERIFIED if self.unverified else {}),
        }


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, per file and in all."""

    output: Path
    dropped_output: Path
    files: tuple[FileReport, ...]

    @property
    def rows(self) -> int:
        """Input rows."""
        return sum(report.rows for report in self.files)

    @property
    def read(self) -> int:
        """Candidate pairs; equals `kept` plus all of `dropped`."""
        return sum(report.read for report in self.files)

    @property
    def kept(self) -> int:
        """Pairs written."""
        return sum(report.kept for report in self.files)

    @property
    def dropped(self) -> dict[str, int]:
        """Reason → pairs not written."""
        return dict(sum((report.dropped for report in self.files), Counter[str]()))

    def to_json(self) -> dict[str, Any]:
        """Return the summary."""
        return {
            "output": str(self.output),
            "dropped_output": str(self.dropped_output),
            "rows": self.rows,
            "read": self.read,
            "kept": self.kept,
            "dropped": self.dropped,
            **(_UNVERIFIED if any(report.unverified for report in self.files) else {}),
            "files": [report.to_json() for report in self.files],
        }


def import_pairs(
    inputs: Sequence[Path],
    output: Path,
    *,
    source: str | Source = "auto",
    columns: Columns | None = None,
    coerce_scalars: bool = False,
    on_rows: Callable[[FileReport], None] | None = None,
) -> ImportReport:
    """Write the preference pairs of public files to `output` and the rest to `<output stem>.dropped.jsonl`.

    The folder is made if absent. Both files appear complete or not at all. Pairs without an id get one from their
    content.

    Args:
        inputs: Files to read, in order.
        output: Where the pairs go.
        source: A source, its name, or `auto`.
        columns: Field → the column, or path into one, that holds it.
        coerce_scalars: Read booleans and numbers in text fields as text.
        on_rows: Called now and then with the counts of the file being read.

    Raises:
        ConfigError: No input, an unknown source, or an output that is also an input.
        InputError: A file of no known schema or without the columns that its source assumes, or ids that occur
            twice; nothing is written.
        EnvironmentProblem: The output cannot be written.
    """
    if not inputs:
        raise ConfigError("no input file", remedy="pass --input FILE")
    refuse_stream(output)
    found = source if isinstance(source, Source) or source == "auto" else get(source)
    if columns and isinstance(found, Source):
        found = found.configured({}, columns)
    dropped = output.with_name(f"{output.stem}.dropped.jsonl")
    _refuse_overwriting(inputs, (output, dropped))
    reports = tuple(FileReport(str(path)) for path in inputs)
    sources = {known.name: known for known in SOURCES}
    if isinstance(found, Source):
        sources[found.name] = found
    ids = RowIds()
    with in_folder(output.parent), replacing(output) as kept_file, replacing(dropped) as dropped_file:
        keep = jsonlines.Writer(kept_file, dumps=dumps)
        drop = jsonlines.Writer(dropped_file, dumps=dumps)
        for path, report in zip(map(settled, inputs), reports, strict=True):
            for item in read_file(path, found, columns=columns, coerce_scalars=coerce_scalars):
                _import_row(item, sources, ids, report, keep, drop)
                if on_rows is not None and report.rows % _REPORT_EVERY == 0:
                    on_rows(report)
        ids.check()
    return ImportReport(output, dropped, reports)


def _import_row(
    item: SourceRow,
    sources: Mapping[str, Source],
    ids: RowIds,
    report: FileReport,
    keep: jsonlines.Writer,
    drop: jsonlines.Writer,
) -> None:
    report.rows += 1
    source = None if item.source is None else sources[item.source]
    if source is not None and source.name not in report.sources:
        report.sources.append(source.name)
        report.unverified |= not source.verified
    if item.error is not None:
        report.read += 1
        report.why.setdefault(item.error.code, item.error.advice)
        drop.write(_dropped(item, item.id, report, item.error.code, item.error.advice))
    for row in ids.admit(item):
        report.read += 1
        pair = as_pair(row, source)
        if isinstance(pair, str):
            drop.write(_dropped(item, row.id, report, pair, REASONS[pair]))
        else:
            report.kept += 1
            keep.write(pair_to_json(pair, source=item.source))


def _dropped(
    item: SourceRow, row_id: str | None, report: FileReport, reason: str, message: str
) -> dict[str, Any]:
    """Count a pair that is not written, and return its line in the file of dropped ones."""
    report.drop(reason, item.place if row_id is None else f"{item.place} (id {row_id})")
    return {"place": item.place, "line": item.line, "id": row_id, "reason": reason, "message": message}


def _mark_unverified(pair: PreferencePair) -> PreferencePair:
    return replace(pair, meta={**pair.meta, **_UNVERIFIED})


def as_pair(row: Row, source: Source | None) -> PreferencePair | str:
    """Return a labelled row as a pair, or why it is none that teaches something: a key of `REASONS`.

    Args:
        row: The row.
        source: Who read it; a source whose columns were not confirmed leaves a mark in `meta`.
    """
    pair = _as_pair(row, source)
    if isinstance(pair, str):
        return pair
    flaw = _flaw(pair)
    if flaw is not None:
        return flaw
    return pair if source is None or source.verified else _mark_unverified(pair)


def _as_pair(row: Row, source: Source | None) -> PreferencePair | str:
    """Return the row as a pair, or the reason why it is none."""
    if isinstance(row, PreferencePair):
        return row
    if isinstance(row, CandidateSet):
        return "pointwise" if len(row.responses) == 1 else "listwise"
    if not isinstance(row, Comparison) or row.target is None:
        return "no_label"
    if row.target.winner == "tie":
        return "tie"
    best_first = row if row.target.winner == "A" else _swap(row, source)
    return PreferencePair(
        **best_first.shared_fields(), chosen=best_first.response_a, rejected=best_first.response_b
    )


def _swap(row: Comparison, source: Source | None) -> Comparison:
    """Exchange the responses, and their names in the text of a critique; a text of no known names moves to `meta`."""
    swapped = row.swap()
    critique = swapped.critique
    if critique is None or critique.text is None:
        return swapped
    text = None if source is None else source.exchange(critique.text)
    if text is not None:
        return replace(swapped, critique=replace(critique, text=text))
    return replace(
        swapped,
        critique=replace(critique, text=None) if critique.arguments else None,
        meta={**swapped.meta, "critique_text_of_swapped": critique.text},
    )


def _flaw(pair: PreferencePair) -> str | None:
    """Return why a pair teaches nothing, if so."""
    if not pair.chosen.strip() or not pair.rejected.strip():
        return "empty_response"
    return "identical" if pair.chosen == pair.rejected else None


def pair_to_json(pair: PreferencePair, *, source: str | None = None) -> dict[str, Any]:
    """Return a pair as a line of `pairs.jsonl`; `meta.source` is the source unless the row says otherwise."""
    meta = dict(pair.meta)
    if source is not None:
        meta.setdefault("source", source)
    line: dict[str, Any] = {
        "id": pair.id,
        "prompt": [{"role": turn.role, "content": turn.content} for turn in pair.prompt],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "meta": meta,
    }
    if pair.critique is not None:
        line["critique"] = _critique_json(pair.critique)
    if pair.rubric is not None:
        line["rubric"] = _rubric_json(pair.rubric)
    for key in ("principle", "reference", "subset", "group", "language"):
        value = getattr(pair, key)
        if value is not None:
            line[key] = value
    return line


def _critique_json(critique: Critique) -> str | dict[str, Any]:
    if not critique.arguments:
        return critique.text or ""
    arguments = [argument.to_json() for argument in critique.arguments]
    return {"arguments": arguments} | ({} if critique.text is None else {"text": critique.text})


def _rubric_json(rubric: Rubric) -> str | dict[str, Any]:
    saw = {"saw_label": True} if rubric.saw_label else {}
    if rubric.text is not None:
        return {"text": rubric.text, **saw} if saw else rubric.text
    return {"criteria": [c.to_json() for c in rubric.criteria], **saw}


def _refuse_overwriting(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    files = [file for path in inputs if not is_hub(path) for _, file in input_files(path)]
    for path in files:
        for output in outputs:
            if output.exists() and path.exists() and os.path.samefile(path, output):
                raise ConfigError(
                    f"{output} is also an input ({path})",
                    remedy="choose another --output; nothing was written",
                )
