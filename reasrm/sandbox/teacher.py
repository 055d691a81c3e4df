"""A teacher that works from a script: it reads the prompt as any model would and judges it, sometimes badly.

It is a backend like an endpoint: it sees messages, never labels, ids of splits or hidden rules. Its noise is what real
teachers show:

- a *careless* trace finds false evidence for one or two rules; its verdict then follows the false findings, or the
  shortcut. Where that verdict happens to be right, rejection by label keeps a wrong critique: the case that RM-NLHF
  (arXiv 2601.07349) is about;
- a *malformed* trace has no verdict, two verdicts, or breaks off.

Asked twice with different seeds it errs differently; asked with the same seed it repeats itself.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from reasrm.config import Config
from reasrm.hashing import derive_seed, digest
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Side
from reasrm.requests import Completion, Request
from reasrm.sandbox.writing import judgment_text, verdict_text
from reasrm.world.critiques import Clause, read_clauses, verdict_of
from reasrm.world.language import PREFACES
from reasrm.world.pairs import read_task
from reasrm.world.rules import Finding, Rule, evidence_menu, is_met, read_rubric

__all__ = ["ScriptedTeacher", "TeacherConfig"]

_OTHER: dict[Side, Side] = {"A": "B", "B": "A"}


class TeacherConfig(Config):
    """How good the teacher is.

    Args:
        error_rate: Share of traces with one or two false findings.
        follow_shortcut: Share of those whose verdict follows the shortcut instead of the findings.
        malformed_rate: Share of traces without exactly one readable verdict.
        seed: Of its errors.
    """

    error_rate: float = Field(default=0.4, ge=0, le=1)
    follow_shortcut: float = Field(default=0.5, ge=0, le=1)
    malformed_rate: float = Field(default=0.04, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the teacher makes of a prompt."""

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
        return {"model": self.name, "fingerprint": digest(self._config.model_dump(mode="json"))}

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
        clauses = [Clause.gold(rule, *seen.responses) for rule in seen.rules]
        careless = draw.random() < self._config.error_rate
        if careless:
            for n in draw.sample(range(len(clauses)), min(len(clauses), draw.choice((1, 2)))):
                clauses[n] = _flip(draw, clauses[n], seen.responses)
        verdict = verdict_of(clauses)
        if verdict is None or (careless and draw.random() < self._config.follow_shortcut):
            verdict = _shortcut(seen.responses) or _toss(draw)
        text = judgment_text(self._spec, clauses, verdict)
        if draw.random() >= self._config.malformed_rate:
            return text
        answer = verdict_text(self._spec, verdict)
        broken = (
            text.removesuffix(answer).rstrip(),
            f"{text}\n{verdict_text(self._spec, _OTHER[verdict])}",
            text[: len(text) - len(answer) // 2 - 1],
        )
        return draw.choice(broken)


def _read(request: Request) -> _Seen | None:
    """Find the task, the rubric and the two responses among the texts of a prompt.

    A request to repair shows an earlier judgment, too; this teacher makes nothing of it.
    """
    texts = [span.text for message in request.messages for span in message.spans if not span.trusted]
    tasks = [task for text in texts if (task := read_task(text)) is not None]
    rubrics = [rules for text in texts if (rules := read_rubric(text))]
    others = [text for text in texts if read_task(text) is None and not read_rubric(text)]
    responses = [text for text in others if not read_clauses(text)]
    if len(tasks) != 1 or len(responses) != 2:
        return None
    rules = rubrics[0] if rubrics else tasks[0].rules
    return _Seen(tuple(rules), (responses[0], responses[1]))


def _flip(draw: random.Random, clause: Clause, responses: Sequence[str]) -> Clause:
    """Turn one finding of a clause into its opposite, with evidence of the right sort."""
    side = draw.choice(("a", "b"))
    finding: Finding = getattr(clause, side)
    words = responses["ab".index(side)].split()
    menu = evidence_menu(clause.rule, words, "unmet" if finding.met else "met")
    evidence = draw.choice(menu)
    false = Finding(evidence, is_met(clause.rule, evidence))
    return replace(clause, a=false) if side == "a" else replace(clause, b=false)


def _toss(draw: random.Random) -> Side:
    return "A" if draw.random() < 0.5 else "B"


def _shortcut(responses: Sequence[str]) -> Side | None:
    """Return the side that wears a shortcut, if exactly one does."""
    openings = tuple(" ".join(words) + " " for words in PREFACES.values())
    worn = [response.startswith(openings) for response in responses]
    return None if worn[0] is worn[1] else "A" if worn[0] else "B"
