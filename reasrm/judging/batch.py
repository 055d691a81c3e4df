"""Judging a file: every row exactly once, through kills, faults and restarts.

Order of events: take the output's lock; validate the whole input; compare the run's identity with the manifest;
only then load the model. Each finished row is one durable line of `OUT`; each row that could not be judged is one of
`OUT.errors.jsonl`. Running the same call again continues where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasrm import __version__
from reasrm.durable import DrainExpired, DurableMap, IdentityMismatch, Interruption, ResumeState
from reasrm.errors import ConfigError
from reasrm.generation.base import keep_provenance
from reasrm.judging.aggregate import RowResult
from reasrm.judging.inputs import InputRow, JudgeInput, Scan
from reasrm.judging.judge import Judge, JudgeSession, RowFailure
from reasrm.judging.plan import JudgingOptions
from reasrm.judging.tally import Tally
from reasrm.records import Row

__all__ = ["BatchResult", "RunControl", "judge_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What a run left behind.

    Args:
        output: The file of judged rows.
        errors: The file of rows that could not be judged; absent when there are none.
        scan: What validation found.
        tally: Counts over `output`, earlier runs included.
        resume: What was found of earlier runs.
        signum: The signal that stopped the run early, or None.
        server: Where a model that others serve answered, what it called itself and what it does not take.
    """

    output: Path
    errors: Path
    scan: Scan
    tally: Tally
    resume: ResumeState
    signum: int | None = None
    server: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunControl:
    """What happens to earlier output, and who is told what.

    Args:
        restart: Move an earlier output aside and begin anew.
        retry_errors: Try rows again that an earlier run put into the error file.
        strict: Refuse a damaged output or a changed input instead of repairing or taking it over.
        allow_other_server: Go on where another server or served model answered before.
        on_scan: Called once with what validation found.
        on_start: Called once before the first row, with what was found of earlier runs.
        on_progress: Called before the first row and after every row.
        on_stop: Called with the signal's number on SIGINT or SIGTERM, and again just before a second one ends the
            process.
        drain_s: Seconds to wait for requests in flight after the first signal.
    """

    restart: bool = False
    retry_errors: bool = False
    strict: bool = False
    allow_other_server: bool = False
    on_scan: Callable[[Scan], None] | None = None
    on_start: Callable[[ResumeState], None] | None = None
    on_progress: Callable[[Tally], None] | None = None
    on_stop: Callable[[int], None] | None = None
    drain_s: float = 30.0


def judge_file(
    judge: Judge,
    rows: JudgeInput,
    output: Path,
    options: JudgingOptions | None = None,
    control: RunControl | None = None,
    *,
    identity: Mapping[str, Any] | None = None,
) -> BatchResult:
    """Judge the rows of one or several files into `output`, resuming what an earlier call began.

    Args:
        judge: Who judges. Its backend stays open.
        rows: What is judged.
        output: Where results go; never one of the inputs.
        options: Orders, votes, seed, sampling.
        control: What happens to earlier output, and who is told what.
        identity: Anything else that must be equal for a run to be continued.

    Raises:
        LockedError: Another process writes this output.
        ConfigError: The output belongs to another run (other input, judge, spec, sampling, seed or version).
        InputError: The input is unusable as a whole.
        EnvironmentProblem: Disk, permissions, memory.
    """
    options = options or JudgingOptions(sampling=judge.sampling())
    control = control or RunControl()
    with DurableMap(output, inputs=rows.paths) as journal:
        scan = rows.scan()
        if control.on_scan is not None:
            control.on_scan(scan)
        whole = _identity(judge, scan, options, {**rows.identity, **(identity or {})})
        resume = keep_provenance(
            judge.backend,
            journal,
            _start(journal, rows, whole, control),
            name="judge",
            allow_other=control.allow_other_server,
        )
        if control.on_start is not None:
            control.on_start(resume)
        total = scan.num_rows + scan.num_invalid
        tally = Tally(total=total if rows.limit is None else min(total, rows.limit), errors=resume.num_errors)
        for line in journal.records():
            tally.add(line)
        tally.resumed = tally.rows + tally.errors
        with Interruption(control.drain_s, control.on_stop) as interruption, suppress(DrainExpired):
            _Run(judge, options, journal, tally, interruption, control.on_progress).judge_rows(rows)
        return BatchResult(
            output=output,
            errors=journal.errors_path,
            scan=scan,
            tally=tally,
            resume=resume,
            signum=interruption.signum,
            server=journal.notes.get("judge"),
        )


class _Run:
    """The writing half of a run."""

    def __init__(
        self,
        judge: Judge,
        options: JudgingOptions,
        journal: DurableMap,
        tally: Tally,
        interruption: Interruption,
        on_progress: Callable[[Tally], None] | None,
    ) -> None:
        self._judge = judge
        self._options = options
        self._journal = journal
        self._tally = tally
        self._interruption = interruption
        self._on_progress = on_progress
        self._inputs: dict[str, InputRow] = {}

    def judge_rows(self, rows: JudgeInput) -> None:
        self._report()
        JudgeSession(self._judge, self._options, self._write).run(self._todo(rows))

    def _todo(self, rows: JudgeInput) -> Iterator[Row]:
        """Yield rows that no earlier run finished, until the run is asked to stop."""
        for item in rows:
            if self._interruption.stopping:
                return
            if self._journal.done(item.id):
                continue
            if item.error is not None:
                self._fail(item, item.error.code, str(item.error), 0)
            elif item.row is not None:
                self._inputs[item.id] = item._replace(row=None)
                yield item.row

    def _write(self, result: RowResult | RowFailure) -> None:
        item = self._inputs.pop(result.row.id)
        if isinstance(result, RowFailure):
            self._fail(item, result.code, result.message, result.attempts)
            return
        line = result.to_json(judge=self._judge.label, seed=self._options.seed)
        self._journal.put(item.id, line, item.digest)
        self._tally.add(line)
        self._report()

    def _fail(self, item: InputRow, code: str, message: str, attempts: int) -> None:
        record = {"id": item.id, "place": item.place, "code": code, "message": message, "attempts": attempts}
        self._journal.fail(item.id, record)
        self._tally.errors += 1
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._tally)


def _identity(judge: Judge, scan: Scan, options: JudgingOptions, extra: Mapping[str, Any]) -> dict[str, Any]:
    sampling = options.sampling
    return {
        "input_sha256": scan.sha256,
        "source": scan.source,
        "judge": judge.identity,
        "orders": options.orders,
        "votes": "recorded" if options.recorded_only else options.votes,
        "seed": options.seed,
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        },
        "judge_identical": options.judge_identical,
        "judge_degenerate": options.judge_degenerate,
        "reasrm": __version__,
        **extra,
    }


def _start(
    journal: DurableMap, rows: JudgeInput, identity: Mapping[str, Any], control: RunControl
) -> ResumeState:
    """Start the journal. A changed input is taken over if every row that was judged is still there, unchanged.

    So a broken line can be mended and rows can be added without judging the others again.
    """
    try:
        return journal.start(
            identity, restart=control.restart, retry_errors=control.retry_errors, strict=control.strict
        )
    except IdentityMismatch as mismatch:
        if mismatch.keys != {"input_sha256"}:
            raise
        changes = journal.changed_rows((item.id, item.digest.hex()) for item in rows)
        if control.strict or changes.num_changed or changes.num_missing:
            raise ConfigError(
                f"the input changed since this output was begun: {changes}",
                place=str(journal.output),
                remedy="restore the input, choose another --output, or begin anew with --restart",
            ) from mismatch
    resume = journal.start(identity, retry_errors=control.retry_errors, strict=control.strict, adopt=True)
    notice = f"the input changed, but no row that was judged: {changes}"
    return replace(resume, warnings=(notice, *resume.warnings))
