"""`Judge`: a backend plus a `JudgeSpec`. Ask it about rows, get results; files and resuming live in `batch`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, Unpack

from reasrm.durable import IdIndex
from reasrm.errors import ConfigError, InputError, ReasrmError, RowError
from reasrm.generation.base import Backend
from reasrm.generation.resolve import BackendOptions, open_backend
from reasrm.hashing import prompt_hash
from reasrm.judging.aggregate import RowResult, aggregate, flagged_fields, rule_status
from reasrm.judging.folder import check_files, learned_from, refuse_changed, trained_on
from reasrm.judging.plan import Ask, JudgingOptions, check_options, plan_row, sightings_refused
from reasrm.protocol.parsing import ParsingMode, parse
from reasrm.protocol.prompts import check_spec, never_shown, warn_of_codes
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.protocol.upstream import upstream_rule
from reasrm.records import Judgment, Row, RowStatus
from reasrm.requests import Completion, Request, SamplingParams
from reasrm.sources import detect, read_row
from reasrm.tables import without_nulls

__all__ = ["Judge", "JudgeSession", "RowFailure", "open_judge"]

_Outcome = TypeVar("_Outcome")
_LOG = logging.getLogger("reasrm")
_EMBEDDED = Path(__file__).parents[1] / "sandbox_judge"


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row that could not be judged: invalid for this spec, or a call that failed after its retries."""

    row: Row
    code: str
    message: str
    attempts: int = 0


@dataclass(slots=True)
class _Pending:
    """A row whose completions are still coming in."""

    row: Row
    asks: Sequence[Ask]
    completions: dict[str, Completion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A policy model (behind a backend) and the protocol by which it is asked and read.

    Args:
        spec: The protocol.
        backend: The model.
        policy: How verdicts are read: `strict`, or `upstream` as the suite's own script does.
        name: What results call the model; by default what the backend calls it.
        changed: What is not as it was exported, of a judge folder that was opened all the same.
        learned_from: SHA-256 of the files that a judge folder was trained with → what its run calls them.
        trained_on: Where those lay that it learned from, each a `path` and a `sha256`, with the `columns` of its rows.
    """

    spec: JudgeSpec
    backend: Backend
    policy: ParsingMode = "strict"
    name: str | None = None
    changed: tuple[str, ...] = ()
    learned_from: Mapping[str, str] = field(default_factory=dict)
    trained_on: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_spec(self.spec)
        if self.policy == "upstream" and upstream_rule(self.spec.grammar) is None:
            raise ConfigError(
                f"spec {self.spec.name!r} names no upstream reading",
                remedy="leave out --verdict-policy upstream",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one run."""
        named = {} if self.name is None else {"model": self.name}
        return {
            "model": {**self.backend.identity, **named},
            "spec": self.spec.name,
            "spec_hash": self.spec.hash,
            "verdict_policy": self.policy,
            **({"changed": list(self.changed)} if self.changed else {}),
        }

    @property
    def label(self) -> dict[str, str]:
        """How output rows name this judge."""
        named = {"name": self.name or self.backend.name, "spec": self.spec.name, "spec_hash": self.spec.hash}
        return {**named, "changed": ", ".join(self.changed)} if self.changed else named

    def sampling(
        self,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
    ) -> SamplingParams:
        """Return the spec's sampling defaults with what is not None replaced."""
        own = self.spec.sampling
        return SamplingParams(
            temperature=own.temperature if temperature is None else temperature,
            top_p=own.top_p if top_p is None else top_p,
            max_tokens=own.max_tokens if max_tokens is None else max_tokens,
        )

    def judge(
        self, rows: Iterable[Row | Mapping[str, Any]], options: JudgingOptions | None = None
    ) -> Iterator[RowResult | RowFailure]:
        """Judge rows as they stream in; results come as they finish, in any order. Iterate to make it happen.

        Every row has one outcome, and none ends the stream: a dict that is no row, and a row whose id came before, are
        a `RowFailure` like a call that failed. The row of the former has its own id, or `row 7`, and nothing else.

        Args:
            rows: Records, or rows of any schema that `reasrm judge` reads, as dicts. Ids must be unique; equal dicts
                without an id are numbered (`…#1`).
            options: Orders, votes, seed and sampling; by default both orders with the spec's sampling.

        Raises:
            ConfigError: A row's rubric says that its author knew the row's label (`saw_label`), and the options do not
                take such rubrics.
        """
        ready: list[RowResult | RowFailure] = []
        session = JudgeSession(self, options or JudgingOptions(sampling=self.sampling()), ready.append)
        for _ in session.steps(_as_rows(rows)):
            yield from ready
            ready.clear()
        yield from ready


class JudgeSession:
    """One pass over rows: which requests are out, and which rows they complete.

    Args:
        judge: Who is asked.
        options: How.
        emit: Called with the outcome of each row as soon as it is known, by the thread that runs the session.
    """

    def __init__(
        self, judge: Judge, options: JudgingOptions, emit: Callable[[RowResult | RowFailure], None]
    ) -> None:
        check_options(judge.spec, options)
        self.judge = judge
        self.options = options
        self._emit = emit
        self._pending: dict[str, _Pending] = {}
        self._known = IdIndex()
        self._takes_sightings = options.rubrics_that_saw_labels or "rubric" in never_shown(judge.spec)

    def run(self, rows: Iterable[Row | RowFailure]) -> None:
        """Judge all rows, pulling them only as fast as the backend takes requests."""
        for _ in self.steps(rows):
            pass

    def steps(self, rows: Iterable[Row | RowFailure]) -> Iterator[None]:
        """Judge all rows, pausing after each completion. What could not be read as a row is passed on."""
        with closing(self.judge.backend.generate(self._requests(rows))) as completions:
            for completion in completions:
                pending = self._pending.pop(completion.request_id)
                pending.completions[completion.request_id] = completion
                if len(pending.completions) == len(pending.asks):
                    self._emit(_guarded(pending.row, partial(self._finish, pending)))
                yield
        unanswered = {id(pending): pending for pending in self._pending.values()}
        for pending in unanswered.values():
            self._emit(RowFailure(pending.row, "no_answer", "the backend ended without answering"))

    def _requests(self, rows: Iterable[Row | RowFailure]) -> Iterator[Request]:
        for row in rows:
            planned = row if isinstance(row, RowFailure) else _guarded(row, partial(self._plan, row))
            if not isinstance(planned, _Pending):
                self._emit(planned)
                continue
            for ask in planned.asks:
                self._pending[ask.request.id] = planned
                yield ask.request

    def _plan(self, row: Row) -> _Pending | RowResult:
        """Return what is to be asked about a row, or its result where a rule settles it.

        A request is named by its row, order, vote and response, so that different rows never share a name.
        """
        if not self._known.add(row.id):
            raise RowError(
                f"the id {row.id!r} was given before",
                code="repeated_id",
                place=row.id,
                remedy="make the ids unique",
            )
        if row.rubric is not None and row.rubric.saw_label and not self._takes_sightings:
            raise sightings_refused(1, [row.id], "rubric")
        status = self._settle_by_rule(row)
        if status is not None:
            return RowResult(row=row, status=status, flagged=flagged_fields(row, self.judge.spec.structural))
        return _Pending(row, plan_row(self.judge.spec, row, self.options))

    def _settle_by_rule(self, row: Row) -> RowStatus | None:
        status = rule_status(row)
        asked = {
            RowStatus.IDENTICAL: self.options.judge_identical,
            RowStatus.DEGENERATE: self.options.judge_degenerate,
        }
        if status is None or asked[status]:
            lacks_rubric = row.rubric is None and "rubric" in self.judge.spec.requires
            return RowStatus.NO_VERDICT if lacks_rubric and self.options.missing_rubrics_count else None
        return status

    def _finish(self, pending: _Pending) -> RowResult | RowFailure:
        failed = [c for c in pending.completions.values() if c.finish_reason == "error"]
        if failed:
            message = failed[0].error or "the call failed"
            return RowFailure(pending.row, failed[0].error_code, message, max(c.attempts for c in failed))
        judgments = [self._read(ask, pending.completions[ask.request.id]) for ask in pending.asks]
        flagged = flagged_fields(pending.row, self.judge.spec.structural)
        return replace(aggregate(pending.row, judgments), flagged=flagged)

    def _read(self, ask: Ask, completion: Completion) -> Judgment:
        """Parse one completion and map it from the order shown to the row's own order."""
        judgment = parse(
            self.judge.spec, completion, policy=self.judge.policy, num_candidates=max(len(ask.shown), 2)
        )
        judgment = _unshuffle(judgment, ask.shown) if ask.shown else ask.order.seen(judgment)
        return replace(
            judgment,
            order=ask.order,
            vote=ask.vote,
            response=ask.response,
            shown=ask.shown,
            prompt_hash=None if self.options.recorded_only else prompt_hash(ask.request.messages),
        )


def _guarded(row: Row, step: Callable[[], _Outcome]) -> _Outcome | RowFailure:
    """Take a step that concerns one row; what goes wrong is its failure and no other's."""
    try:
        return step()
    except RowError as error:
        return RowFailure(row, error.code, str(error))
    except InputError as error:
        return RowFailure(row, "not_a_row", str(error))
    except (ReasrmError, MemoryError):  # of the spec, the machine or the program
        raise
    except Exception as error:
        return RowFailure(row, "internal", f"{row.id}: {type(error).__name__}: {error}")


def _as_rows(rows: Iterable[Row | Mapping[str, Any]]) -> Iterator[Row | RowFailure]:
    """Read dicts as `reasrm judge` reads a file's rows. Equal rows without an id are numbered."""
    seen: Counter[str] = Counter()
    for number, item in enumerate(rows, 1):
        if isinstance(item, Row):
            yield item
            continue
        own = item.get("id") if isinstance(item, Mapping) else None
        bare = Row(id=own if isinstance(own, str) and own else f"row {number}", prompt=())
        found = _guarded(bare, partial(_read, item, f"row {number}"))
        if isinstance(found, RowFailure):
            yield found
            continue
        is_derived, read = found
        for row in read:
            repeats = seen[row.id] if is_derived else 0
            seen[row.id] += is_derived
            yield replace(row, id=f"{row.id}#{repeats}") if repeats else row


def _read(item: Any, place: str) -> tuple[bool, tuple[Row, ...]]:
    """Return whether the ids of a dict's rows come from their content, and the rows."""
    if not isinstance(item, Mapping):
        raise RowError(
            f"is a {type(item).__name__}, not a row",
            code="not_object",
            place=place,
            remedy="give records, or dicts as they stand in a file",
        )
    row = without_nulls(dict(item))
    source = detect(row, place)
    return source.derives_id(row), read_row(row, place, source)


def _unshuffle(judgment: Judgment, shown: tuple[int, ...]) -> Judgment:
    """Map positions shown back to the row's response indices."""
    scores, ranking = judgment.scores, judgment.ranking
    return replace(
        judgment,
        scores=None if scores is None else tuple(scores[shown.index(n)] for n in range(len(shown))),
        ranking=None if ranking is None else tuple(shown[position] for position in ranking),
    )


def open_judge(
    name: str,
    *,
    spec: str | JudgeSpec | None = None,
    policy: ParsingMode = "strict",
    default_spec: str | None = None,
    allow_changed: bool = False,
    **backend_options: Unpack[BackendOptions],
) -> Judge:
    """Open a judge by the names that the command line takes, without loading weights yet.

    Args:
        name: A judge folder; a model folder or hub id (with `spec`); `openai:MODEL@BASE_URL`; `replay`;
            `sandbox`, the tiny judge in the package.
        spec: A spec, its name or file. A judge folder brings its own.
        policy: How verdicts are read.
        default_spec: What to use if neither `spec` nor the folder says.
        allow_changed: Open a judge folder also where it is not as it was exported; results then say so.
        backend_options: Of the backend: `backend`, `batch_size`, `dtype`, `device`, `concurrency`, …

    Raises:
        ConfigError: The name or spec cannot be resolved.
        InputError: The judge folder is not as it was exported.
    """
    folder = _EMBEDDED if name == "sandbox" else Path(name)
    if (folder / "judge.json").is_file():
        chosen, edited = _open_spec(str(folder), allow_changed)
        changed = (*edited, *check_files(folder))
        if not allow_changed:
            refuse_changed(folder, changed)
        if spec is not None:
            chosen, edited = _open_spec(spec, allow_changed)
            changed = tuple(dict.fromkeys((*changed, *edited)))
        backend = open_backend(str(folder / "model"), **backend_options)
        own_name = name if folder == _EMBEDDED else None
        return _opened(
            Judge(
                spec=chosen,
                backend=backend,
                policy=policy,
                name=own_name,
                changed=changed,
                learned_from=learned_from(folder),
                trained_on=trained_on(folder),
            )
        )
    if (folder / "checkpoints").is_dir() and (folder / "manifest.json").is_file():
        raise ConfigError(
            "is the run folder of a training",
            place=name,
            remedy=f"reasrm export --run {name} --output JUDGE, and name that folder",
        )
    wanted = spec or default_spec
    if wanted is None:
        raise ConfigError(
            f"judge {name!r} does not say how it is asked", remedy="pass --spec NAME or --spec FILE"
        )
    chosen, edited = _open_spec(wanted, allow_changed)
    backend = open_backend(name, **backend_options)
    return _opened(Judge(spec=chosen, backend=backend, policy=policy, changed=edited))


def _opened(judge: Judge) -> Judge:
    """Say what is to be said of a judge."""
    warn_of_codes(judge.spec)
    if judge.changed:
        _LOG.warning("warning: the judge is not as it was exported: %s", ", ".join(judge.changed))
    return judge


def _open_spec(spec: str | JudgeSpec, allow_changed: bool) -> tuple[JudgeSpec, tuple[str, ...]]:
    """Return a spec, and what is not as it was exported."""
    if isinstance(spec, JudgeSpec):
        return spec, ()
    try:
        return load_spec(spec), ()
    except InputError:
        if not allow_changed:
            raise
    return load_spec(spec, allow_changed=True), ("the spec was edited",)
