"""A teacher that works from a script: it reads the prompt as any model would and judges it, sometimes badly.

It is a backend like an endpoint: it sees messages, never labels, ids of splits or hidden rules. Its noise is what real
teachers show:

- a *careless* trace finds false evidence for one or two rules; its verdict then follows the false findings, or the
  shortcut. Where that verdict happens to be right, rejection by label keeps a wrong critique: the case that RM-NLHF
  (arXiv 2601.07349) is about;
- a *malformed* trace has no verdict, two verdicts, or breaks off.

Which world it is asked about it sees from the prompt. How much it writes is its style: evidence before every mark, bare
marks, or the verdict alone.

Asked twice with different seeds it errs differently; asked with the same seed it repeats itself.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from reasrm.config import Config
from reasrm.hashing import derive_seed, digest
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Side
from reasrm.requests import Completion, Request
from reasrm.sandbox.writing import judgment_text, verdict_text
from reasrm.world.critiques import Clause, verdict_of
from reasrm.world.reading import READERS, Reader, read_clauses
from reasrm.world.rules import Rule, RuleCheck

__all__ = ["ScriptedTeacher", "TeacherConfig"]

_OTHER: dict[Side, Side] = {"A": "B", "B": "A"}


class TeacherConfig(Config):
    """How good the teacher is.

    Args:
        error_rate: Share of traces with one or two false findings.
        follow_shortcut: Share of those whose verdict follows the shortcut instead of the findings.
        malformed_rate: Share of traces without exactly one readable verdict.
        style: What it writes: `evidence`, then the mark, for each rule and side; `marks` alone; or only the `answer`.
        seed: Of its errors.
    """

    error_rate: float = Field(default=0.4, ge=0, le=1)
    follow_shortcut: float = Field(default=0.5, ge=0, le=1)
    malformed_rate: float = Field(default=0.04, ge=0, le=1)
    style: Literal["evidence", "marks", "answer"] = "evidence"
    seed: int = Field(default=0, ge=0)

    @property
    def fingerprint(self) -> str:
        """Tell two teachers apart; the usual style is younger than the others' names."""
        usual = {"style"} if self.style == "evidence" else None
        return digest(self.model_dump(mode="json", exclude=usual))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the teacher makes of a prompt."""

    reader: Reader
    rules: tuple[Rule, ...]
    responses: tuple[str, str]


class ScriptedTeacher:
    """A backend that judges the world by its rules, with the configured errors.

    Args:
        spec: In whose form it answers; it must mark critique and verdict by tags.
        config: Its errors.

    Raises:
        ConfigError: It cannot write in the spec's form.
    """

    name = "scripted-teacher"

    def __init__(self, spec: JudgeSpec, config: TeacherConfig | None = None) -> None:
        self._spec = spec
        self._config = config or TeacherConfig()
        judgment_text(spec, (), "A")

    @property
    def identity(self) -> dict[str, str]:
        """The configuration of its errors."""
        return {"model": self.name, "fingerprint": self._config.fingerprint}

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield a judgment per request, in order; text that is none of the world's gets an answer without verdict."""
        for request in requests:
            seen = _read(request)
            if seen is None:
                text = "this is not a comparison that i can read"
            else:
                text = self._judge(random.Random(self._seed(request)), seen)
            yield Completion(request.id, text=text, num_tokens=len(text.split()))

    def close(self) -> None:
        """Nothing to release."""

    def _seed(self, request: Request) -> int:
        prompt = "\n".join(message.text for message in request.messages)
        return derive_seed("teacher", self._config.seed, request.sampling.seed, prompt)

    def _judge(self, draw: random.Random, seen: _Seen) -> str:
        clauses = [seen.reader.gold(rule, *seen.responses) for rule in seen.rules]
        careless = draw.random() < self._config.error_rate
        if careless:
            for n in draw.sample(range(len(clauses)), min(len(clauses), draw.choice((1, 2)))):
                clauses[n] = _flip(draw, clauses[n], seen)
        verdict = verdict_of(clauses)
        if verdict is None or (careless and draw.random() < self._config.follow_shortcut):
            verdict = _shortcut(seen) or _toss(draw)
        text = self._written(clauses, verdict)
        if draw.random() >= self._config.malformed_rate:
            return text
        answer = verdict_text(self._spec, verdict)
        broken = (
            text.removesuffix(answer).rstrip(),
            f"{text}\n{verdict_text(self._spec, _OTHER[verdict])}",
            text[: len(text) - len(answer) // 2 - 1],
        )
        return draw.choice(broken)

    def _written(self, clauses: list[Clause], verdict: Side) -> str:
        if self._config.style == "answer":
            return verdict_text(self._spec, verdict)
        if self._config.style == "marks":
            clauses = [replace(c, a=replace(c.a, evidence=""), b=replace(c.b, evidence="")) for c in clauses]
        return judgment_text(self._spec, clauses, verdict)


def _read(request: Request) -> _Seen | None:
    """Find the world, the request, the rubric and the two responses among the texts of a prompt.

    A request to repair shows an earlier judgment, too; this teacher makes nothing of it.
    """
    texts = [span.text for message in request.messages for span in message.spans if not span.trusted]
    return next((seen for reader in READERS if (seen := _seen(reader, texts)) is not None), None)


def _seen(reader: Reader, texts: list[str]) -> _Seen | None:
    requests = [rules for text in texts if (rules := reader.request(text)) is not None]
    rubrics = [rules for text in texts if (rules := reader.rubric(text))]
    others = [text for text in texts if reader.request(text) is None and not reader.rubric(text)]
    responses = [text for text in others if not read_clauses(text)]
    if len(requests) != 1 or len(responses) != 2:
        return None
    return _Seen(reader, (rubrics or requests)[0], (responses[0], responses[1]))


def _flip(draw: random.Random, clause: Clause, seen: _Seen) -> Clause:
    """Turn one finding of a clause into its opposite, with evidence of the right sort."""
    side = draw.choice(("a", "b"))
    finding: RuleCheck = getattr(clause, side)
    false = seen.reader.lie(draw, clause.rule, seen.responses["ab".index(side)], not finding.met)
    return replace(clause, a=false) if side == "a" else replace(clause, b=false)


def _toss(draw: random.Random) -> Side:
    return "A" if draw.random() < 0.5 else "B"


def _shortcut(seen: _Seen) -> Side | None:
    """Return the side that wears a shortcut, if exactly one does."""
    worn = [seen.reader.wears(response) is not None for response in seen.responses]
    return None if worn[0] is worn[1] else "A" if worn[0] else "B"
