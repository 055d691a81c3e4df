"""Synthesis: pairs in, verified rubrics out.

Rounds: the author is asked what is due, then a model, if one is named, about criteria whose words leave it open whether
they repeat each other, then the judge about the rubrics that passed the checks; where one was rejected and samples are
left, the author is asked again; where a quota is open, more rows are admitted. Every answer is one
durable line before anything depends on it, and what is finally written is a function of rows and answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasrm.criteria.alike import Texts
from reasrm.durable.lookup import open_records
from reasrm.generation.admission import Admission, source_of
from reasrm.generation.base import Backend
from reasrm.generation.budget import budget_beside
from reasrm.generation.run import Asked, AskingProgress, DurableRun, RunControl, RunEnd
from reasrm.hashing import request_hash
from reasrm.judging.inputs import InputRow, JudgeInput
from reasrm.requests import Completion, Request
from reasrm.rubrics.assemble import Output, RubricFiles, assemble
from reasrm.rubrics.config import SynthesisConfig
from reasrm.rubrics.prompts import PROMPT_HASH
from reasrm.rubrics.reading import recorded
from reasrm.rubrics.relate import Related, Relator
from reasrm.rubrics.steps import Answers, AuthorCall, Faults, Standing, Words, rubrics_of, stand
from reasrm.rubrics.tasks import Task, Unasked, induced_pairs, task_of
from reasrm.rubrics.verify import Candidate, Verified, Verifier

__all__ = ["SynthesisResult", "SynthesisSetup", "admit", "first_request", "synthesize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSetup:
    """Everything a synthesis needs.

    Args:
        config: The settings.
        rows: The pairs.
        author: Who writes.
        verifier: Who verifies, or None.
        relator: Who compares criteria, or None.
    """

    config: SynthesisConfig
    rows: JudgeInput
    author: Backend
    verifier: Verifier | None = None
    relator: Relator | None = None

    @property
    def needs_labels(self) -> bool:
        """Whether rows without a label are of no use."""
        return self.config.shows_labels or self.verifier is not None

    def task(self, item: InputRow) -> Task | Unasked:
        """Return what is asked about a line of the input, or why nothing is."""
        return task_of(item, needs_label=self.needs_labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisResult(RunEnd):
    """What a run left behind; its `output` holds the author's answers.

    Args:
        files: Where the rest is.
        progress: Final counts.
        written: What was written and counted; None if the run was stopped before its end.
        verified: What the judge said, or None.
        related: What a model said of criteria, or None.
    """

    files: RubricFiles
    progress: AskingProgress
    written: Output | None
    verified: Verified | None = None
    related: Related | None = None


def synthesize(setup: SynthesisSetup, control: RunControl | None = None) -> SynthesisResult:
    """Write rubrics for the rows, verify them, and write down what became of everything.

    Raises:
        LockedError: Another process writes this output.
        ConfigError: The output belongs to another run, or would replace an input.
        InputError: The input is unusable as a whole.
        EnvironmentProblem: Disk, permissions, or a model that cannot be reached.
    """
    control = replace(control or RunControl(), budget=setup.config.limits)
    files = RubricFiles(Path(setup.config.output))
    files.refuse_foreign()
    files.refuse_inputs(setup.rows.paths)
    with DurableRun(files.calls, control, kind="rubrics", inputs=setup.rows.paths) as run:
        scan = setup.rows.scan()
        run.scanned(scan)
        asked = run.start(
            {"input_sha256": scan.sha256, "source": scan.source, **_identity(setup)},
            setup.rows.contents,
            {"author": setup.author},
        )
        work = _Work(replace(setup, author=asked["author"]), run)
        finished = work.run_rounds()
        written = None
        if finished:
            run.check_all_done(scan.num_items, work.num_read)
            with open_records(files.calls) as index:
                written = assemble(
                    setup.config,
                    setup.verifier,
                    work.verified,
                    work.related,
                    files,
                    (
                        (item, task, work.stand(task, index.get)[0] if isinstance(task, Task) else None)
                        for item in setup.rows
                        for task in (setup.task(item),)
                    ),
                    work.admission.admitted,
                    setup.author.name,
                    work.chosen(),
                )
        return run.end(
            SynthesisResult,
            files=files,
            progress=work.progress,
            written=written,
            verified=work.verified,
            related=work.related,
        )


def admit(setup: SynthesisSetup) -> Admission[None]:
    """Read the input and decide which rows are asked about first."""
    config = setup.config
    admission: Admission[None] = Admission(config.quota, config.seed)
    for item in setup.rows:
        if isinstance(setup.task(item), Task):
            admission.add(source_of(item.row, config.group_by), item.id, None)
    admission.close()
    return admission


def first_request(setup: SynthesisSetup) -> Request | None:
    """Return the first request of the first row, or None if nobody is asked about any."""
    for item in setup.rows:
        task = setup.task(item)
        if isinstance(task, Task):
            standing, build = stand(setup.config, task, lambda name: None, (), None, {})
            return build(standing.due[0])
    return None


def _identity(setup: SynthesisSetup) -> dict[str, Any]:
    """What an answer depends on. Checks, verification, quotas and samples only choose among answers."""
    author = setup.config.author
    return {
        "method": setup.config.method,
        "prompt": PROMPT_HASH,
        "author": setup.author.identity,
        "temperature": author.temperature,
        "top_p": author.top_p,
        "max_tokens": author.max_tokens,
        "seed": setup.config.seed,
    }


@dataclass(slots=True)
class _Work:
    """The rounds of a run."""

    setup: SynthesisSetup
    run: DurableRun
    progress: AskingProgress = field(default_factory=AskingProgress)
    kept: dict[str, str] = field(default_factory=dict)
    verified: Verified | None = None
    related: Related | None = None
    num_read: int = 0
    admission: Admission[None] = field(init=False)
    _failed: set[str] = field(default_factory=set)
    _pairs: dict[Texts, None] = field(default_factory=dict)
    _begun: set[Path] = field(default_factory=set)
    _faults: Faults = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.setup.verifier is not None:
            self.verified = Verified()
        self.admission = admit(self.setup)
        self._failed = {str(error["id"]) for error in self.run.journal.errors()}

    def run_rounds(self) -> bool:
        """Ask until nothing is left to ask; return False if something came first."""
        verifier, relator = self.setup.verifier, self.setup.relator
        while True:
            self.run.spend_within(self._control(self.run.journal.output).budget)
            with self.run.working():
                num_due, num_waiting, num_unrelated = self._ask()
            if not self.run.whole:
                return False
            if num_unrelated and relator is not None:
                self.related = relator(self._pairs, self._control(relator.output))
                if self.related.signum is not None or self.related.budget is not None:
                    return False
            if num_due or num_unrelated:
                continue
            if verifier is not None and (
                num_waiting or (verifier.answers not in self._begun and verifier.answers.exists())
            ):
                self._verify(verifier)
                if self.verified is not None and not self.verified.is_whole:
                    return False
            elif not self.admission.admit_more(lambda row_id, _: row_id in self.kept):
                return True

    def chosen(self) -> set[str]:
        """Return the ids of the rows whose rubrics teach a writer: the first of each request."""
        writer, taken = self.setup.config.writer, Counter[str]()
        found = set()
        for row_id in sorted(self.kept) if writer is not None else ():
            taken[self.kept[row_id]] += 1
            if writer is not None and taken[self.kept[row_id]] <= writer.per_prompt:
                found.add(row_id)
        return found

    def stand(self, task: Task, answers: Answers) -> tuple[Standing, Any]:
        """Return where a row stands."""
        outcomes = None if self.verified is None else self.verified.outcomes
        return stand(self.setup.config, task, answers, self._failed, outcomes, self._faults, self._words)

    @property
    def _words(self) -> Words:
        return {} if self.related is None else self.related.words

    def _control(self, *outputs: Path) -> RunControl:
        """Return how outputs are written: what is left of the common budget, and what only their first run is told."""
        control, setup = self.run.control, self.setup
        again = self._begun.issuperset(outputs)
        self._begun.update(outputs)
        others = [self.run.journal.output]
        others += [] if setup.relator is None else [setup.relator.output]
        others += [] if setup.verifier is None else [setup.verifier.answers, setup.verifier.without]
        # Of an earlier run, what is begun anew does not count.
        spent = (path for path in others if path in self._begun or not control.restart)
        return replace(
            control,
            budget=budget_beside(control.budget, (path for path in spent if path not in outputs)),
            restart=control.restart and not again,
            retry_errors=control.retry_errors and not again,
            on_scan=None,
            on_start=None,
        )

    def _ask(self) -> tuple[int, int, int]:
        """Make all calls that are due; return how many, and how many rubrics wait to be verified, or compared first."""
        counts = Counter[str]()
        with (
            open_records(self.run.journal.output) as index,
            closing(self.run.answers(self.setup.author, self._due(index.get, counts))) as answers,
        ):
            for asked, completion in answers:
                self._take(asked, completion)
        return counts["due"], counts["waiting"], counts["unrelated"]

    def _due(self, answers: Answers, counts: Counter[str]) -> Iterator[tuple[Asked[AuthorCall], Request]]:
        """Read the input once more and build the requests that are due."""
        self.num_read = 0
        self.kept.clear()
        self.progress = AskingProgress(
            total=len(self.admission.admitted),
            answers=self.run.journal.num_done,
            errors=self.run.journal.num_errors,
        )
        self.run.tell(self.progress)
        for item in self._readable():
            task = self.setup.task(item)
            if not isinstance(task, Task) or item.id not in self.admission.admitted:
                continue
            standing, build = self.stand(task, answers)
            self.progress.settled += standing.is_settled
            counts["waiting"] += standing.waiting is not None
            counts["unrelated"] += bool(standing.unrelated)
            self._pairs |= dict.fromkeys(standing.unrelated)
            if standing.kept is not None:
                self.kept[item.id] = request_hash(task.row.prompt)
                self.progress.kept += 1
            for call in standing.due:
                if self.run.stopping:
                    return
                counts["due"] += 1
                request = build(call)
                where = {"row": item.id, "step": call.step}
                yield Asked(request.id, item.place, item.digest, call, where), request

    def _readable(self) -> Iterator[InputRow]:
        """Yield the rows; what cannot be read is a failure."""
        for item in self.setup.rows:
            self.num_read += 1
            if item.error is None:
                yield item
            elif not self.run.journal.done(item.id):
                self.run.fail(item, item.error.code, str(item.error))

    def _take(self, asked: Asked[AuthorCall], completion: Completion) -> None:
        """Record an answer; a call that failed is recorded."""
        if completion.finish_reason == "error":
            self._failed.add(asked.id)
        else:
            self.run.put(asked, recorded(completion))
        self.progress.answers = self.run.journal.num_done
        self.progress.errors = self.run.journal.num_errors
        self.run.tell(self.progress)

    def _verify(self, verifier: Verifier) -> None:
        with open_records(self.run.journal.output) as index:
            self.verified = verifier(
                self._candidates(index.get), self._control(verifier.answers, verifier.without)
            )
        self._failed.update(self.verified.failed)

    def _candidates(self, answers: Answers) -> Iterator[Candidate]:
        """Yield every rubric that passed the checks, with the pairs that it is tested on."""
        for item in self.setup.rows:
            task = self.setup.task(item)
            if not isinstance(task, Task):
                continue
            pairs = tuple(induced_pairs(task))
            for call, rubric in rubrics_of(self.setup.config, task, answers, self._faults, self._words):
                yield Candidate(call.name(task.id), rubric, pairs)
