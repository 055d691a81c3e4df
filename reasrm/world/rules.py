"""Rules and what can be found out about a response: exact checks, each with a word of evidence.

Hard rules stand in the prompt: `count N`, `include WORD`, `avoid TOPIC`, `end WORD`. Principles do not: `merry` (a
cheer), `plain` (no boasting), `warm` (a courtesy). A finding's evidence is the word that decides it: the number
counted, the word itself, the first offender, the last word, or `none`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reasrm.records import Criterion, Rubric
from reasrm.world.language import BOASTS, CHEERS, CLOSINGS, COURTESIES, NUMBERS, TOPIC_OF, TOPICS

__all__ = [
    "HARD_RULES",
    "PRINCIPLES",
    "Rule",
    "RuleCheck",
    "check",
    "evidence_menu",
    "is_met",
    "read_rubric",
    "read_rule",
    "rubric_of",
]

HARD_RULES = ("count", "include", "avoid", "end")
PRINCIPLES = ("merry", "plain", "warm")
NONE = "none"
_VALUES = {"count": NUMBERS, "include": TOPIC_OF, "avoid": TOPICS, "end": CLOSINGS}
_RUBRIC_LINE = re.compile(
    r"(?P<number>[0-9]+)\. (?P<words>.+?) \[(?P<kind>Hard Rule|Principle)\](?: \(weight (?P<weight>[12])\))?"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One criterion of a prompt.

    Args:
        kind: One of `HARD_RULES` or `PRINCIPLES`.
        value: Its parameter, a word; None for principles.
        weight: 1, or 2 where it is a must.
    """

    kind: str
    value: str | None = None
    weight: int = 1

    @property
    def is_hard(self) -> bool:
        """Whether the prompt states it."""
        return self.kind in HARD_RULES

    @property
    def words(self) -> str:
        """The rule as prompts, rubrics and critiques write it, without its weight."""
        return self.kind if self.value is None else f"{self.kind} {self.value}"

    @property
    def marked(self) -> str:
        """The rule with `must` before it where its weight is 2."""
        return f"must {self.words}" if self.weight == 2 else self.words


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """What a response's words say about one rule."""

    evidence: str
    met: bool


def check(rule: Rule, words: Sequence[str]) -> RuleCheck:
    """Return what `words`, a response, say about `rule`."""
    evidence = _evidence(rule, words)
    return RuleCheck(evidence, is_met(rule, evidence))


def is_met(rule: Rule, evidence: str) -> bool:
    """Tell whether a response with this evidence meets the rule."""
    if rule.kind in ("count", "end", "include"):
        return evidence == rule.value
    return (evidence == NONE) is (rule.kind in ("avoid", "plain"))


def _evidence(rule: Rule, words: Sequence[str]) -> str:
    items = [word for word in words if word in TOPIC_OF]
    match rule.kind:
        case "count":
            return NUMBERS[min(len(items), len(NUMBERS) - 1)]
        case "include":
            return str(rule.value) if rule.value in items else NONE
        case "avoid":
            return next((word for word in items if TOPIC_OF[word] == rule.value), NONE)
        case "end":
            return words[-1] if words else NONE
        case "merry":
            return next((word for word in words if word in CHEERS), NONE)
        case "plain":
            return next((word for word in words if word in BOASTS), NONE)
        case "warm":
            return next((word for word in words if word in COURTESIES), NONE)
    raise ValueError(f"no such rule: {rule.kind!r}")


def evidence_menu(rule: Rule, words: Sequence[str], lie: Literal["met", "unmet"]) -> tuple[str, ...]:
    """Return the words a careless writer might give as evidence that `rule` is met, or that it is not.

    All are of the right sort: a wrong count near the wanted one, a word of the response. Sorted, never empty.
    """
    items = sorted({word for word in words if word in TOPIC_OF})
    if lie == "met":
        if rule.kind in ("count", "end", "include"):
            return (str(rule.value),)
        return {"warm": COURTESIES, "merry": CHEERS}.get(rule.kind, (NONE,))
    match rule.kind:
        case "count":
            n = NUMBERS.index(str(rule.value))
            return tuple(NUMBERS[k] for k in (n - 1, n + 1) if 0 <= k < len(NUMBERS))
        case "plain":
            return BOASTS
        case "include" | "warm" | "merry":
            return (NONE,)
    return tuple(word for word in items if word != rule.value) or (NUMBERS[0],)


def read_rule(text: str) -> Rule | None:
    """Read a rule back: the inverse of `Rule.marked`. None if it is not a rule with a value of the world."""
    words = text.split(" ")
    weight = 2 if words[0] == "must" else 1
    words = words[weight - 1 :]
    if len(words) == 2 and words[1] in _VALUES.get(words[0], ()):
        return Rule(words[0], words[1], weight)
    return Rule(words[0], None, weight) if len(words) == 1 and words[0] in PRINCIPLES else None


def rubric_of(rules: Sequence[Rule]) -> Rubric:
    """Return the rubric that says what a judge of these rules needs, weights included."""
    return Rubric(
        tuple(
            Criterion("hard_rule" if rule.is_hard else "principle", rule.words, float(rule.weight))
            for rule in rules
        )
    )


def read_rubric(text: str, read: Callable[[str], Rule | None] = read_rule) -> tuple[Rule, ...]:
    """Read a rendered rubric back: the inverse of `rubric_of(rules).render()`. Empty if it is not one.

    A line without a weight has weight 1: rubrics written by contrast have none.

    Args:
        text: The rubric.
        read: Reads a rule of the world whose rubric it is.
    """
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _RUBRIC_LINE.fullmatch(line)
        rule = read(match["words"]) if match and int(match["number"]) == number else None
        if match is None or rule is None or rule.weight != 1:  # a rubric says `weight 2`, not `must`
            return ()
        if rule.is_hard is not (match["kind"] == "Hard Rule"):
            return ()
        rules.append(replace(rule, weight=int(match["weight"] or 1)))
    return tuple(rules)
