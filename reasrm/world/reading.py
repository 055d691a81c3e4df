"""How texts of either world are read: what teachers, scorers and measurements share, whichever world a row is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from reasrm.records import Row
from reasrm.world import critiques, pairs, rules
from reasrm.world.critiques import Clause
from reasrm.world.english import demands
from reasrm.world.english.pairs import demands_of
from reasrm.world.english.phrases import OPENER
from reasrm.world.language import PREFACES
from reasrm.world.rules import Finding, Rule, read_rubric

__all__ = ["READERS", "Reader", "read_clauses", "reader_of", "rules_of"]


@dataclass(frozen=True, slots=True)
class Reader:
    """How one world's texts are read.

    Args:
        request: The rules of a prompt; None if the text is no prompt of this world.
        rubric: The rules of a rendered rubric; none if the text is none.
        gold: The true clause about two responses.
        lie: A false finding about a response, with evidence of the right sort: that the rule is met, or is not.
        wears: Whether a response wears a shortcut that can be seen in it alone.
    """

    request: Callable[[str], tuple[Rule, ...] | None]
    rubric: Callable[[str], tuple[Rule, ...]]
    gold: Callable[[Rule, str, str], Clause]
    lie: Callable[[Random, Rule, str, bool], Finding]
    wears: Callable[[str], bool]


def _lie(draw: Random, rule: Rule, response: str, met: bool) -> Finding:
    evidence = draw.choice(rules.evidence_menu(rule, response.split(), "met" if met else "unmet"))
    return Finding(evidence, rules.is_met(rule, evidence))


def _words_request(text: str) -> tuple[Rule, ...] | None:
    task = pairs.read_task(text)
    return None if task is None else task.rules


def _english_request(text: str) -> tuple[Rule, ...] | None:
    request = demands.read_request(text)
    return None if request is None else request.rules


_OPENINGS = tuple(" ".join(words) + " " for words in PREFACES.values())
_WORDS = Reader(_words_request, read_rubric, Clause.gold, _lie, lambda text: text.startswith(_OPENINGS))
_ENGLISH = Reader(
    _english_request,
    lambda text: read_rubric(text, demands.read_demand),
    demands.Remark.gold,
    demands.lie,
    lambda text: text.lower().startswith(OPENER.lower()),
)
READERS = (_WORDS, _ENGLISH)


def reader_of(row: Row) -> Reader:
    """Return how the texts of a row's world are read."""
    return _ENGLISH if row.meta.get("world") == "english" else _WORDS


def rules_of(row: Row) -> tuple[Rule, ...]:
    """Return the rules by which a row of either world was labelled.

    Raises:
        InputError: The row is of neither.
    """
    return demands_of(row) if reader_of(row) is _ENGLISH else pairs.rules_of(row)


def read_clauses(text: str) -> list[Clause]:
    """Return the clauses of a critique in either world's words, in order; other lines are passed over."""
    return critiques.read_clauses(text) or demands.read_clauses(text)
