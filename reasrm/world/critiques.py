"""Critiques in the world's own words: one clause a rule, what each response shows, and whether that meets it.

`must count three A two bad B three ok` restates the rule and its weight, then for each side the evidence and the
finding. Core arguments are the failings that only one side has: they decide. Reading is strict: a line that is not
exactly a clause is no clause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reasrm.records import CoreArgument, Side
from reasrm.world.rules import HARD_RULES, PRINCIPLES, Rule, RuleCheck, check

__all__ = ["Clause", "argument_f1", "core_arguments", "read_clauses", "verdict_of"]

_SAYS = {True: "ok", False: "bad"}
_MEANS = {"ok": True, "bad": False}


@dataclass(frozen=True, slots=True)
class Clause:
    """What a critique says about one rule: a finding for each side."""

    rule: Rule
    a: RuleCheck
    b: RuleCheck

    @classmethod
    def gold(cls, rule: Rule, response_a: str, response_b: str) -> Clause:
        """Return the true clause about two responses."""
        return cls(rule, check(rule, response_a.split()), check(rule, response_b.split()))

    @property
    def text(self) -> str:
        """The clause as a line."""
        sides = (("A", self.a), ("B", self.b))
        found = (part for side, f in sides for part in (side, f.evidence, _SAYS[f.met]) if part)
        return " ".join((self.rule.marked, *found))

    @property
    def reading(self) -> str:
        """The clause without findings: evidence only, as somebody writes who reads and does not judge."""
        return f"{self.rule.marked} A {self.a.evidence} B {self.b.evidence}"


def read_clauses(text: str) -> list[Clause]:
    """Return the clauses of a critique, in order; other lines are passed over."""
    return [clause for line in text.splitlines() if (clause := _read(line.split())) is not None]


def _read(words: Sequence[str]) -> Clause | None:
    weight = 2 if words[:1] == ["must"] else 1
    words = words[weight - 1 :]
    if not words or words[0] not in (*HARD_RULES, *PRINCIPLES):
        return None
    width = 2 if words[0] in HARD_RULES else 1
    rest = words[width:]
    if len(rest) != 6 or (rest[0], rest[3]) != ("A", "B") or rest[2] not in _MEANS or rest[5] not in _MEANS:
        return None
    rule = Rule(words[0], words[1] if width == 2 else None, weight)
    return Clause(rule, RuleCheck(rest[1], _MEANS[rest[2]]), RuleCheck(rest[4], _MEANS[rest[5]]))


def core_arguments(clauses: Iterable[Clause]) -> tuple[CoreArgument, ...]:
    """Return what decides: for each clause that faults exactly one side, one argument against that side."""
    arguments = []
    for clause in clauses:
        if clause.a.met is clause.b.met:
            continue
        side: Side = "B" if clause.a.met else "A"
        finding = clause.a if side == "A" else clause.b
        text = f"{clause.rule.words} : {finding.evidence}"
        arguments.append(CoreArgument(side, "against", text, fatal=clause.rule.weight == 2))
    return tuple(arguments)


def verdict_of(clauses: Iterable[Clause]) -> Side | None:
    """Return the side that a critique's own findings and weights favour; None if they balance."""
    balance = sum(clause.rule.weight * (clause.a.met - clause.b.met) for clause in clauses)
    return None if balance == 0 else "A" if balance > 0 else "B"


def argument_f1(written: Iterable[CoreArgument], gold: Iterable[CoreArgument]) -> float:
    """Return the F1 of two sets of core arguments; weights are not compared. Both empty: 1.

    An argument is right if it is about the right side and gives the right rule and evidence. Saying it twice earns
    nothing. The world's exact counterpart of the similarity in RM-NLHF (arXiv 2601.07349).
    """
    ours, theirs = ({(a.about, a.stance, a.text) for a in side} for side in (written, gold))
    total = len(ours) + len(theirs)
    return 2 * len(ours & theirs) / total if total else 1.0
