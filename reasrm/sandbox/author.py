"""An author of rubrics that works from a script: it reads the author's prompts as any model would, and errs as told.

It is a backend like an endpoint: it sees messages, never rows or hidden rules. Where responses are ordered, it copies
the request's demands with their weights and adds the principles that the best response meets and the worst does not;
where nothing is ordered it adds a principle by a coin. It diagnoses, and synthesises from diagnoses. Its faults are
those of real authors, each with a rate: criteria that are missing, invented, copied from a response, about a mark that
goes with the label (the shortcut), and lists that cannot be read.

Asked twice with different seeds it errs differently; asked with the same seed it repeats itself.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import Field

from reasrm.config import Config
from reasrm.hashing import derive_seed, digest
from reasrm.requests import Completion, Request
from reasrm.world.reading import READERS, Reader
from reasrm.world.rules import Rule, rubric_of

__all__ = ["AuthorConfig", "ScriptedAuthor"]

_PREFERRED = re.compile(r"best first: ([0-9]+(?:, [0-9]+)*)")


class AuthorConfig(Config):
    """How good the author is.

    Args:
        miss: Share of criteria that it leaves out.
        invent: Share of rubrics with a principle that tells nothing apart.
        leak: Share of rubrics with a line copied from the best response.
        shortcut: Share of rubrics that name the mark that one response wears, as a quality.
        malformed: Share of answers that cannot be read.
        seed: Of its faults.
    """

    miss: float = Field(default=0.1, ge=0, le=1)
    invent: float = Field(default=0.2, ge=0, le=1)
    leak: float = Field(default=0.05, ge=0, le=1)
    shortcut: float = Field(default=0.05, ge=0, le=1)
    malformed: float = Field(default=0.04, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the author makes of a prompt: a request and its demands, responses as shown, diagnoses, their preference."""

    reader: Reader
    request: str
    demands: tuple[Rule, ...]
    responses: tuple[str, ...]
    findings: tuple[tuple[dict[str, Any], ...], ...]
    ordered: bool
    best_first: tuple[int, ...]


class ScriptedAuthor:
    """A backend that writes the world's rubrics, with the configured faults.

    Args:
        config: Its faults.
    """

    name = "scripted-author"

    def __init__(self, config: AuthorConfig | None = None) -> None:
        self._config = config or AuthorConfig()

    @property
    def identity(self) -> dict[str, str]:
        """The configuration of its faults."""
        return {"model": self.name, "fingerprint": digest(self._config.model_dump(mode="json"))}

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield an answer per request, in order; to what is not of the world, a text that is no rubric."""
        for request in requests:
            prompt = "\n".join(message.text for message in request.messages)
            draw = random.Random(
                derive_seed("scripted-author", self._config.seed, request.sampling.seed, prompt)
            )
            seen = _read(request)
            text = "this is no request that i know" if seen is None else self._answer(draw, seen)
            words = len(text.split())
            yield Completion(request.id, text=text, num_tokens=words, num_prompt_tokens=len(prompt.split()))

    def close(self) -> None:
        """Nothing to release."""

    def _answer(self, draw: random.Random, seen: _Seen) -> str:
        if len(seen.responses) == 1:
            return self._diagnosis(draw, seen)
        lines = self._from_findings(draw, seen) if seen.findings else self._rubric(draw, seen)
        text = "\n".join(f"{n}. {line}" for n, line in enumerate(lines, 1))
        return self._malformed(draw, text) if draw.random() < self._config.malformed else text

    def _rubric(self, draw: random.Random, seen: _Seen) -> list[str]:
        """Return lines without their numbers."""
        reader, rules = seen.reader, list(seen.demands)
        if seen.ordered:
            best, worst = (partial(_met, reader, response=seen.responses[n]) for n in (0, -1))
            rules += [rule for rule in reader.unstated if best(rule) and not worst(rule)]
        elif reader.unstated:
            rules += [draw.choice(reader.unstated)]
        rules = self._missing(draw, rules)
        if draw.random() < self._config.invent:
            rules += [draw.choice(reader.invent(rules))]
        lines = _lines(rules)
        if seen.responses and draw.random() < self._config.leak:
            lines.append(f"{' '.join(seen.responses[0].split()[:4])} [Principle]")
        worn = [opener for opener in reader.openers if opener in map(reader.wears, seen.responses)]
        if worn and draw.random() < self._config.shortcut:
            lines.append(f"{worn[0]} [Principle]")
        return lines

    def _missing(self, draw: random.Random, rules: Sequence[Rule]) -> list[Rule]:
        kept = [rule for rule in dict.fromkeys(rules) if draw.random() >= self._config.miss]
        return kept or list(rules[:1])

    def _diagnosis(self, draw: random.Random, seen: _Seen) -> str:
        """Return findings about the demands and all principles; invented evidence is a word of nobody's."""
        findings, (response,) = [], seen.responses
        invents = draw.random() < self._config.invent
        for rule in (*seen.demands, *seen.reader.unstated):
            met = _met(seen.reader, rule, response)
            findings.append(
                {
                    "dimension": "instruction following" if rule.is_hard else "completeness",
                    "status": "pass" if met else "fail",
                    "severity": 0 if met else rule.weight,
                    "claim": rule.marked,
                    "evidence": "nobody said this" if invents else response.split()[0],
                    "anchor": seen.reader.anchor(rule, seen.request),
                }
            )
            invents = False
        text = json.dumps(findings)
        return text[: len(text) // 2] if draw.random() < self._config.malformed else text

    def _from_findings(self, draw: random.Random, seen: _Seen) -> list[str]:
        """Return the demands, and the principles whose findings go with the preference."""
        best, worst = (seen.findings[n - 1] for n in (seen.best_first[0], seen.best_first[-1]))
        chosen = []
        for good, bad in zip(best, worst, strict=False):
            rule = seen.reader.rule(str(good["claim"]))
            if rule is not None and (rule.is_hard or (good["status"], bad["status"]) == ("pass", "fail")):
                chosen.append((rule, f"<- {good['number']}, {bad['number']}"))
        kept = set(self._missing(draw, [rule for rule, _ in chosen]))
        return [f"{line} {source}" for rule, source in chosen if rule in kept for line in _lines([rule])]

    def _malformed(self, draw: random.Random, text: str) -> str:
        return draw.choice(
            (
                "I'm sorry, I cannot write this.",
                text.replace(" [", " ", 1),
                f"Here it is:\n{text}",
                f"{text}\n{text}",
                "",
            )
        )


def _lines(rules: Sequence[Rule]) -> list[str]:
    """Return the lines of the world's rubric, without numbers."""
    return [line.partition(". ")[2] for line in rubric_of(rules).render().splitlines()]


def _met(reader: Reader, rule: Rule, response: str) -> bool:
    return reader.check(rule, response).met


def _read(request: Request) -> _Seen | None:
    """Find the world, the request, the responses and the diagnoses among the texts of a prompt."""
    texts = [span.text for message in request.messages for span in message.spans if not span.trusted]
    ours = "".join(span.text for message in request.messages[1:] for span in message.spans if span.trusted)
    return next((seen for reader in READERS if (seen := _seen(reader, texts, ours)) is not None), None)


def _seen(reader: Reader, texts: list[str], ours: str) -> _Seen | None:
    asked = next((text for text in texts if reader.request(text) is not None), None)
    if asked is None:
        return None
    demands = tuple(rule for rule in reader.request(asked) or () if rule.is_hard)
    others = [text for text in texts if reader.request(text) is None]
    findings = tuple(_findings(text) for text in others if text.startswith("{"))
    preferred = _PREFERRED.search(ours)
    order = tuple(map(int, preferred[1].split(", "))) if preferred else ()
    if findings and (sorted(order) != list(range(1, len(findings) + 1)) or () in findings):
        return None
    responses = tuple(text for text in others if not text.startswith("{"))
    return _Seen(reader, asked, demands, responses, findings, "best first]" in _marks(ours), order)


def _marks(ours: str) -> str:
    """Return our own words with the codes of the section marks taken out."""
    return re.sub(r" [0-9a-f]{32}\]", "]", ours)


def _findings(text: str) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(json.loads(line) for line in text.splitlines())
    except ValueError:
        return ()
