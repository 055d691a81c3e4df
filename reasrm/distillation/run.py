"""Distillation: pairs in, teachers' traces with the right verdict out.

Pass 1 asks a teacher who knows nothing, one trace per comparison at a time, until one has the label as its verdict or
the samples are used up; so the number of attempts is the comparison's difficulty (as R1-Reward counts it, arXiv
2505.02835), and easy pairs cost one call. Pass 2 shows what failed, label and wrong trace, to a second teacher (RM-R1,
arXiv 2505.02387 §2.2), and unlike there its traces are verified like any other, and searched for signs that their
writer had been told. Every answer is one durable line of `calls.jsonl` before anything depends on it; the same call of
`distil` continues after any interruption, and what it finally writes is a function of the answers alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasrm.distillation.assemble import DistillFiles, assemble
from reasrm.distillation.betrayal import PATTERNS, find_betrayal, own_texts
from reasrm.distillation.plan import DistillSetup, Plan, Teacher, make_plan, pair_of
from reasrm.distillation.repair import PROMPT_HASH, repair_prompt
from reasrm.distillation.slots import PASSES, Pass, Slot, TeacherCall, call_name, slot_name
from reasrm.distillation.traces import completion_text, read_written, reason_to_reject, shown
from reasrm.durable.lookup import RecordIndex, open_records
from reasrm.generation.ledger import Ledger
from reasrm.generation.run import AskingProgress, DurableRun, RunControl, RunEnd
from reasrm.hashing import derive_seed, digest
from reasrm.judging.batch import naming_old_codes
from reasrm.judging.inputs import Scan
from reasrm.judging.plan import check_shown, check_sightings
from reasrm.records import Comparison, Order, PreferencePair
from reasrm.requests import Completion, Request
from reasrm.runs.origin import checks_of, write_origin

__all__ = ["DistillProgress", "DistillResult", "check_rows", "distil"]


@dataclass(slots=True)
class DistillProgress(AskingProgress):
    """How far a distillation is; its items are comparisons, in the orders asked.

    Args:
        tokens: Prompt and completion tokens of the answers, where counted.
        statuses: Parse status → answers.
    """

    tokens: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillResult(RunEnd):
    """What a run left behind; its `output` holds the answers.

    Args:
        files: Where the rest is.
        progress: Final counts.
        plan: What was asked.
        ledger: What became of it; None if the run was stopped before its end.
        num_sft_rows: Rows of the SFT file.
    """

    files: DistillFiles
    progress: DistillProgress
    plan: Plan
    ledger: Ledger | None
    num_sft_rows: int = 0


def distil(setup: DistillSetup, control: RunControl | None = None) -> DistillResult:
    """Ask the teachers whatever has not been asked yet, then write SFT rows, rejected traces, ledger and hints.

    Raises:
        LockedError: Another process writes this output.
        ConfigError: The output belongs to another run, or would replace an input.
        InputError: The input is unusable as a whole.
        EnvironmentProblem: Disk, permissions, or a teacher that cannot be reached.
    """
    control = replace(control or RunControl(), budget=setup.budget)
    files = DistillFiles(Path(setup.config.output))
    files.refuse_foreign()
    files.refuse_inputs(setup.rows.paths)
    with DurableRun(files.calls, control, kind="distill", inputs=setup.rows.paths) as run:
        scan = setup.rows.scan()
        run.scanned(scan)
        rubrics = check_rows(setup, scan)
        plan, invalid = make_plan(setup)
        run.check_all_done(scan.num_items, plan.num_rows)
        identity = {"input_sha256": scan.sha256, "source": scan.source, **rubrics, **_identity(setup)}
        with naming_old_codes(setup.spec):
            asked = run.start(identity, setup.rows.contents, setup.backends)
        for _ in run.todo(invalid):  # records them as failed
            pass
        rounds = _Rounds(setup.asking(asked), plan, run)
        finished = False
        with run.working():
            finished = rounds.ask_all()
        ledger, num_rows = None, 0
        if finished:
            ledger, num_rows = assemble(setup, plan, rounds.slots, files)
            paths = zip(setup.rows.paths, scan.sha256, strict=True)
            checks = [check for path, sha256 in paths for check in checks_of(path, sha256)]
            write_origin(files.folder, [files.sft.name], checks)
        own = {"files": files, "progress": rounds.progress, "plan": plan, "ledger": ledger}
        return run.end(DistillResult, **own, num_sft_rows=num_rows)


def check_rows(setup: DistillSetup, scan: Scan) -> dict[str, Any]:
    """Refuse rows that cannot be shown, or whose rubrics carry their labels; return what of this is identity.

    Raises:
        ConfigError: The spec never shows what the rows say, or authors of rubrics knew the labels.
    """
    place, given = str(setup.rows.paths[0]), setup.rows.identity["rubrics"]
    check_shown(setup.spec, scan, place)
    saw = check_sightings(setup.spec, scan, place, allowed=setup.config.rubrics_that_saw_labels)
    return {
        **({} if given is None else {"rubrics": given}),
        **({"rubrics_that_saw_labels": True} if saw else {}),
    }


def _identity(setup: DistillSetup) -> dict[str, Any]:
    """What an answer depends on. Agreement, quotas, grouping, hints and limit only choose among answers."""
    config = setup.config
    repair: dict[str, Any] | None = None
    if setup.repair is not None and config.repair is not None:
        patterns = digest([PATTERNS, config.repair.betrayal])
        repair = {**_who(setup.repair), "prompt": PROMPT_HASH, "betrayal": patterns}
    return {
        "spec": setup.spec.name,
        "spec_hash": setup.spec.hash,
        "teacher": _who(setup.teacher),
        "repair": repair,
        "orders": config.orders,
        "keep": config.keep,
        "thinking": config.thinking,
        "seed": config.seed,
    }


def _who(teacher: Teacher) -> dict[str, Any]:
    sampling = teacher.sampling
    return {
        "judge": teacher.judge.identity,
        "samples": teacher.section.samples,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in flight."""

    slot: str
    call: TeacherCall
    row: PreferencePair | Comparison
    order: Order
    place: str
    digest: bytes
    error: None = None

    @property
    def id(self) -> str:
        """The name of the call."""
        return call_name(self.slot, self.call)

    @property
    def where(self) -> dict[str, Any]:
        """What its record says of it beside the id."""
        order, call = self.order.value, self.call
        return {"pair": self.row.id, "order": order, "pass": call.name, "attempt": call.attempt}


class _Rounds:
    """The asking half of a run: rounds of calls until every slot is settled and no quota is open."""

    def __init__(self, setup: DistillSetup, plan: Plan, run: DurableRun) -> None:
        self.slots: dict[str, Slot] = {}
        self.progress = DistillProgress()
        self._setup = setup
        self._plan = plan
        self._run = run
        self._limits = setup.limits
        for record in run.journal.records():
            self._slot(record).note(record)
            self._count(record)
        for record in run.journal.errors():
            if "pass" in record:
                self._slot(record).failed = record["pass"]
            self.progress.errors += 1

    def ask_all(self) -> bool:
        """Ask until nothing is left to ask; return False if a signal came first."""
        while not self._run.stopping:
            todo = self._todo()
            self._report(todo)
            name = next((name for name in PASSES if todo[name]), None)
            if name is not None:
                self._ask(name, todo[name])
            elif not self._plan.admit_more(self._is_kept):
                return True
        return False

    def _todo(self) -> dict[Pass, dict[str, TeacherCall]]:
        todo: dict[Pass, dict[str, TeacherCall]] = {name: {} for name in PASSES}
        for pair, orders in self._plan.pairs.items():
            for order in orders:
                slot = slot_name(pair, order)
                call = self.slots.setdefault(slot, Slot()).next_call(self._limits)
                if call is not None:
                    todo[call.name][slot] = call
        return todo

    def _is_kept(self, pair: str, orders: tuple[Order, ...]) -> bool:
        solved = [self.slots[slot_name(pair, order)].solved for order in orders]
        return all(solved) if self._setup.config.agreement else any(solved)

    def _ask(self, name: Pass, todo: Mapping[str, TeacherCall]) -> None:
        """Make one call for each of the slots."""
        teacher = self._setup.teacher if name == "teacher" else self._setup.repair
        if teacher is None:
            return
        with ExitStack() as stack:
            index = None
            if name == "repair":
                index = stack.enter_context(open_records(self._run.journal.output))
            requests = self._requests(todo, teacher, index)
            backend = teacher.judge.backend
            for asked, completion in stack.enter_context(closing(self._run.answers(backend, requests))):
                self._take(asked, teacher, completion)

    def _requests(
        self, todo: Mapping[str, TeacherCall], teacher: Teacher, index: RecordIndex | None
    ) -> Iterator[tuple[_Asked, Request]]:
        """Read the input once more and build the requests that are due."""
        for item in self._setup.rows:
            for order in self._plan.pairs.get(item.id, ()):
                slot = slot_name(item.id, order)
                call = todo.get(slot)
                if self._run.stopping:
                    return
                if call is None:
                    continue
                asked = _Asked(slot, call, pair_of(item), order, item.place, item.digest)
                request = self._first_request(asked) if index is None else self._repair(asked, teacher, index)
                yield asked, request

    def _first_request(self, asked: _Asked) -> Request:
        request = self._setup.requests(asked.row)[asked.order, asked.call.attempt]
        return replace(request, id=asked.id, together=1)

    def _repair(self, asked: _Asked, teacher: Teacher, index: RecordIndex) -> Request:
        attempt = self.slots[asked.slot].wrong_attempt
        wrong = index.get(call_name(asked.slot, TeacherCall("teacher", attempt))) if attempt >= 0 else None
        spec = self._setup.spec
        seed = derive_seed(
            self._setup.config.seed, asked.row.id, f"{asked.order}|repair|{asked.call.attempt}"
        )
        return Request(
            id=asked.id,
            messages=repair_prompt(
                spec, shown(asked.row, asked.order), None if wrong is None else wrong["text"]
            ),
            sampling=replace(teacher.sampling, seed=seed),
            structural=spec.structural,
            template_options=spec.template_options,
            thinking_start=spec.grammar.thinking_start,
        )

    def _take(self, asked: _Asked, teacher: Teacher, completion: Completion) -> None:
        """Record an answer; a call that failed is recorded."""
        if completion.finish_reason == "error":
            self.slots[asked.slot].failed = asked.call.name
            self.progress.errors += 1
        else:
            record = {"teacher": teacher.judge.label["name"], **self._read(asked, completion)}
            self._run.put(asked, record)
            record |= asked.where
            self.slots[asked.slot].note(record)
            self._count(record)
        slot = self.slots[asked.slot]
        self.progress.settled += slot.next_call(self._limits) is None
        self.progress.kept += slot.solved and completion.finish_reason != "error"
        self._report()

    def _read(self, asked: _Asked, completion: Completion) -> dict[str, Any]:
        """Return what an answer is worth, and the answer."""
        config, comparison = self._setup.config, shown(asked.row, asked.order)
        written = completion_text(completion.text, completion.reasoning, config.thinking)
        judgment = read_written(self._setup.spec, completion, written)
        label = None if comparison.target is None else comparison.target.winner
        reason, detail = reason_to_reject(judgment, label, completion.text), judgment.detail
        if reason is None and asked.call.name == "repair":
            extra = () if config.repair is None else config.repair.betrayal
            detail = find_betrayal(written, own_texts(comparison), extra)
            reason = None if detail is None else "betrayed"
        optional = {"detail": detail, "reasoning": completion.reasoning}
        return {
            "reason": reason,
            "status": judgment.status.value,
            "verdict": None if judgment.verdict is None else judgment.verdict.winner,
            **{key: value for key, value in optional.items() if value is not None},
            "text": completion.text,
            "num_prompt_tokens": completion.num_prompt_tokens,
            "num_tokens": completion.num_tokens,
            "finish_reason": completion.finish_reason,
            "attempts": completion.attempts,
        }

    def _slot(self, record: Mapping[str, Any]) -> Slot:
        return self.slots.setdefault(slot_name(record["pair"], Order(record["order"])), Slot())

    def _count(self, record: Mapping[str, Any]) -> None:
        self.progress.answers += 1
        self.progress.statuses[record["status"]] += 1
        self.progress.tokens += (record["num_prompt_tokens"] or 0) + (record["num_tokens"] or 0)

    def _report(self, todo: Mapping[Pass, Mapping[str, TeacherCall]] | None = None) -> None:
        progress = self.progress
        if todo is not None:
            progress.total = self._plan.num_slots
            progress.settled = progress.total - sum(map(len, todo.values()))
            names = (slot_name(pair, order) for pair, orders in self._plan.pairs.items() for order in orders)
            progress.kept = sum(self.slots[name].solved for name in names)
        self._run.tell(progress)
