"""Judging a file: every row exactly once, through kills, faults and restarts.

Order of events: take the output's lock; validate the whole input; compare the run's identity with the manifest;
only then load the model. Each finished row is one durable line of `OUT`; each row that could not be judged is one of
`OUT.errors.jsonl`. Running the same call again continues where the last one stopped.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasrm import __version__
from reasrm.durable import (
    DrainExpired,
    DurableMap,
    IdentityMismatch,
    Interruption,
    ResumeState,
    check_all_done,
    start_journal,
)
from reasrm.errors import ConfigError
from reasrm.generation.base import keep_provenance
from reasrm.judging.aggregate import RowResult
from reasrm.judging.inputs import InputRow, JudgeInput, Scan
from reasrm.judging.judge import Judge, JudgeSession, RowFailure
from reasrm.judging.overlaps import warn_of_training_rows
from reasrm.judging.plan import JudgingOptions, check_options
from reasrm.judging.tally import Tally
from reasrm.protocol.prompts import OLD_SPEC, made_with_old_codes
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Row

__all__ = ["BatchResult", "RunControl", "first_unreadable", "judge_file", "naming_old_codes"]


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
        unreadable: What one judgment said that could not be read, if the run ended for too many of these.
        server: Where a model that others serve answered, what it called itself and what it does not take.
    """

    output: Path
    errors: Path
    scan: Scan
    tally: Tally
    resume: ResumeState
    signum: int | None = None
    unreadable: str | None = None
    server: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunControl:
    """What happens to earlier output, and who is told what.

    Args:
        restart: Move an earlier output aside and begin anew.
        retry_errors: Try rows again that an earlier run put into the error file.
        strict: Refuse a damaged output or a changed input instead of repairing or taking it over.
        max_unreadable: Ask no more once so many judgments of the output could not be read; None for any number.
        secret_codes: Draw a secret for the codes of section markers, unless the options bring one. The run's manifest
            keeps it, so that the run goes on with the same prompts.
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
    max_unreadable: int | None = None
    secret_codes: bool = False
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
        InputError: Also where the input is not what was counted any more, so that rows are left over.
    """
    options = options or JudgingOptions(sampling=judge.sampling())
    control = control or RunControl()
    with DurableMap(output, inputs=rows.paths) as journal:
        scan = rows.scan()
        if control.on_scan is not None:
            control.on_scan(scan)
        warn_of_training_rows(judge, rows, scan)
        if control.secret_codes and options.code_secret is None:
            kept = None if control.restart else journal.identity.get("code_secret")
            options = replace(options, code_secret=kept or secrets.token_hex(16))
        check_options(judge.spec, options)
        whole = _identity(judge, scan, options, {**rows.identity, **(identity or {})})
        with naming_old_codes(judge.spec):
            resume = start_journal(
                journal,
                whole,
                rows.contents,
                restart=control.restart,
                retry_errors=control.retry_errors,
                strict=control.strict,
            )
        resume = keep_provenance(
            judge.backend, journal, resume, name="judge", allow_other=control.allow_other_server
        )
        if control.on_start is not None:
            control.on_start(resume)
        tally = Tally(total=scan.num_items, errors=resume.num_errors)
        unread = None
        for line in journal.records():
            tally.add(line)
            unread = first_unreadable(line) or unread
        tally.resumed = tally.rows + tally.errors
        with Interruption(control.drain_s, control.on_stop) as interruption, suppress(DrainExpired):
            run = _Run(judge, options, journal, tally, interruption, control)
            run.mind_unreadable(unread)
            run.judge_rows(rows)
        if not interruption.stopping and run.unreadable is None:
            settled = min(tally.rows + tally.errors, scan.num_items)  # more, where a limit was lowered
            check_all_done(rows.paths, scan.num_items, run.num_read)
            check_all_done(rows.paths, scan.num_items, settled)
        return BatchResult(
            output=output,
            errors=journal.errors_path,
            scan=scan,
            tally=tally,
            resume=resume,
            signum=interruption.signum,
            unreadable=run.unreadable,
            server=journal.notes.get("judge"),
        )


def first_unreadable(line: Mapping[str, Any]) -> str | None:
    """Return row, status and text of a judged row's first judgment that could not be read, or None."""
    unread = next((judgment for judgment in line["judgments"] if judgment["status"] != "ok"), None)
    if unread is None:
        return None
    said = unread.get("text") or unread.get("detail") or "(no text)"
    return f"{line['id']}: {unread['status']}: {said}"


class _Run:
    """The writing half of a run."""

    def __init__(
        self,
        judge: Judge,
        options: JudgingOptions,
        journal: DurableMap,
        tally: Tally,
        interruption: Interruption,
        control: RunControl,
    ) -> None:
        self.num_read = 0
        self.unreadable: str | None = None
        self._judge = judge
        self._options = options
        self._journal = journal
        self._tally = tally
        self._interruption = interruption
        self._control = control
        self._inputs: dict[str, InputRow] = {}

    def judge_rows(self, rows: JudgeInput) -> None:
        self._report()
        JudgeSession(self._judge, self._options, self._write).run(self._todo(rows))

    def _todo(self, rows: JudgeInput) -> Iterator[Row]:
        """Yield rows that no earlier run finished, until the run is asked to stop."""
        for item in rows:
            if self._interruption.stopping or self.unreadable is not None:
                return
            self.num_read += 1
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
        self.mind_unreadable(first_unreadable(line))
        self._report()

    def mind_unreadable(self, said: str | None) -> None:
        """End the run with what an unreadable judgment said, if that was one too many."""
        limit = self._control.max_unreadable
        if said is not None and limit is not None and self._tally.num_unreadable >= limit:
            self.unreadable = self.unreadable or said

    def _fail(self, item: InputRow, code: str, message: str, attempts: int) -> None:
        record = {"id": item.id, "place": item.place, "code": code, "message": message, "attempts": attempts}
        self._journal.fail(item.id, record, item.digest)
        self._tally.errors += 1
        self._report()

    def _report(self) -> None:
        if self._control.on_progress is not None:
            self._control.on_progress(self._tally)


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
        **({} if options.code_secret is None else {"code_secret": options.code_secret}),
        "reasrm": __version__,
        **extra,
    }


@contextmanager
def naming_old_codes(spec: JudgeSpec) -> Iterator[None]:
    """Where an output belongs to another run because its section codes are of the old kind, say just that."""
    try:
        yield
    except IdentityMismatch as mismatch:
        for key, (recorded, _) in mismatch.differences.items():
            said = made_with_old_codes(spec, recorded) if key.endswith("spec_hash") else None
            if said is not None:
                raise ConfigError(
                    f"the output {said}",
                    place=mismatch.place,
                    remedy=f"to go on, {OLD_SPEC}; or begin anew with --restart",
                ) from mismatch
        raise
