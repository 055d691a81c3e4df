"""The world's truth a second time, in a few lines of its own: from a rule as text and a response to the finding."""

from __future__ import annotations

import math

from reasrm.world.language import BOASTS, CHEERS, COURTESIES, NUMBERS, TOPICS

WISHES = {"merry": CHEERS, "plain": BOASTS, "warm": COURTESIES}


def evidence(rule: str, response: str) -> str:
    """The word that decides whether a response meets a rule such as `must count two`."""
    kind, *value = rule.removeprefix("must ").split()
    words = response.split()
    named = [word for word in words if any(word in known for known in TOPICS.values())]
    if kind == "count":
        return NUMBERS[len(named)]
    if kind == "end":
        return words[-1]
    wanted = value if kind == "include" else TOPICS[value[0]] if kind == "avoid" else WISHES[kind]
    return next((word for word in words if word in wanted), "none")


def meets(rule: str, response: str) -> bool:
    """Whether a response meets a rule."""
    kind, *value = rule.removeprefix("must ").split()
    found = evidence(rule, response)
    if kind in ("avoid", "plain"):
        return found == "none"
    return found != "none" and (not value or found == value[0])


def total(rules: list[str], response: str) -> int:
    """The weighted sum of the rules that a response meets."""
    return sum((2 if rule.startswith("must ") else 1) * meets(rule, response) for rule in rules)


def within(successes: int, n: int, share: float) -> bool:
    """Whether a count lies within five standard deviations of its expectation (chance of a false alarm: 6e-7)."""
    return abs(successes - n * share) <= 5 * math.sqrt(n * share * (1 - share))
