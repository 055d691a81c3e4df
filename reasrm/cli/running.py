"""What verbs of durable work share at the terminal: what earlier runs left, a signal, how a run ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from reasrm.cli.console import note, print_summary
from reasrm.durable import ResumeState, read_records
from reasrm.generation.ledger import Ledger
from reasrm.generation.run import RunControl, RunEnd
from reasrm.judging.inputs import Scan
from reasrm.requests import Request

__all__ = [
    "StopNotice",
    "add_end",
    "control_of",
    "note_cost",
    "note_request",
    "note_resume",
    "note_scan",
    "note_sources",
]

_NUM_READ = 1000
ControlT = TypeVar("ControlT", bound=RunControl)


def note_resume(what: str) -> Callable[[ResumeState], None]:
    """Return what says how far earlier runs came with `what`: `rows`, `answers`, ...."""

    def tell(resume: ResumeState) -> None:
        for warning in resume.warnings:
            note(f"warning: {warning}")
        if resume.num_done:
            note(f"continuing: {resume.num_done} {what} are done")
        if resume.num_errors:
            note(f"skipping {resume.num_errors} lines of the error file; --retry-errors tries them again")

    return tell


def note_scan(scan: Scan) -> None:
    """Say what validation found in an input."""
    note(
        f"input: {scan.num_rows} rows ({scan.source}), {scan.num_labelled} labelled, "
        f"{scan.num_identical} with identical and {scan.num_degenerate} with empty responses, "
        f"{scan.num_invalid} invalid"
    )
    for reason, count in scan.invalid.most_common():
        note(f"  invalid: {count} × {reason}")
    for example in scan.examples[:3]:
        note(f"  {example}")
    if scan.num_invalid > 3:
        note(f"  and {scan.num_invalid - 3} more")


def note_request(request: Request | None) -> None:
    """Show the first prompt of a run, if anybody is asked."""
    for message in () if request is None else request.messages:
        note(f"--- {message.role} ---\n{message.text}")


def note_sources(ledger: Ledger, what: str) -> None:
    """Say how many of each source's rows were kept."""
    for source, (kept, count) in ledger.sources().items():
        if count:
            note(f"{source}: {kept} of {count} {what} kept ({kept / count:.1%})")


class StopNotice:
    """Says that a signal was heard, and leaves the summary behind when a second one ends the process."""

    def __init__(self) -> None:
        self._heard = False

    def __call__(self, signum: int) -> None:
        """Speak; called from the signal handler."""
        if self._heard:
            print_summary({"interrupted": True}, 128 + signum)
        else:
            note("stopping: waiting up to 30 s for answers in flight; once more to end at once")
        self._heard = True


def control_of(
    kind: type[ControlT],
    what: str,
    on_progress: Callable[[Any], None],
    *,
    on_scan: Callable[[Any], None] | None = note_scan,
    **said: Any,
) -> ControlT:
    """Return a run's control with messages for people.

    Args:
        kind: `RunControl`, or what a verb makes of it.
        what: What the run works through, for people.
        on_progress: Shows how far it is.
        on_scan: Says what validation found.
        said: What the flags say.
    """
    start = note_resume(what)
    return kind(on_scan=on_scan, on_start=start, on_progress=on_progress, on_stop=StopNotice(), **said)


def note_cost(said: Mapping[str, Any]) -> None:
    """Say what asking took, one line for everyone who was asked, and what it cost."""
    for name, spent in said["cost"].items():
        uncounted = f" ({spent['uncounted']:,} answers not counted)" if spent["uncounted"] else ""
        note(
            f"{name}: {spent['calls']:,} calls, {spent['prompt_tokens']:,} prompt and "
            f"{spent['completion_tokens']:,} completion tokens{uncounted}"
        )
    if said["money"] is not None:
        note(f"cost: {said['money']:.6g}")


def add_end(summary: dict[str, Any], end: RunEnd, done: str) -> int:
    """Add to a summary how a run ended, say it, and return the exit code that `docs/judging.md` gives it.

    Args:
        summary: Gets `interrupted`, `stopped` and `errors_file` where they mean something.
        end: How it ended.
        done: How far it came, for people: `12 of 40 rows`.
    """
    code = 0
    if end.num_errors:
        code = 3
        summary["errors_file"] = str(end.errors)
        errors = list(islice(read_records(end.errors), _NUM_READ))
        reason, count = Counter(str(error["code"]) for error in errors).most_common(1)[0]
        first = next(error["message"] for error in errors if error["code"] == reason)
        note(f"{end.num_errors} failed, see {end.errors}\n  {reason} × {count}, first: {first}")
    if end.signum is not None:
        code = 128 + end.signum
        summary["interrupted"] = True
        note(f"stopped after {done}; the same command continues")
    elif end.budget is not None:
        code = 3
        summary["stopped"] = "budget"
        note(f"stopped after {done}: {end.budget}")
    return code
