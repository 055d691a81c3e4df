"""Demands, requests and rubrics as text, and back again; and critiques in English.

A clause of a critique is a line: `above all, question at the end. A: "of the tide." no. B: "the tide, right?" yes.` A
clause without evidence (`question at the end. A: no. B: yes.`) is a bare mark. Reading is strict: a line that is not
exactly a clause is no clause.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from reasrm.world.critiques import Clause
from reasrm.world.english.bends import BENDS
from reasrm.world.english.checks import EVIDENCE, evidence_of, is_met
from reasrm.world.english.drafts import Draft, first_up, sentences_of
from reasrm.world.english.kinds import KINDS, excluded
from reasrm.world.rules import Rule, RuleCheck

__all__ = [
    "OPENINGS",
    "Demand",
    "EnglishPrompt",
    "Remark",
    "check",
    "lie",
    "others",
    "read_clauses",
    "read_demand",
    "read_request",
    "wording_of",
]

OPENINGS = ("Describe {}.", "Write a few lines about {}.", "Tell me about {}.")
MUSTS = ("Above all, ", "Most important, ")
"""What makes a demand of a request count twice."""
_MUST = "above all, "
_LONGEST = 500  # characters of a clause
_SAYS = {True: "yes", False: "no"}
_CLAUSE = re.compile(
    rf"(?P<rule>.+?)\. A: (?:(?P<a>{EVIDENCE}) )?(?P<met_a>yes|no)\. B: (?:(?P<b>{EVIDENCE}) )?(?P<met_b>yes|no)\."
)


@dataclass(frozen=True, slots=True)
class Demand(Rule):
    """A rule of the English world, of one of `KINDS`; weight 2 where it is asked above all."""

    @property
    def is_hard(self) -> bool:
        """Every demand is stated."""
        return True

    @property
    def words(self) -> str:
        """The demand as rubrics and critiques write it, without its weight."""
        return KINDS[self.kind].says(self.value)

    @property
    def marked(self) -> str:
        """The demand as critiques write it."""
        return f"{_MUST}{self.words}" if self.weight == 2 else self.words


@dataclass(frozen=True, slots=True)
class EnglishPrompt:
    """A request before it is text.

    Args:
        topic: What to write about.
        rules: What is demanded, in order.
    """

    topic: str
    rules: tuple[Demand, ...]

    def text(self, draw: Random) -> str:
        """Return the request as a user may word it."""
        said = [draw.choice(OPENINGS).format(self.topic)]
        for rule in self.rules:
            wording = draw.choice(KINDS[rule.kind].wordings).format(rule.value)
            said.append(draw.choice(MUSTS) + first_up(wording, up=False) if rule.weight == 2 else wording)
        return " ".join(said)


@dataclass(frozen=True, slots=True)
class Remark(Clause):
    """A clause in English."""

    @classmethod
    def gold(cls, rule: Rule, response_a: str, response_b: str) -> Remark:
        """Return the true clause about two responses."""
        return cls(rule, check(rule, response_a), check(rule, response_b))

    @property
    def text(self) -> str:
        """The clause as a line."""
        a, b = (" ".join(filter(None, (side.evidence, _SAYS[side.met]))) for side in (self.a, self.b))
        return f"{self.rule.marked}. A: {a}. B: {b}."


def check(rule: Rule, text: str) -> RuleCheck:
    """Return what a text says about a demand."""
    evidence = evidence_of(rule.kind, rule.value, text)
    return RuleCheck(evidence, is_met(rule.kind, rule.value, evidence))


def lie(draw: Random, rule: Rule, text: str, met: bool) -> RuleCheck:
    """Return what a careless reader may find: what would be true of the text if it met the demand, or did not."""
    draft = Draft.of(text)
    spare = sentences_of(text) * 5  # as many as can be asked for
    for _ in range(20):
        bent = BENDS[rule.kind](draw, draft, rule.value or "", met, spare) if draft.sentences else draft
        finding = check(rule, bent.text)
        if finding.met is met:
            return finding
    return RuleCheck("none", met)


def read_demand(text: str) -> Demand | None:
    """Read a demand back: the inverse of `Demand.marked`."""
    words = text.removeprefix(_MUST)
    return _demand(lambda kind: KINDS[kind].read(words), 1 if words == text else 2)


def _demand(read: Callable[[str], tuple[bool, str | None]], weight: int) -> Demand | None:
    found = ((kind, *read(kind)) for kind in KINDS)
    return next((Demand(kind, value, weight) for kind, is_it, value in found if is_it), None)


def wording_of(rule: Rule, request: str) -> str:
    """Return the sentence of a request that asks for a demand; the request, if none does."""
    said = (s for s in sentences_of(request) if (read := _read_wording(s)) and read.words == rule.words)
    return next(said, request)


def others(known: list[Rule]) -> list[Rule]:
    """Return demands that could stand beside these, one of a kind."""
    kinds = {rule.kind for rule in known}
    free = [kind for kind in KINDS if not excluded(kind, kinds)]
    return [Demand(kind, next(iter(KINDS[kind].values), None)) for kind in free]


def read_request(text: str) -> EnglishPrompt | None:
    """Read a request back: the inverse of `EnglishPrompt.text`. None if it is not one."""
    said = sentences_of(text)
    topic = next((match[1] for form in OPENINGS if said and (match := _fits(form, said[0]))), None)
    if topic is None:
        return None
    rules = [rule for sentence in said[1:] if (rule := _read_wording(sentence)) is not None]
    kinds = {rule.kind for rule in rules}
    if not rules or len(rules) != len(said) - 1 or len(kinds) != len(rules):
        return None
    return EnglishPrompt(topic, tuple(rules))


def _fits(form: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(form).replace(r"\{\}", "(.+)"), text)


def _read_wording(sentence: str) -> Demand | None:
    weight = 1
    for must in MUSTS:
        if sentence.startswith(must):
            sentence, weight = first_up(sentence.removeprefix(must)), 2
    return _demand(lambda kind: KINDS[kind].read(sentence, KINDS[kind].wordings), weight)


def read_clauses(text: str) -> list[Clause]:
    """Return the clauses of a critique, in order; other lines are passed over."""
    return [clause for line in text.splitlines() if (clause := _read_clause(line.strip())) is not None]


def _read_clause(line: str) -> Remark | None:
    match = _CLAUSE.fullmatch(line) if len(line) <= _LONGEST else None
    rule = read_demand(match["rule"]) if match else None
    if match is None or rule is None or (match["a"] is None) is not (match["b"] is None):
        return None
    a, b = (RuleCheck(match[side] or "", match[f"met_{side}"] == "yes") for side in "ab")
    return Remark(rule, a, b)
