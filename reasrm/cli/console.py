"""What all verbs share: errors to exit codes, logs to stderr, and one JSON object as the last line of stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn

from reasrm.cli.summary import complete, start_clock
from reasrm.errors import ReasrmError
from reasrm.pipes import as_typed, forget_spooled
from reasrm.printable import escape_json, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from reasrm.judging.tally import Tally

__all__ = [
    "bars",
    "chatter_to_stderr",
    "exit_with",
    "finish",
    "guarded",
    "heard",
    "is_quiet",
    "judging_progress",
    "note",
    "now_and_then",
    "print_summary",
    "progress_bar",
    "set_quiet",
]

_state: dict[str, Any] = {"quiet": False, "caller": None}


class _Ended(BaseException):
    """In the place of the process's end, where a program called the verb."""


@contextmanager
def heard(*, quiet: bool) -> Iterator[dict[str, Any]]:
    """Run a verb for a program: its summary goes into what is yielded instead of stdout, and the process lives on.

    For one verb at a time. Errors come as they are raised.

    Args:
        quiet: Say nothing on stderr.

    Raises:
        KeyboardInterrupt: A signal stopped the verb; the same call continues.
    """
    said: dict[str, Any] = {}
    before, logger = dict(_state), logging.getLogger("reasrm")
    level = logger.level
    _state.update(quiet=quiet, caller=said)
    start_clock()
    try:
        yield said
    except _Ended:
        if said.get("outcome") == "interrupted":
            raise KeyboardInterrupt from None
    finally:
        _state.update(before)
        logger.setLevel(level)


def set_quiet(quiet: bool) -> None:
    """Silence stderr for the rest of the process, or send logs there."""
    _state["quiet"] = quiet
    level = logging.CRITICAL + 1 if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("reasrm").setLevel(level)


class _Printable(logging.Formatter):
    """What a log says of rows and files moves no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(as_typed(super().format(record)))


def is_quiet() -> bool:
    """Tell whether nothing is to be said to people."""
    return bool(_state["quiet"])


def note(text: str) -> None:
    """Say something to a person; control characters of rows and files are shown, not obeyed."""
    if not _state["quiet"]:
        print(printable(as_typed(text)), file=sys.stderr, flush=True)


def print_summary(summary: Mapping[str, Any], code: int = 0) -> None:
    """Print the JSON object that programs read: one line, the last of stdout, in the shape that `summary` fixes."""
    import orjson

    if _state["caller"] is not None:
        _state["caller"].update(complete(summary, code))
        return
    sys.stdout.flush()
    stream = sys.__stdout__  # whatever `chatter_to_stderr` has put in its place
    if stream is not None:
        line = orjson.dumps(complete(summary, code), option=orjson.OPT_NON_STR_KEYS).decode()
        line = escape_json(as_typed(line, lambda path: json.dumps(path, ensure_ascii=False)[1:-1]))
        stream.buffer.write(line.encode() + b"\n")
        stream.buffer.flush()


def finish(summary: Mapping[str, Any], code: int) -> None:
    """Print the summary, and end the process unless all is well."""
    print_summary(summary, code)
    if code:
        exit_with(code)


def exit_with(code: int) -> NoReturn:
    """End the process now, without waiting for abandoned worker threads; or give up the verb that a program called."""
    if _state["caller"] is not None:
        raise _Ended
    sys.stdout.flush()
    sys.stderr.flush()
    forget_spooled()
    os._exit(code)


@contextmanager
def chatter_to_stderr() -> Iterator[None]:
    """Keep what libraries print on stdout (DeepSpeed's log) off it; stdout belongs to the summary."""
    with ExitStack() as stack:
        target = stack.enter_context(open(os.devnull, "w")) if _state["quiet"] else sys.stderr
        stack.enter_context(redirect_stdout(target))
        yield


@contextmanager
def guarded() -> Iterator[None]:
    """Turn an error that names place, value and remedy into a message and its exit code."""
    try:
        yield
    except ReasrmError as error:
        note(f"error: {error}")
        print_summary({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code})
        exit_with(error.exit_code)
    except KeyboardInterrupt as stop:
        remedy = "the same command continues what it can (training: with --resume)"
        code = 128 + getattr(stop, "signum", 2)  # a stage says which signal it was
        note(f"interrupted; {remedy}")
        said = {"error": "KeyboardInterrupt", "message": "interrupted", "interrupted": True}
        print_summary({**said, "exit_code": code, "continue": remedy})
        exit_with(code)
    except OSError as error:
        message = (
            f"{error.filename or 'this machine'}: {error.strerror or error}; "
            "check the path, its permissions and the space that is left, and run again"
        )
        note(f"error: {message}")
        print_summary({"error": type(error).__name__, "message": message, "exit_code": 5})
        exit_with(5)
    except MemoryError:
        note("error: out of memory; lower --batch-size or --concurrency")
        print_summary({"error": "MemoryError", "message": "out of memory", "exit_code": 5})
        exit_with(5)


@contextmanager
def judging_progress(label: str) -> Iterator[Callable[[Tally], None]]:
    """Show rows done with rate, coverage and tokens, as `progress_bar` does."""
    started = time.monotonic()
    with progress_bar(label, unit=" rows,") as update:
        yield lambda tally: update(
            tally.rows + tally.errors, tally.total, _describe(tally, time.monotonic() - started)
        )


def _describe(tally: Tally, elapsed_s: float) -> str:
    new = tally.rows + tally.errors - tally.resumed
    rate = new / elapsed_s if elapsed_s > 0 else 0.0
    coverage = "-" if tally.coverage is None else f"{tally.coverage:.2f}"
    return f"{rate:.1f}/s cov {coverage} {tally.num_tokens:,} tok {tally.errors} err"


@contextmanager
def progress_bar(label: str, *, unit: str = "") -> Iterator[Callable[[int, int | None, str], None]]:
    """Show how far a loop is: a bar on a terminal, a line now and then elsewhere.

    Call it with done, total (None where unknown) and extra.

    Where a line was shown the last count gets one, too.

    Args:
        label: What is being done.
        unit: What a line says behind the count.
    """
    if _state["quiet"]:
        yield lambda done, total, extra: None
    elif sys.stderr.isatty():
        with bars() as progress:
            task = progress.add_task(label, total=None, extra="")
            yield lambda done, total, extra: progress.update(task, completed=done, total=total, extra=extra)
    else:
        is_due = now_and_then()
        said = last = ""

        def update(done: int, total: int | None, extra: str) -> None:
            nonlocal said, last
            last = f"{label}: {done}{'' if total is None else f'/{total}'}{unit} {extra}".rstrip()
            if is_due():
                said = last
                note(said)

        yield update
        if said not in ("", last):
            note(last)


def bars() -> Progress:
    """Return progress bars on stderr; their tasks need a field `extra`, what is said behind the bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[extra]}"),
        console=Console(stderr=True),
    )


def now_and_then(every_s: float = 10.0, *, at_once: bool = False) -> Callable[[], bool]:
    """Return a function that is true at most once in so many seconds; the first time after them, or at once."""
    last = float("-inf") if at_once else time.monotonic()

    def is_due() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s:
            return False
        last = now
        return True

    return is_due
