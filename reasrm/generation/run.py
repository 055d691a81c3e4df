"""One runner for durable work: items in, records out, each exactly once, through kills, faults and restarts.

Judging, distillation, critiques, MetaRM scores and rubrics run on it. It takes the output's lock, continues what an
earlier run began if it is the same run, keeps which server answers and what asking costs, stops in order on a signal
and before a budget is exceeded, and says "done" only when everything that was counted came to something. What is asked,
in which rounds and how it is counted is the work's own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from reasrm import __version__
from reasrm.durable import (
    DrainExpired,
    DurableMap,
    Interruption,
    ResumeState,
    check_all_done,
    start_journal,
)
from reasrm.errors import RowError
from reasrm.generation.base import Backend, keep_provenance
from reasrm.generation.budget import Budget, BudgetReached, Meter
from reasrm.requests import Completion, Request

__all__ = ["Asked", "AskingProgress", "DurableRun", "Progress", "RunControl", "RunEnd", "WorkItem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunControl:
    """What happens to earlier output, what may be spent, and who is told what.

    Args:
        restart: Move an earlier output aside and begin anew.
        retry_errors: Try again what an earlier run put into the error file.
        strict: Refuse a damaged output or a changed input instead of repairing or taking it over.
        allow_other_server: Go on where another server or served model answered before.
        budget: What may be spent, earlier runs included.
        on_scan: Called once with what validation found.
        on_start: Called once before the first item, with what was found of earlier runs.
        on_progress: Called before the first and after every item, with the work's own counts.
        on_stop: Called with the signal's number on SIGINT or SIGTERM, and again just before a second one ends the
            process.
        drain_s: Seconds to wait for requests in flight after the first signal.
    """

    restart: bool = False
    retry_errors: bool = False
    strict: bool = False
    allow_other_server: bool = False
    budget: Budget = field(default_factory=Budget)
    on_scan: Callable[[Any], None] | None = None
    on_start: Callable[[ResumeState], None] | None = None
    on_progress: Callable[[Any], None] | None = None
    on_stop: Callable[[int], None] | None = None
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended.

    Args:
        output: The file of finished records.
        errors: The file of what failed; absent when there is nothing.
        num_errors: Its lines.
        resume: What was found of earlier runs.
        signum: The signal that stopped the run early, or None.
        cost: What asking took, earlier runs included, as `Meter.summary` gives it.
        budget: Why nobody is asked any more although something is left to ask, or None.
        servers: Who was asked → where a model that others serve answered, what it called itself and did not take.
    """

    output: Path
    errors: Path
    num_errors: int
    resume: ResumeState
    signum: int | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    servers: Mapping[str, Any] = field(default_factory=dict)


AboutT = TypeVar("AboutT")


class WorkItem(Protocol):
    """What work is done on: a row, a critique, a pair."""

    @property
    def id(self) -> str:
        """Unique in the output."""
        ...

    @property
    def place(self) -> str:
        """File and line."""
        ...

    @property
    def digest(self) -> bytes:
        """Changes when the row does."""
        ...

    @property
    def error(self) -> RowError | None:
        """Why it cannot be read, or None."""
        ...

    @property
    def where(self) -> Mapping[str, Any]:
        """What its record says of it beside the id: of which row it is, for instance."""
        ...


class Asked(NamedTuple, Generic[AboutT]):
    """A `WorkItem` that is made on the way: one call about a row, for instance, and what it is about."""

    id: str
    place: str
    digest: bytes
    about: AboutT
    where: Mapping[str, Any] = MappingProxyType({})
    error: RowError | None = None


class Progress(NamedTuple):
    """How far work is that counts nothing of its own."""

    done: int
    total: int
    errors: int


@dataclass(slots=True)
class AskingProgress:
    """How far a run is that asks about each of its items until something of it is kept, or nothing more helps.

    Args:
        settled: Items about which nothing more is asked.
        total: Items admitted so far.
        kept: Items of which an answer may be kept.
        answers: Answers that came, in earlier runs too.
        errors: Rows and calls that failed.
    """

    settled: int = 0
    total: int = 0
    kept: int = 0
    answers: int = 0
    errors: int = 0


ItemT = TypeVar("ItemT", bound=WorkItem)
EndT = TypeVar("EndT", bound=RunEnd)


class DurableRun:
    """A run: enter it, `start` it, do the work inside `working`, and take `end`.

    Args:
        output: Where records go; never one of the inputs.
        control: What happens to earlier output, what may be spent, and who is told what.
        kind: What makes the records: `judge`, `distill`, ….
        inputs: Files that are read.

    Raises:
        ConfigError: The output path is not usable, or is one of the inputs.
        EnvironmentProblem: The output is read-only.
        LockedError: Another process writes it.
    """

    def __init__(self, output: Path, control: RunControl, *, kind: str, inputs: Sequence[Path] = ()) -> None:
        self.journal = DurableMap(output, inputs=inputs, kind=kind)
        self.control = control
        self.resume = ResumeState()
        self.reached: str | None = None
        self._inputs = tuple(inputs)
        self._names: tuple[str, ...] = ()
        self._meter: Meter | None = None
        self._interruption = Interruption(control.drain_s, control.on_stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.journal.__exit__(kind, value, trace)

    def scanned(self, found: Any) -> None:
        """Tell what validation found."""
        if self.control.on_scan is not None:
            self.control.on_scan(found)

    def start(
        self,
        identity: Mapping[str, Any],
        current: Callable[[], Iterable[tuple[str, str]]],
        backends: Mapping[str, Backend] | None = None,
    ) -> dict[str, Backend]:
        """Continue the run that the output holds, or begin one.

        Args:
            identity: What must be equal for a run to be continued, beside the program's version; JSON values. Its
                `input_sha256` may change where every row with a record is still there, unchanged.
            current: Returns id and digest (hex) of every row of the input as it is now.
            backends: Who will be asked, by what they are to the run: `judge`, `teacher`, ….

        Returns:
            The backends, counted and kept within the budget: ask these.

        Raises:
            ConfigError: The output belongs to another run, rows changed, another server answers, or there is a budget
                of money and no price.
            InputError: With `strict`, the output is damaged.
            EnvironmentProblem: The disk fails.
        """
        control = self.control
        self.resume = start_journal(
            self.journal,
            {**identity, "reasrm": __version__},
            current,
            restart=control.restart,
            retry_errors=control.retry_errors,
            strict=control.strict,
        )
        backends = backends or {}
        self._names = tuple(backends)
        for name, backend in backends.items():
            self.resume = keep_provenance(
                backend, self.journal, self.resume, name=name, allow_other=control.allow_other_server
            )
        if control.on_start is not None:
            control.on_start(self.resume)
        self._meter = Meter(control.budget, self.journal)
        return {name: self._meter.of(name, backend) for name, backend in backends.items()}

    def spend_within(self, budget: Budget) -> None:
        """Go on within another budget: what others have spent of one that is common to all has changed."""
        if self._meter is not None:
            self._meter.budget = budget

    def tell(self, progress: Any) -> None:
        """Tell how far the work is."""
        if self.control.on_progress is not None:
            self.control.on_progress(progress)

    def tell_done(self, total: int) -> int:
        """Tell a `Progress`; return how many items came to a record or an error."""
        errors = self.journal.num_errors
        done = self.journal.num_done + errors
        self.tell(Progress(min(done, total), total, errors))  # more are done where a limit was lowered
        return done

    @property
    def stopping(self) -> bool:
        """Whether nothing new should be begun."""
        return self._interruption.stopping

    @property
    def whole(self) -> bool:
        """Whether nothing ended the work before its time, as far as the run knows."""
        return not self.stopping and self.reached is None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Do the work inside; a signal or the budget ends it."""
        with self._interruption:
            try:
                yield
            except DrainExpired:
                pass
            except BudgetReached as error:
                self.reached = str(error)

    def todo(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield what no earlier run finished, until the run is asked to stop; what cannot be read is a failure."""
        for item in items:
            if self.stopping:
                return
            if self.journal.done(item.id):
                continue
            if item.error is not None:
                self.fail(item, item.error.code, str(item.error))
            else:
                yield item

    def batches(self, items: Iterable[ItemT], size: int, total: int) -> Iterator[list[ItemT]]:
        """Yield what is to do in lists; tell a `Progress` before the first and after each, and check the end."""
        todo = self.todo(items)
        while True:
            done = self.tell_done(total)
            batch = list(islice(todo, size))
            if self.stopping or not batch:
                break
            yield batch
        self.check_all_done(total, min(done, total))

    def answers(
        self, backend: Backend, asked: Iterable[tuple[ItemT, Request]]
    ) -> Generator[tuple[ItemT, Completion], None, None]:
        """Yield every answer as it comes, with what it is about; where a call failed, that is recorded already.

        A request that the backend leaves without an answer has failed, too, unless the run is to stop.

        Args:
            backend: Who is asked; one that `start` returned.
            asked: Pulled lazily.
        """
        waiting: dict[str, ItemT] = {}

        def requests() -> Iterator[Request]:
            for item, request in asked:
                waiting[request.id] = item
                yield request

        with closing(backend.generate(requests())) as completions:
            for completion in completions:
                item = waiting.pop(completion.request_id)
                if completion.finish_reason == "error":
                    message = completion.error or "the call failed"
                    self.fail(item, completion.error_code, message, completion.attempts)
                yield item, completion
        for name, item in () if self.stopping else waiting.items():
            silence = Completion(name, finish_reason="error", error="the backend ended without answering")
            self.fail(item, "no_answer", str(silence.error))
            yield item, silence

    def put(self, item: WorkItem, record: Mapping[str, Any]) -> None:
        """Record what became of an item."""
        self.journal.put(item.id, {**item.where, **record}, item.digest)

    def fail(self, item: WorkItem, code: str, message: str, attempts: int = 0) -> None:
        """Record that an item failed, after so many attempts."""
        error = {"place": item.place, "code": code, "message": message, "attempts": attempts}
        self.journal.fail(item.id, {**item.where, **error}, item.digest)

    def check_all_done(self, counted: int, done: int) -> None:
        """Raise `InputError` if the run came to its end and not everything that was counted came to something."""
        if self.whole:
            check_all_done(self._inputs or (self.journal.output,), counted, done)

    def end(self, kind: type[EndT], **own: Any) -> EndT:
        """Return how it ended, and what the work adds to that."""
        notes = self.journal.notes
        return kind(
            output=self.journal.output,
            errors=self.journal.errors_path,
            num_errors=self.journal.num_errors,
            resume=self.resume,
            signum=self._interruption.signum,
            cost={} if self._meter is None else self._meter.summary(),
            budget=self.reached,
            servers={name: notes[name] for name in self._names if name in notes},
            **own,
        )
