"""Reading and scoring critiques in files: every critique once, through kills and faults, as in judging.

A finished critique is one durable line of `OUT`; what could not be had, and rows that cannot be read, are lines of
`OUT.errors.jsonl`, never zeros or empty lists. The same call again continues. What became of all items adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from reasrm.critiques import CritiqueCase, CritiqueScorer, CritiqueScores, CritiqueText, Extractor, References
from reasrm.critiques.cases import Arguments
from reasrm.durable import DurableMap, rows_of
from reasrm.errors import InputError
from reasrm.evaluation.references import check_references, reference_of, reference_rows, with_reference
from reasrm.generation.base import Backend
from reasrm.generation.run import DurableRun, RunControl, RunEnd
from reasrm.judging.critiques import Critiques, Written
from reasrm.metrics.critiques import CritiqueOutcome, critique_metrics
from reasrm.records import Critique, Order
from reasrm.scorers.asking import Failure
from reasrm.tables import Columns, content_sha256

_BATCH = 64  # items handled at once; a model is asked about all of them at the same time

__all__ = ["FileReader", "Result", "extract_file", "score_file"]

FileReader: TypeAlias = Callable[[Sequence[CritiqueText]], Sequence[Arguments | Failure | None]]
"""Core arguments of each text, or that they could not be had, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(RunEnd):
    """What a run left behind.

    Args:
        counts: What became of the items; they add up to `total` unless the run was stopped.
        total: Items in all.
        summary: Numbers over the whole output; empty if the run was stopped.
    """

    counts: Mapping[str, int]
    total: int
    summary: Mapping[str, Any]


_Line: TypeAlias = Mapping[str, Any] | Failure


def extract_file(
    critiques: Critiques,
    output: Path,
    read: FileReader,
    *,
    identity: Mapping[str, Any],
    control: RunControl,
    model: Backend | None = None,
) -> Result:
    """Write the core arguments of every critique of some files; of a judgment in the row's own order.

    Args:
        critiques: Rows of any schema, or judged rows.
        output: JSONL, a line `{"id", "arguments"}` per critique.
        read: Reads texts. A critique that lists its arguments is taken as it is.
        identity: What decides how a text is read; must be equal for a run to be continued.
        control: What happens to earlier output, and who is told what; progress is a `Progress`.
        model: Who is asked, if a model is; a run goes on with the server that it began with.

    Raises:
        InputError: The files hold no critique, or ids repeat.
        ConfigError: The output belongs to another run, or the backend cannot be used.
        EnvironmentProblem: Disk, permissions, or a model that cannot be reached.
        LockedError: Another process writes this output.
    """
    with DurableRun(output, control, kind="critiques extract", inputs=critiques.paths) as run:
        found = critiques.scan()
        run.scanned(found)
        (sha256,) = map(content_sha256, critiques.paths)

        def items() -> Iterator[Written]:
            return (item for item in critiques if item.error or item.critique)

        total = found.num_critiques + found.num_invalid
        whole = {"input_sha256": sha256, **critiques.identity, **identity}
        _handle(run, whole, items, total, partial(_read_all, read=read), model)
        counts = {
            "extracted": run.journal.num_done,
            "failed": run.journal.num_errors,
            "without_critique": found.num_without,
        }
        num_arguments = sum(len(record["arguments"]) for record in run.journal.records())
        summary = {"rows": found.num_rows, "arguments": num_arguments} if run.whole else {}
        return run.end(Result, counts=counts, total=found.num_items, summary=summary)


def score_file(
    judged: Critiques,
    reference: Path,
    output: Path,
    score: CritiqueScorer,
    extract: Extractor,
    *,
    source: str = "auto",
    columns: Columns | None = None,
    least_f1: float,
    identity: Mapping[str, Any],
    control: RunControl,
    model: Backend | None = None,
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
        columns: Field → the column that holds it, in the reference rows.
        least_f1: A right verdict whose critique has a lower F1 is inconsistent.
        identity: What decides the scores; must be equal for a run to be continued.
        control: What happens to earlier output, and who is told what; progress is a `Progress`.
        model: Who is asked, if a model is; a run goes on with the server that it began with.

    Raises:
        InputError: A file is not what it should be, or has no critiques.
        ConfigError: The output belongs to another run, or the backend cannot be used.
        EnvironmentProblem: Disk, permissions, or a model that cannot be reached.
        LockedError: Another process writes this output.
    """
    inputs = [*judged.paths, reference]
    with DurableRun(output, control, kind="critiques score", inputs=inputs) as run:
        if not judged.are_judged:
            place = str(judged.inputs[0])
            raise InputError(
                "holds no judged rows", place=place, remedy="give what `reasrm judge` wrote as --input"
            )
        found = judged.scan()
        run.scanned(found)
        own = reference_rows(reference, source, columns)
        check_references(own, judged, reference)
        named = {"columns": dict(columns)} if columns else {}
        whole = {
            "input_sha256": list(map(content_sha256, inputs)),
            **judged.identity,
            "source": source,
            **named,
            **identity,
        }

        def items() -> Iterator[Written]:
            return (with_reference(item, own) for item in judged if item.error or item.judgment)

        total = found.num_judgments + found.num_invalid
        handle = partial(_score_all, own=own, score=score, references=References(extract))
        _handle(run, whole, items, total, handle, model)
        journal = run.journal
        abstained: Counter[str] = Counter(
            record["abstained"] for record in journal.records() if record["abstained"]
        )
        scored = journal.num_done - abstained.total()
        counts = {"scored": scored, **dict(sorted(abstained.items())), "failed": journal.num_errors}
        metrics = critique_metrics(_outcomes(journal), least_f1=least_f1) if run.whole else {}
        summary = {key: estimate.as_dict() for key, estimate in metrics.items()}
        return run.end(Result, counts=counts, total=total, summary=summary)


def _handle(
    run: DurableRun,
    identity: Mapping[str, Any],
    items: Callable[[], Iterator[Written]],
    total: int,
    handle: Callable[[Sequence[Written]], Sequence[_Line]],
    model: Backend | None,
) -> None:
    """Handle what no earlier run finished, a batch at a time."""
    run.start(
        identity,
        lambda: rows_of((item.row, item.digest) for item in items()),
        {} if model is None else {"critic": model},
    )
    with run.working():
        for batch in run.batches(items(), _BATCH, total):
            for item, line in zip(batch, handle(batch), strict=True):
                if isinstance(line, Failure):
                    run.fail(item, line.reason, line.message, line.attempts)
                else:
                    run.put(item, line)


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
        lines.append({"arguments": [order.seen(argument).to_json() for argument in arguments]})
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
