"""Judging a file: every row exactly once, through kills, faults and restarts.

Order of events: take the output's lock; validate the whole input; compare the run's identity with the manifest;
only then load the model. Each finished row is one durable line of `OUT`; each row that could not be judged is one of
`OUT.errors.jsonl`. Running the same call again continues where the last one stopped.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from reasrm.durable import IdentityMismatch
from reasrm.errors import ConfigError
from reasrm.generation.run import DurableRun, RunControl, RunEnd
from reasrm.judged import JudgedRow, read_judged
from reasrm.judging.aggregate import RowResult
from reasrm.judging.inputs import InputRow, JudgeInput, Scan
from reasrm.judging.judge import Judge, JudgeSession, RowFailure
from reasrm.judging.overlaps import warn_of_training_rows
from reasrm.judging.plan import JudgingOptions, check_options, check_shown, check_sightings
from reasrm.judging.tally import Tally
from reasrm.protocol.prompts import OLD_SPEC, made_with_old_codes
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import ParseStatus, Row

__all__ = ["BatchResult", "JudgeControl", "first_unreadable", "judge_file", "naming_old_codes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult(RunEnd):
    """What a run left behind.

    Args:
        scan: What validation found.
        tally: Counts over `output`, earlier runs included.
        unreadable: What one judgment said that could not be read, if the run ended for too many of these.
        saw_labels: Whether rows were judged by rubrics whose authors knew their labels.
    """

    scan: Scan
    tally: Tally
    unreadable: str | None = None
    saw_labels: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every row came to something."""
        return self.signum is None and self.unreadable is None and self.budget is None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeControl(RunControl):
    """What happens to earlier output, and who is told what; progress is a `Tally`, what validation found a `Scan`.

    Args:
        max_unreadable: Ask no more once so many judgments of the output could not be read; None for any number.
        secret_codes: Draw a secret for the codes of section markers, unless the options bring one. The run's manifest
            keeps it, so that the run goes on with the same prompts.
    """

    max_unreadable: int | None = None
    secret_codes: bool = False


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
        control: What happens to earlier output, and who is told what; a `JudgeControl` says more.
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
    if not isinstance(control, JudgeControl):
        control = JudgeControl(**{key.name: getattr(control, key.name) for key in fields(control)})
    with DurableRun(output, control, kind="judge", inputs=rows.paths) as run:
        scan = rows.scan()
        run.scanned(scan)
        warn_of_training_rows(judge, rows, scan)
        if control.secret_codes and options.code_secret is None:
            kept = None if control.restart else run.journal.identity.get("code_secret")
            options = replace(options, code_secret=kept or secrets.token_hex(16))
        check_options(judge.spec, options)
        check_shown(judge.spec, scan, str(rows.paths[0]))
        saw = check_sightings(judge.spec, scan, str(rows.paths[0]), allowed=options.rubrics_that_saw_labels)
        said = {"rubrics_that_saw_labels": True} if saw else {}
        whole = _identity(judge, scan, options, {**rows.identity, **said, **(identity or {})})
        with naming_old_codes(judge.spec):
            asked = run.start(whole, rows.contents, {"judge": judge.backend})
        note = {"spec": judge.spec.model_dump(mode="json"), "inputs": rows.described(scan)}
        if run.journal.notes.get("asked") != note:
            run.journal.annotate("asked", note)
        tally = Tally(total=scan.num_items, errors=run.resume.num_errors)
        writer = _Writer(replace(judge, backend=asked["judge"]), options, run, tally, control.max_unreadable)
        for row in map(read_judged, run.journal.records()):
            writer.count(row)
        tally.resumed = tally.rows + tally.errors
        with run.working():
            writer.judge_rows(rows)
        if writer.unreadable is None:
            run.check_all_done(scan.num_items, writer.num_read)
            settled = min(tally.rows + tally.errors, scan.num_items)  # more, where a limit was lowered
            run.check_all_done(scan.num_items, settled)
        return run.end(BatchResult, scan=scan, tally=tally, unreadable=writer.unreadable, saw_labels=saw)


def first_unreadable(row: JudgedRow) -> str | None:
    """Return row, status and text of a judged row's first judgment that could not be read, or None."""
    unread = next((judgment for judgment in row.judgments if judgment.status is not ParseStatus.OK), None)
    if unread is None:
        return None
    return f"{row.id}: {unread.status}: {unread.text or unread.detail or '(no text)'}"


class _Writer:
    """The asking and writing half of a run."""

    def __init__(
        self,
        judge: Judge,
        options: JudgingOptions,
        run: DurableRun,
        tally: Tally,
        most_unreadable: int | None,
    ) -> None:
        self.num_read = 0
        self.unreadable: str | None = None
        self._judge = judge
        self._options = options
        self._run = run
        self._tally = tally
        self._most_unreadable = most_unreadable
        self._inputs: dict[str, InputRow] = {}

    def count(self, row: JudgedRow) -> None:
        """Count a record, and end the run with what an unreadable judgment of it said, if that was one too many."""
        self._tally.add(row)
        said, most = first_unreadable(row), self._most_unreadable
        if said is not None and most is not None and self._tally.num_unreadable >= most:
            self.unreadable = self.unreadable or said

    def judge_rows(self, rows: JudgeInput) -> None:
        self._run.tell(self._tally)
        JudgeSession(self._judge, self._options, self._write).run(self._todo(rows))

    def _todo(self, rows: JudgeInput) -> Iterator[Row]:
        """Yield rows that no earlier run finished, until the run is asked to stop."""
        for item in self._run.todo(self._counted(rows)):
            if item.row is not None:
                self._inputs[item.id] = item._replace(row=None)
                yield item.row

    def _counted(self, rows: JudgeInput) -> Iterator[InputRow]:
        for item in rows:
            if self.unreadable is not None:
                return
            self.num_read += 1
            yield item
            if item.error is not None:
                self._report()

    def _write(self, result: RowResult | RowFailure) -> None:
        item = self._inputs.pop(result.row.id)
        if isinstance(result, RowFailure):
            self._run.fail(item, result.code, result.message, result.attempts)
        else:
            row = result.judged(judge=self._judge.label, seed=self._options.seed)
            self._run.put(item, row.to_json())
            self.count(row)
        self._report()

    def _report(self) -> None:
        self._tally.errors = self._run.journal.num_errors
        self._run.tell(self._tally)


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
