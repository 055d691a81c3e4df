"""Reading and scoring critiques in files: every critique once, through kills and faults, as in judging.

A finished critique is one durable line of `OUT`; what could not be had, and rows that cannot be read, are lines of
`OUT.errors.jsonl`, never zeros or empty lists. The same call again continues. What became of all items adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from reasrm import __version__
from reasrm.critiques import CritiqueCase, CritiqueScorer, CritiqueScores, CritiqueText, Extractor, References
from reasrm.critiques.cases import Arguments
from reasrm.durable import (
    DrainExpired,
    DurableMap,
    Interruption,
    ResumeState,
    check_all_done,
    rows_of,
    start_journal,
)
from reasrm.errors import InputError
from reasrm.evaluation.critique_rows import (
    FileScan,
    Written,
    arguments_json,
    check_references,
    is_judged,
    reference_of,
    reference_rows,
    scan,
    with_reference,
    written,
)
from reasrm.generation.base import Backend, keep_provenance
from reasrm.metrics.critiques import CritiqueOutcome, critique_metrics
from reasrm.records import Critique, Order
from reasrm.scorers.asking import Failure
from reasrm.tables import Columns, content_sha256

__all__ = ["Control", "FileReader", "Result", "extract_file", "score_file"]

FileReader: TypeAlias = Callable[[Sequence[CritiqueText]], Sequence[Arguments | Failure | None]]
"""Core arguments of each text, or that they could not be had, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What happens to earlier output, and who is told what; as in judging.

    Args:
        restart: Move an earlier output aside and begin anew.
        retry_errors: Try again what is in the error file.
        model: Who is asked, if a model is; a run goes on with the server that it began with.
        allow_other_server: Go on where another server or served model answered before.
        on_scan: Called with what the first pass over the input found.
        on_start: Called with what was found of earlier runs.
        on_progress: Called with items done, items in all, and errors.
        on_stop: Called with the signal's number on SIGINT or SIGTERM.
        batch: Items handled at once; a model is asked about all of them at the same time.
        drain_s: Seconds to wait for requests in flight after the first signal.
    """

    restart: bool = False
    retry_errors: bool = False
    model: Backend | None = None
    allow_other_server: bool = False
    on_scan: Callable[[FileScan], None] | None = None
    on_start: Callable[[ResumeState], None] | None = None
    on_progress: Callable[[int, int, int], None] | None = None
    on_stop: Callable[[int], None] | None = None
    batch: int = 64
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run left behind.

    Args:
        counts: What became of the items; they add up to `total` unless the run was stopped.
        total: Items in all.
        errors: The file of what failed; absent when there is nothing.
        num_errors: Its lines.
        summary: Numbers over the whole output; empty if the run was stopped.
        signum: The signal that stopped the run, or None.
    """

    counts: Mapping[str, int]
    total: int
    errors: Path
    num_errors: int
    summary: Mapping[str, Any]
    signum: int | None = None


_Line: TypeAlias = Mapping[str, Any] | Failure


def extract_file(
    path: Path,
    output: Path,
    read: FileReader,
    *,
    source: str = "auto",
    name: str = "critique",
    columns: Columns | None = None,
    identity: Mapping[str, Any],
    control: Control,
) -> Result:
    """Write the core arguments of every critique of a file; of a judgment in the row's own order.

    Args:
        path: Rows of any schema, or judged rows.
        output: JSONL, a line `{"id", "arguments"}` per critique.
        read: Reads texts. A critique that lists its arguments is taken as it is.
        source: The schema of rows that are not judged.
        name: The field that holds the critique.
        columns: Field → the column that holds it, in rows that are not judged.
        identity: What decides how a text is read; must be equal for a run to be continued.
        control: What happens to earlier output, and who is told what.

    Raises:
        InputError: The file holds no critique, or ids repeat.
        ConfigError: The output belongs to another run, or the backend cannot be used.
        EnvironmentProblem: Disk, permissions, or a model that cannot be reached.
        LockedError: Another process writes this output.
    """
    with DurableMap(output, inputs=[path], kind="critiques extract") as journal:
        found = scan(path, source, name, columns)
        if control.on_scan is not None:
            control.on_scan(found)
        whole = {"input_sha256": found.sha256, "source": source, "field": name, **_named(columns), **identity}

        def items() -> Iterator[Written]:
            every = written(path, source, name, columns)
            return (item for item in every if item.error or item.critique)

        total = found.num_critiques + found.num_invalid
        signum = _run(journal, whole, items, total, partial(_read_all, read=read), control)
        counts = {
            "extracted": journal.num_done,
            "failed": journal.num_errors,
            "without_critique": found.num_without,
        }
        num_arguments = sum(len(record["arguments"]) for record in journal.records())
        return Result(
            counts=counts,
            total=found.num_items,
            errors=journal.errors_path,
            num_errors=journal.num_errors,
            summary={} if signum is not None else {"rows": found.num_rows, "arguments": num_arguments},
            signum=signum,
        )


def score_file(
    judged: Path,
    reference: Path,
    output: Path,
    score: CritiqueScorer,
    extract: Extractor,
    *,
    source: str = "auto",
    name: str = "critique",
    columns: Columns | None = None,
    least_f1: float,
    identity: Mapping[str, Any],
    control: Control,
) -> Result:
    """Score the critique of every judgment against the reference critique of its row.

    A judgment abstains where there is nothing to compare: `no_reference`, `empty_reference` (it argues nothing), or
    `not_written` (the judge wrote nothing). A judge that wrote and left out its critique gets zeros.

    Args:
        judged: What `reasrm judge` wrote.
        reference: Rows of any schema with a critique, or what `extract_file` wrote of them, by id.
        output: JSONL, a line per judgment.
        score: Scores a batch.
        extract: Reads reference critiques, as `score` reads the others.
        source: The schema of the reference rows.
        name: The field of a judgment that holds its critique.
        columns: Field → the column that holds it, in the reference rows.
        least_f1: A right verdict whose critique has a lower F1 is inconsistent.
        identity: What decides the scores; must be equal for a run to be continued.
        control: What happens to earlier output, and who is told what.

    Raises:
        InputError: A file is not what it should be, or has no critiques.
        ConfigError: The output belongs to another run, or the backend cannot be used.
        EnvironmentProblem: Disk, permissions, or a model that cannot be reached.
        LockedError: Another process writes this output.
    """
    with DurableMap(output, inputs=[judged, reference], kind="critiques score") as journal:
        if not is_judged(judged):
            raise InputError(
                "holds no judged rows", place=str(judged), remedy="give what `reasrm judge` wrote as --input"
            )
        found = scan(judged, "auto", name)
        if control.on_scan is not None:
            control.on_scan(found)
        own = reference_rows(reference, source, columns)
        check_references(own, judged, name, reference)
        whole = {
            "input_sha256": [found.sha256, content_sha256(reference)],
            "source": source,
            "field": name,
            **_named(columns),
            **identity,
        }

        def items() -> Iterator[Written]:
            every = written(judged, "auto", name)
            return (with_reference(item, own) for item in every if item.error or item.judgment)

        total = found.num_judgments + found.num_invalid
        handle = partial(_score_all, own=own, score=score, references=References(extract))
        signum = _run(journal, whole, items, total, handle, control)
        abstained: Counter[str] = Counter(
            record["abstained"] for record in journal.records() if record["abstained"]
        )
        scored = journal.num_done - abstained.total()
        counts = {"scored": scored, **dict(sorted(abstained.items())), "failed": journal.num_errors}
        metrics = {} if signum is not None else critique_metrics(_outcomes(journal), least_f1=least_f1)
        return Result(
            counts=counts,
            total=total,
            errors=journal.errors_path,
            num_errors=journal.num_errors,
            summary={key: estimate.as_dict() for key, estimate in metrics.items()},
            signum=signum,
        )


def _run(
    journal: DurableMap,
    identity: Mapping[str, Any],
    items: Callable[[], Iterator[Written]],
    total: int,
    handle: Callable[[Sequence[Written]], Sequence[_Line]],
    control: Control,
) -> int | None:
    """Handle what no earlier run finished, a batch at a time; return the signal that stopped it, or None."""
    whole = {**identity, "reasrm": __version__}
    resume = start_journal(
        journal,
        whole,
        lambda: rows_of((item.judgment.row if item.judgment else item.id, item.digest) for item in items()),
        restart=control.restart,
        retry_errors=control.retry_errors,
    )
    if control.model is not None:
        allow_other = control.allow_other_server
        resume = keep_provenance(control.model, journal, resume, name="critic", allow_other=allow_other)
    if control.on_start is not None:
        control.on_start(resume)

    def report() -> None:
        if control.on_progress is not None:
            control.on_progress(journal.num_done + journal.num_errors, total, journal.num_errors)

    report()
    with Interruption(control.drain_s, control.on_stop) as interruption, suppress(DrainExpired):
        todo = (item for item in items() if not journal.done(item.id))
        while not interruption.stopping and (batch := list(islice(todo, control.batch))):
            readable = [item for item in batch if item.error is None]
            for item in batch:
                if item.error is not None:
                    _fail(journal, item, item.error.code, str(item.error), 0)
            for item, line in zip(readable, handle(readable), strict=True):
                if isinstance(line, Failure):
                    _fail(journal, item, line.reason, line.message, line.attempts)
                else:
                    journal.put(item.id, {**_where(item), **line}, item.digest)
            report()
    done = journal.num_done + journal.num_errors
    if not interruption.stopping:
        check_all_done([journal.output], total, min(done, total))
    return interruption.signum


def _named(columns: Columns | None) -> dict[str, Any]:
    return {"columns": dict(columns)} if columns else {}


def _fail(journal: DurableMap, item: Written, code: str, message: str, attempts: int) -> None:
    error = {"place": item.place, "code": code, "message": message, "attempts": attempts}
    journal.fail(item.id, {"id": item.id, **_where(item), **error}, item.digest)


def _where(item: Written) -> dict[str, Any]:
    return {} if item.judgment is None else item.judgment.where


def _read_all(batch: Sequence[Written], read: FileReader) -> list[_Line]:
    """Return a line of arguments for each critique, in the row's own order."""
    found: list[Arguments | Failure] = [item.critique.arguments if item.critique else () for item in batch]
    texts = {
        n: CritiqueText(item.comparison, item.critique.text)
        for n, item in enumerate(batch)
        if not found[n] and item.comparison and item.critique and item.critique.text
    }
    for n, answer in zip(texts, read(list(texts.values())) if texts else (), strict=True):
        found[n] = Failure("error", "the call failed") if answer is None else answer
    lines: list[_Line] = []
    for item, arguments in zip(batch, found, strict=True):
        if isinstance(arguments, Failure):
            lines.append(arguments)
            continue
        order = Order.AB if item.comparison is None else item.comparison.order
        own = list(map(order.seen, arguments))
        lines.append({"arguments": arguments_json(own)})
    return lines


def _score_all(
    batch: Sequence[Written], own: Mapping[str, Written], score: CritiqueScorer, references: References
) -> list[_Line]:
    """Return a line of scores for each judgment, or why it abstains, or that a call failed."""
    cases: dict[int, CritiqueCase] = {}
    lines: dict[int, _Line] = {}
    for n, item in enumerate(batch):
        row = None if item.judgment is None else reference_of(own, item.judgment.row)
        if item.judgment is None or row is None:
            lines[n] = _line(item, None, "no_reference")
        elif not item.judgment.is_written:
            lines[n] = _line(item, None, "not_written")
        else:
            shown = item.judgment.order.seen(row)
            cases[n] = CritiqueCase(shown, item.critique.text if item.critique else None)
    wanted = dict(zip(cases, references([case.comparison for case in cases.values()]), strict=True))
    for n, arguments in wanted.items():
        if arguments is None:
            lines[n] = Failure("error", "the reference critique could not be read")
        elif not arguments:
            lines[n] = _line(batch[n], None, "empty_reference")
        else:
            shown = replace(cases[n].comparison, critique=Critique(arguments))
            cases[n] = replace(cases[n], comparison=shown)
    asked = [n for n in cases if n not in lines]
    for n, scores in zip(asked, score([cases[n] for n in asked]), strict=True):
        failed = Failure("error", "the critique could not be read, or not be compared")
        lines[n] = failed if scores is None else _line(batch[n], scores, None)
    return [lines[n] for n in range(len(batch))]


def _line(item: Written, scores: CritiqueScores | None, abstained: str | None) -> dict[str, Any]:
    judgment = item.judgment
    return {
        "subset": None if judgment is None else judgment.subset,
        "right": None if judgment is None else judgment.right,
        "abstained": abstained,
        "scores": None if scores is None else scores.numbers(),
    }


def _outcomes(journal: DurableMap) -> Iterator[CritiqueOutcome]:
    """Yield what is counted: judgments of rows with a reference, those without scores included."""
    for record in journal.records():
        if record["abstained"] != "no_reference":
            yield CritiqueOutcome(
                row=record["row"], subset=record["subset"], right=record["right"], scores=record["scores"]
            )
    for error in journal.errors():
        if "row" in error:
            yield CritiqueOutcome(row=error["row"], right=None, scores=None)
