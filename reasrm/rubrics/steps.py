"""Where each row stands: what its answers are worth, whether one became a rubric, what is to be asked next.

All of it follows from the row, its answers and the verdicts of the verifier, so a run that was killed goes on where it
stopped, whatever was in flight, and changed checks change what is kept without asking anybody again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reasrm.criteria.alike import Texts, Word, undecided
from reasrm.criteria.checks import Fault, check_rubric
from reasrm.hashing import derive_seed, digest
from reasrm.records import Order
from reasrm.requests import PromptMessage, Request, SamplingParams
from reasrm.rubric import Rubric
from reasrm.rubrics.config import AuthorSection, SynthesisConfig
from reasrm.rubrics.findings import Finding, Rejected, can_separate, read_findings, render_findings
from reasrm.rubrics.prompts import (
    contrast_prompt,
    diagnosis_prompt,
    prompt_only_prompt,
    self_prompt,
    synthesis_prompt,
)
from reasrm.rubrics.reading import CheckedRubric, answer_text, read_rubric
from reasrm.rubrics.tasks import Task
from reasrm.rubrics.verify import RubricOutcome

__all__ = [
    "STEPS",
    "Answers",
    "Attempt",
    "AuthorCall",
    "Standing",
    "order_seen",
    "rubrics_of",
    "stand",
]

STEPS = ("contrast", "diagnose", "synthesise", "prompt_only", "self")
Answers: TypeAlias = Callable[[str], Mapping[str, Any] | None]
"""The recorded answer to a call, or None."""
Faults: TypeAlias = dict[str, Sequence[Fault]]
Words: TypeAlias = Mapping[Texts, Word]


@dataclass(frozen=True, slots=True)
class AuthorCall:
    """One request to the author.

    Args:
        step: One of `STEPS`.
        attempt: How often this was asked before.
        about: Of a diagnosis, the response's number in an order that says nothing of the label; else None.
    """

    step: str
    attempt: int
    about: int | None = None

    def name(self, row: str) -> str:
        """Return the name of the call: its record, its request and, if it is one, its rubric."""
        step = self.step if self.about is None else f"{self.step}-{self.about}"
        return f"{row}|{step}|{self.attempt}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer and what it is worth.

    Args:
        call: What was asked.
        record: The answer.
        reason: Why it is of no use; None where it is.
        detail: The words that show it.
        written: The rubric; None of a diagnosis.
    """

    call: AuthorCall
    record: Mapping[str, Any]
    reason: str | None = None
    detail: str | None = None
    written: CheckedRubric | None = None


@dataclass(slots=True)
class Standing:
    """Where a row stands.

    Args:
        attempts: Its answers.
        due: What is to be asked now.
        unrelated: Criteria of a rubric, in pairs, about which a model is to be asked first.
        waiting: The name of a rubric that waits to be verified.
        kept: The attempt whose rubric is kept.
        reason: Why none is, as far as is known: the last rejection.
        failed: Steps of the calls that failed.
    """

    attempts: list[Attempt] = field(default_factory=list)
    due: list[AuthorCall] = field(default_factory=list)
    unrelated: tuple[Texts, ...] = ()
    waiting: str | None = None
    kept: Attempt | None = None
    reason: str | None = None
    failed: list[str] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more happens."""
        return not self.due and not self.unrelated and self.waiting is None


def stand(
    config: SynthesisConfig,
    task: Task,
    answers: Answers,
    failed: Collection[str],
    outcomes: Mapping[str, RubricOutcome] | None,
    faults: Faults,
    words: Words | None = None,
) -> tuple[Standing, Callable[[AuthorCall], Request]]:
    """Return where a row stands, and what builds the requests that are due.

    Args:
        config: The settings.
        task: The row.
        answers: What was answered.
        failed: Names of calls, and of verifications, that failed.
        outcomes: What came of verifying, by name of rubric; None where nobody verifies.
        faults: What the checks found, which take longest, by name of rubric; filled here.
        words: What a model said of criteria.
    """
    standing = Standing()
    row = _Row(config, task, answers, failed, outcomes, faults, words or {}, standing)
    row.go()
    return standing, row.request


def rubrics_of(
    config: SynthesisConfig, task: Task, answers: Answers, faults: Faults, words: Words | None = None
) -> list[tuple[AuthorCall, Rubric]]:
    """Return every rubric of a row that passed the checks, whatever was found out about it since."""
    standing = Standing()
    row = _Row(config, task, answers, (), None, faults, words or {}, standing, goes_on=True)
    row.go()
    passed = (one for one in standing.attempts if one.reason is None)
    return [(one.call, one.written.rubric) for one in passed if one.written is not None]


@dataclass(slots=True)
class _Row:
    config: SynthesisConfig
    task: Task
    answers: Answers
    failed: Collection[str]
    outcomes: Mapping[str, RubricOutcome] | None
    faults: Faults
    words: Words
    standing: Standing
    diagnoses: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    goes_on: bool = False

    def go(self) -> None:
        """Go through all answers of the row."""
        if self.config.method != "profiles":
            self.write(self.config.method)
            return
        for about in range(len(self.task.responses)):
            self.diagnose(about)
        if len(self.diagnoses) == len(self.task.responses):
            if can_separate(list(self.diagnoses.values())):
                self.write("synthesise")
            else:
                self.standing.reason = "not_discriminative"

    def diagnose(self, about: int) -> None:
        """Go through the diagnoses of one response, up to the first that holds."""
        response = self.task.responses[self.task.by_text[about]]
        for attempt in range(self.config.author.samples):
            call = AuthorCall("diagnose", attempt, about)
            record = self._answer(call)
            if record is None:
                return
            text = answer_text(record)
            found = text if isinstance(text, Rejected) else read_findings(text, self.task.request, response)
            if not isinstance(found, Rejected):
                self.standing.attempts.append(Attempt(call, record))
                self.diagnoses[about] = found
                return
            self._reject(call, record, found)
            if found.reason == "prompt_too_long":
                return

    def write(self, step: str) -> None:
        """Go through the rubrics of a row, up to the first that is kept."""
        for attempt in range(self.config.author.samples):
            call = AuthorCall(step, attempt)
            record = self._answer(call)
            if record is None:
                return
            written = self._read(call, record)
            if self.standing.unrelated:
                return
            if isinstance(written, Rejected):
                self._reject(call, record, written)
                if written.reason == "prompt_too_long":
                    return
            elif self._settle(call, record, written):
                return

    def _settle(self, call: AuthorCall, record: Mapping[str, Any], written: CheckedRubric) -> bool:
        """Ask what the verifier said of a rubric; return whether no other is wanted."""
        name, standing = call.name(self.task.id), self.standing
        unrelated = any(self.words.get(texts) == "failed" for texts in self._undecided(written.rubric))
        if unrelated or (self.outcomes is not None and name in self.failed):
            standing.reason = "call_failed"
            detail = "relation of criteria" if unrelated else "verification"
            standing.attempts.append(Attempt(call, record, "call_failed", detail, written))
            return True
        if self.outcomes is None:
            standing.kept = Attempt(call, record, written=written)
            standing.attempts.append(standing.kept)
            return not self.goes_on
        outcome = self.outcomes.get(name)
        if outcome is None:
            standing.waiting = name
            standing.attempts.append(Attempt(call, record, written=written))
            return True
        verdict = outcome.verification
        if verdict.reason is None:
            standing.kept = Attempt(call, record, written=written)
            standing.attempts.append(standing.kept)
            return True
        detail = f"{verdict.right} of {verdict.asked} right"
        standing.reason = verdict.reason
        standing.attempts.append(Attempt(call, record, verdict.reason, detail, written))
        return False

    def _answer(self, call: AuthorCall) -> Mapping[str, Any] | None:
        """Return the answer to a call; note that it is due, or failed, where there is none."""
        name = call.name(self.task.id)
        record = self.answers(name)
        if record is None and name in self.failed:
            self.standing.reason = "call_failed"
            self.standing.failed.append(call.step)
        elif record is None:
            self.standing.due.append(call)
        return record

    def _reject(self, call: AuthorCall, record: Mapping[str, Any], why: Rejected) -> None:
        self.standing.reason = why.reason
        self.standing.attempts.append(Attempt(call, record, why.reason, why.detail))

    def _read(self, call: AuthorCall, record: Mapping[str, Any]) -> CheckedRubric | Rejected:
        text = answer_text(record)
        if isinstance(text, Rejected):
            return text
        checks, known = self.config.checks, None
        if call.step == "synthesise":
            known = {number for _, numbers in self._rendered() for number in numbers}

        def find_faults(rubric: Rubric) -> Sequence[Fault]:
            name = call.name(self.task.id)
            if name not in self.faults:
                seen = () if call.step == "prompt_only" else self.task.responses
                found = check_rubric(rubric, self.task.request, seen, checks, self.words)
                if not found or checks.faulty == "drop":
                    unknown = (texts for texts in self._undecided(rubric) if texts not in self.words)
                    self.standing.unrelated = tuple(unknown)
                if self.standing.unrelated:
                    return found
                self.faults[name] = found
            return self.faults[name]

        return read_rubric(text, find_faults, drop_faulty=checks.faulty == "drop", known=known)

    def _undecided(self, rubric: Rubric) -> tuple[Texts, ...]:
        """Return the pairs of criteria about which a model is asked."""
        checks = self.config.checks
        if checks.relate is None:
            return ()
        return undecided(rubric.criteria[: checks.most], least=checks.relate.least, alike=checks.alike)

    def _rendered(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the diagnoses in drawn places."""
        places = {index: about for about, index in enumerate(self.task.by_text)}
        drawn = [places[index] for index in self.task.drawn(self.config.seed)]
        return [
            render_findings(self.diagnoses[about], n)
            for n, about in enumerate(drawn, 1)
            if about in self.diagnoses
        ]

    def request(self, call: AuthorCall) -> Request:
        """Build a request."""
        prompt, responses, step = self.task.row.prompt, self.task.responses, call.step
        key = ""
        if call.about is not None:
            response = responses[self.task.by_text[call.about]]
            messages, key = diagnosis_prompt(prompt, response), digest(response)
        elif step == "contrast":
            messages = contrast_prompt(prompt, responses)
        elif step == "prompt_only":
            messages = prompt_only_prompt(prompt)
        elif step == "self":
            messages = self_prompt(prompt, [responses[n] for n in self.task.drawn(self.config.seed)])
        else:
            drawn = self.task.drawn(self.config.seed)
            best_first = [drawn.index(n) + 1 for n in range(len(responses))]
            messages = synthesis_prompt(prompt, [text for text, _ in self._rendered()], best_first)
        seed = derive_seed("author", self.config.seed, self.task.id, step, key, call.attempt)
        return _request(call.name(self.task.id), messages, self.config.author, seed)


def _request(name: str, messages: tuple[PromptMessage, ...], author: AuthorSection, seed: int) -> Request:
    """Return what a backend gets."""
    sampling = SamplingParams(
        temperature=author.temperature, top_p=author.top_p, max_tokens=author.max_tokens, seed=seed
    )
    return Request(id=name, messages=messages, sampling=sampling)


def order_seen(config: SynthesisConfig, task: Task) -> Order | None:
    """Return in which order the author saw a pair, in terms of the better one first; None where it had none."""
    if config.method == "prompt_only" or len(task.responses) != 2:
        return None
    if config.method == "contrast":
        return Order.AB
    return Order.AB if task.drawn(config.seed)[0] == 0 else Order.BA
