"""`reasrm rubrics write`, and rubrics that are written before `judge` and `eval` judge by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasrm.cli.console import finish, note, print_summary, progress_bar
from reasrm.cli.flag_sets import AskingFlags, JudgingFlags, WritingFlags
from reasrm.cli.flags import budget_of
from reasrm.cli.running import add_end, control_of, note_cost, note_request, note_scan
from reasrm.cli.summary import progress
from reasrm.errors import ConfigError
from reasrm.generation.budget import Budget, budget_beside
from reasrm.generation.run import Progress, RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge, open_judge
from reasrm.rubrics.write import (
    WriteResult,
    WritingOptions,
    cached_name,
    first_request,
    write_rubrics,
)
from reasrm.sources.rubric_lines import Rubrics, load_rubrics

__all__ = ["WrittenRubrics", "run_write", "write_first"]

_SPEC = "rubric-writer"


@dataclass(frozen=True, slots=True)
class WrittenRubrics:
    """Rubrics that were written before judging.

    Args:
        rubrics: The rubrics.
        told: What the summary says of them.
        cost: What they took, as `Meter.summary` gives it.
        budget: What is left for judging.
    """

    rubrics: Rubrics
    told: Mapping[str, Any]
    cost: Mapping[str, Any]
    budget: Budget


def run_write(flags: WritingFlags, output: Path) -> None:
    """Write the rubrics of some rows and end with the exit code of `docs/judging.md`."""
    writer = open_judge(
        flags.writer,
        spec=flags.spec,
        default_spec=_SPEC,
        allow_changed=flags.allow_changed,
        **flags.backend_options(),
    )
    rows = JudgeInput(flags.input, **flags.row_options())
    options = WritingOptions(
        sampling=writer.sampling(
            temperature=flags.temperature, top_p=flags.top_p, max_tokens=flags.max_tokens
        ),
        orders=None if flags.orders is None else flags.orders.value,
        seed=flags.seed,
    )
    if flags.dry_run:
        _dry_run(writer, rows, options)
        return
    result = _write(writer, rows, output, options, flags)
    summary: dict[str, Any] = {
        "command": "rubrics write",
        "output": str(output),
        **_told(result),
        **result.cost,
    }
    done = result.written + result.num_errors
    summary["progress"] = progress("rubrics", result.total, done, result.num_errors)
    finish(summary, _ended(result, summary))


def write_first(
    writer_name: str, flags: JudgingFlags, rows: JudgeInput, folder: Path, prefix: str
) -> WrittenRubrics:
    """Write the rubrics of the rows that are about to be judged, or find those that were written before.

    They lie beside the output, under a name that changes with the rows, the writer and how it is asked. A run that was
    stopped, or that came to its budget, ends the process.

    Args:
        writer_name: A writer, as `rubrics write --writer` takes it.
        flags: Those of judging; the same device, seed and budget are the writer's.
        rows: What is to be judged.
        folder: Where the output lies.
        prefix: What the file's name begins with; nothing in the folder of an evaluation, which is made.
    """
    if flags.dry_run:
        raise ConfigError(
            "a dry run asks nobody, and so has no rubrics",
            place=f"--rubrics write:{writer_name}",
            remedy="write them with `reasrm rubrics write`, and give the file",
        )
    writer = open_judge(
        writer_name, default_spec=_SPEC, allow_changed=flags.allow_changed, **flags.backend_options()
    )
    options = WritingOptions(sampling=writer.sampling(), seed=flags.seed)
    if not prefix:  # an evaluation's own folder
        folder.mkdir(parents=True, exist_ok=True)
    output = folder / (prefix + cached_name(writer, rows, options))
    # What is written is found again by its name, so that judging anew does not write anew.
    result = _write(writer, rows, output, options, replace(flags, restart=False))
    told = {"output": str(output), **_told(result)}
    summary = {**told, **result.cost}
    code = _ended(result, summary)
    if not result.is_whole or not result.written:
        finish(summary, code)
    budget = budget_of(flags.price, flags.budget, flags.budget_tokens, "writer", "judge")
    return WrittenRubrics(load_rubrics(output), told, result.cost, budget_beside(budget, [output]))


def _ended(result: WriteResult, summary: dict[str, Any]) -> int:
    """Say how a run ended, add it to the summary, and return the exit code."""
    note(f"{result.written} rubrics of {result.total} in {result.output}")
    note_cost(result.cost)
    return add_end(summary, result, f"{result.written + result.num_errors} of {result.total} rubrics")


def _write(
    writer: Judge, rows: JudgeInput, output: Path, options: WritingOptions, flags: AskingFlags
) -> WriteResult:
    with closing(writer.backend), _progress() as on_progress:
        control = control_of(
            RunControl,
            "rubrics",
            on_progress,
            restart=flags.restart,
            retry_errors=flags.retry_errors,
            strict=flags.strict,
            budget=budget_of(flags.price, flags.budget, flags.budget_tokens, "writer"),
            allow_other_server=flags.allow_other_server,
        )
        return write_rubrics(writer, rows, output, options, control)


def _told(result: WriteResult) -> dict[str, Any]:
    """Return what a summary says of the rubrics of a run."""
    return {"written": result.written, "asked": result.total, "failed": dict(sorted(result.failures.items()))}


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    with progress_bar("writing rubrics", unit=" rubrics,") as update:
        yield lambda told: update(told.done, told.total, f"{told.errors} err")


def _dry_run(writer: Judge, rows: JudgeInput, options: WritingOptions) -> None:
    """Validate the input, count what would be asked, and show the first prompt."""
    scan = rows.scan()
    note_scan(scan)
    request, total = first_request(writer, rows, options)
    note_request(request)
    summary = {"command": "rubrics write", "dry_run": True, "rows": scan.num_rows, "asked": total}
    print_summary({**summary, "spec": writer.spec.name, "spec_hash": writer.spec.hash})
