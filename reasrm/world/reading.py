"""How texts of either world are read: what teachers, authors, scorers and measurements share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from reasrm.errors import InputError
from reasrm.records import Row
from reasrm.world import critiques, pairs, rules
from reasrm.world.critiques import Clause
from reasrm.world.english import demands
from reasrm.world.english.phrases import OPENER
from reasrm.world.language import PREFACES
from reasrm.world.rules import PRINCIPLES, Rule, RuleCheck

__all__ = ["READERS", "Reader", "read_clauses", "reader_of", "rules_of"]


@dataclass(frozen=True, slots=True)
class Reader:
    """How one world's texts are read.

    Args:
        request: The rules of a prompt; None if the text is no prompt of this world.
        rule: A rule as rubrics write it, or as the world's critiques do; None if the text is none.
        check: What a response says about a rule.
        gold: The true clause about two responses.
        lie: A false finding about a response, with evidence of the right sort: that the rule is met, or is not.
        anchor: Words of a prompt that stand for one of its rules.
        invent: Rules that nobody asked for where there are these.
        unstated: Rules that a prompt does not state.
        openers: How a response begins that wears a shortcut.
    """

    request: Callable[[str], tuple[Rule, ...] | None]
    rule: Callable[[str], Rule | None]
    check: Callable[[Rule, str], RuleCheck]
    gold: Callable[[Rule, str, str], Clause]
    lie: Callable[[Random, Rule, str, bool], RuleCheck]
    anchor: Callable[[Rule, str], str]
    invent: Callable[[list[Rule]], list[Rule]]
    unstated: tuple[Rule, ...]
    openers: tuple[str, ...]

    def rubric(self, text: str) -> tuple[Rule, ...]:
        """Return the rules of a rendered rubric; none if the text is none."""
        return rules.read_rubric(text, self.rule)

    def wears(self, response: str) -> str | None:
        """Return the opener with which a response begins, if it begins with one."""
        begins = response.lower()
        worn = (o for o in self.openers if begins.startswith((f"{o.lower()} ", f"{o.lower()}\n")))
        return next(worn, None)


def _words_request(text: str) -> tuple[Rule, ...] | None:
    task = pairs.read_task(text)
    return None if task is None else task.rules


def _words_lie(draw: Random, rule: Rule, response: str, met: bool) -> RuleCheck:
    evidence = draw.choice(rules.evidence_menu(rule, response.split(), "met" if met else "unmet"))
    return RuleCheck(evidence, rules.is_met(rule, evidence))


def _english_request(text: str) -> tuple[Rule, ...] | None:
    request = demands.read_request(text)
    return None if request is None else request.rules


_UNSTATED = tuple(map(Rule, PRINCIPLES))
_WORDS = Reader(
    request=_words_request,
    rule=rules.read_rule,
    check=lambda rule, text: rules.check(rule, text.split()),
    gold=Clause.gold,
    lie=_words_lie,
    anchor=lambda rule, text: rule.marked if rule.is_hard else "name",
    invent=lambda known: [rule for rule in _UNSTATED if rule not in known] or list(_UNSTATED),
    unstated=_UNSTATED,
    openers=tuple(" ".join(words) for words in PREFACES.values()),
)
_ENGLISH = Reader(
    request=_english_request,
    rule=demands.read_demand,
    check=demands.check,
    gold=demands.Remark.gold,
    lie=demands.lie,
    anchor=demands.wording_of,
    invent=demands.others,
    unstated=(),
    openers=(OPENER,),
)
READERS = (_WORDS, _ENGLISH)


def reader_of(row: Row) -> Reader:
    """Return how the texts of a row's world are read."""
    return _ENGLISH if row.meta.get("world") == "english" else _WORDS


def rules_of(row: Row) -> tuple[Rule, ...]:
    """Return all rules by which a row of either world was labelled, an unwritten one included.

    Raises:
        InputError: The row is of neither.
    """
    read = reader_of(row).rule
    rules = [read(str(text)) for text in row.meta.get("rules", ())]
    if not rules or None in rules:
        raise InputError(
            "is not a row of the sandbox's worlds", place=row.id, remedy="make rows by `reasrm sandbox pairs`"
        )
    return tuple(rule for rule in rules if rule is not None)


def read_clauses(text: str) -> list[Clause]:
    """Return the clauses of a critique in either world's words, in order; other lines are passed over."""
    return critiques.read_clauses(text) or demands.read_clauses(text)
