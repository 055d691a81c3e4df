"""Writing rubrics: a trained writer, which never knows the label, is asked once for each request or pair.

A writer that sees requests only is asked once for all rows of a request, one that sees pairs once for each row, in an
order drawn by a seed of its own. An answer that is no rubric is a failure with a reason: nothing is put in its place.
Every rubric is one durable line; running the same call again continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from reasrm.durable import IdIndex
from reasrm.errors import ConfigError, RowError
from reasrm.generation.base import Backend
from reasrm.generation.run import DurableRun, RunControl, RunEnd
from reasrm.hashing import derive_seed, digest, prompt_hash, request_hash
from reasrm.judging.batch import naming_old_codes
from reasrm.judging.inputs import JudgeInput, Scan
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import writes_for
from reasrm.protocol.writer_rows import WriterOrders, check_writer_spec, writer_view
from reasrm.records import CandidateSet, Comparison, Judgment, ParseStatus, Rubric
from reasrm.requests import Completion, Request, SamplingParams
from reasrm.sources.rubric_lines import RubricLine
from reasrm.tables import content_sha256

__all__ = ["WriteResult", "WritingOptions", "cached_name", "first_request", "write_rubrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingOptions:
    """How a writer is asked.

    Args:
        sampling: Temperature, top-p and token limit.
        orders: In which order pairs are shown: `random`, drawn from id and seed; `swap`, the other one; or `given`.
            None is `random`, and the only choice for a writer that sees no pairs.
        seed: Root of the draws.
    """

    sampling: SamplingParams
    orders: WriterOrders | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult(RunEnd):
    """What a run left behind.

    Args:
        scan: What validation of the input found.
        total: Requests or pairs to write for, with the lines that are no rows.
        written: Rubrics in `output`, of earlier runs too.
        failures: Reason → requests, pairs or lines without a rubric.
    """

    scan: Scan
    total: int
    written: int
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether everything came to a rubric or a reason."""
        return self.signum is None and self.budget is None


class _Item(NamedTuple):
    """A request or a pair to write for, or why there is none; once it is asked about, the hash of the prompt."""

    id: str
    place: str
    digest: bytes
    error: RowError | None
    shown: Comparison | CandidateSet | None
    where: Mapping[str, Any] = MappingProxyType({})
    prompt: str = ""


def cached_name(writer: Judge, rows: JudgeInput, options: WritingOptions) -> str:
    """Return a name for the rubrics of some rows by a writer: another one for other rows, writers or options."""
    contents = [content_sha256(path) for path in rows.paths]
    key = digest([_identity(writer, options), contents, rows.identity])
    return f"rubrics-{key}.jsonl"


def write_rubrics(
    writer: Judge, rows: JudgeInput, output: Path, options: WritingOptions, control: RunControl | None = None
) -> WriteResult:
    """Write the rubrics of some rows into `output`, resuming what an earlier call began.

    Args:
        writer: A model and a spec of protocol `rubric`. Its backend stays open.
        rows: What rubrics are for; labels are not looked at, and need not be there.
        output: Where lines go, as `sources.rubric_lines` reads them; failures go to `OUT.errors.jsonl`.
        options: How it is asked.
        control: What happens to earlier output, what may be spent, and who is told what; progress is what is written,
            what failed and how many there are.

    Raises:
        ConfigError: The spec is no writer's, orders are chosen for one that sees no pairs, or the output belongs to
            another run.
        InputError: The input is unusable as a whole, or changed meanwhile.
        LockedError: Another process writes this output.
        EnvironmentProblem: Disk, permissions, memory.
    """
    _check(writer, options)
    with DurableRun(output, control or RunControl(), kind="rubrics", inputs=rows.paths) as run:
        scan = rows.scan()
        run.scanned(scan)
        identity = {**_identity(writer, options), "input_sha256": scan.sha256, **rows.identity}
        work = _Writing(writer, rows, options, run)
        with naming_old_codes(writer.spec):
            asked = run.start(identity, work.contents, {"writer": writer.backend})
        work.total = sum(1 for _ in work.items())
        run.tell_done(work.total)
        with run.working():
            work.ask(asked["writer"])
        # More are done where a limit was lowered.
        run.check_all_done(work.total, min(run.journal.num_done + run.journal.num_errors, work.total))
        return run.end(
            WriteResult,
            scan=scan,
            total=work.total,
            written=run.journal.num_done,
            failures=dict(Counter(str(error["code"]) for error in run.journal.errors())),
        )


def first_request(writer: Judge, rows: JudgeInput, options: WritingOptions) -> tuple[Request | None, int]:
    """Return the first of the requests that a scanned input takes, if any, and how many there are."""
    _check(writer, options)
    shown = (item.shown for item in _items(writer, rows, options) if item.shown is not None)
    first = next(shown, None)
    if first is None:
        return None, 0
    return _request(writer, first, options), 1 + sum(1 for _ in shown)


def _check(writer: Judge, options: WritingOptions) -> None:
    check_writer_spec(writer.spec)
    if options.orders is not None and writes_for(writer.spec) == "prompt":
        raise ConfigError(
            f"spec {writer.spec.name!r} shows no responses, so that there is no order to choose",
            place="--orders",
            remedy="leave it out, or choose a spec that shows pairs, such as rubric-writer-pair",
        )


def _items(writer: Judge, rows: JudgeInput, options: WritingOptions) -> Iterator[_Item]:
    """Yield what is to be written for: each request once, or each pair; and what is none."""
    seen = IdIndex()
    for row_id, place, content, row, error in rows:
        if row is None:
            yield _Item(row_id, place, content, error, None)
            continue
        try:
            shown = writer_view(writer.spec, row, options.orders or "random", options.seed)
        except RowError as unfit:
            yield _Item(row_id, place, content, unfit, None)
            continue
        if isinstance(shown, Comparison):
            yield _Item(row_id, place, content, None, shown)
        elif seen.add(shown.id):
            yield _Item(shown.id, place, bytes.fromhex(shown.id), None, shown)


def _request(writer: Judge, shown: Comparison | CandidateSet, options: WritingOptions) -> Request:
    seed = derive_seed(options.seed, "rubric writer")
    asked = JudgingOptions(orders="given", seed=seed, sampling=options.sampling)
    (ask,) = plan_row(writer.spec, shown, asked)
    return ask.request


def _identity(writer: Judge, options: WritingOptions) -> dict[str, Any]:
    sampling = options.sampling
    return {
        "writer": writer.identity,
        "orders": (options.orders or "random") if writes_for(writer.spec) == "pair" else None,
        "seed": options.seed,
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        },
    }


class _Writing:
    """The asking and writing half of a run."""

    def __init__(self, writer: Judge, rows: JudgeInput, options: WritingOptions, run: DurableRun) -> None:
        self.total = 0
        self._writer = writer
        self._rows = rows
        self._options = options
        self._run = run

    def items(self) -> Iterator[_Item]:
        """Yield what is to be written for, and what is none."""
        return _items(self._writer, self._rows, self._options)

    def contents(self) -> Iterator[tuple[str, str]]:
        """Yield id and digest (hex) of everything that is to be written for."""
        for item in self.items():
            yield item.id, item.digest.hex()

    def ask(self, backend: Backend) -> None:
        """Ask about everything that no earlier run settled."""
        with closing(self._run.answers(backend, self._asked())) as answers:
            for item, completion in answers:
                if completion.finish_reason != "error":
                    self._settle(item, completion)
                self._run.tell_done(self.total)

    def _asked(self) -> Iterator[tuple[_Item, Request]]:
        for item in self._run.todo(self.items()):
            if item.shown is not None:
                request = _request(self._writer, item.shown, self._options)
                yield item._replace(prompt=prompt_hash(request.messages)), request

    def _settle(self, item: _Item, completion: Completion) -> None:
        judgment = parse(self._writer.spec, completion)
        rubric = None if judgment.rubric is None else Rubric.read(judgment.rubric)
        if judgment.status is not ParseStatus.OK or rubric is None or item.shown is None:
            status = judgment.status.value
            unread = item._replace(where={"text": judgment.text})
            self._run.fail(unread, status, judgment.detail or "no rubric", completion.attempts)
            return
        line = self._line(item, item.shown, rubric, judgment)
        self._run.journal.put(item.id, line.to_json(), item.digest)

    def _line(
        self, item: _Item, shown: Comparison | CandidateSet, rubric: Rubric, judgment: Judgment
    ) -> RubricLine:
        label = self._writer.label
        return RubricLine(
            id=item.id,
            rubric=rubric,
            prompt_hash=request_hash(shown.prompt),
            condition=writes_for(self._writer.spec),
            order=shown.order if isinstance(shown, Comparison) else None,
            saw_label=False,
            provenance={
                "writer": label.pop("name"),
                **label,
                "seed": self._options.seed,
                "prompt": item.prompt,
                "num_tokens": judgment.num_tokens,
            },
        )
