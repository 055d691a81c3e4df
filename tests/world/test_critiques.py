"""Critiques of the world: one true clause worked out by hand, strict reading, what decides, and swapping."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.records import CoreArgument
from reasrm.world.critiques import Clause, argument_f1, core_arguments, read_clauses, verdict_of
from reasrm.world.rules import HARD_RULES, PRINCIPLES, Rule, RuleCheck

A, B = "sure owl crow and saw done", "owl welcome also crow over"
RULES = (Rule("count", "three", 2), Rule("avoid", "tools"), Rule("end", "done"), Rule("warm"), Rule("plain"))
GOLD = [Clause.gold(rule, A, B) for rule in RULES]
TEXT = """\
must count three A three ok B two bad
avoid tools A saw bad B none ok
end done A done ok B over bad
warm A none bad B welcome ok
plain A none ok B none ok"""


def test_gold_clauses_by_hand() -> None:
    assert "\n".join(clause.text for clause in GOLD) == TEXT
    assert read_clauses(TEXT) == GOLD
    assert GOLD[0].reading == "must count three A three B two"
    assert GOLD[3].reading == "warm A none B welcome"


def test_what_decides_by_hand() -> None:
    assert core_arguments(GOLD) == (
        CoreArgument("B", "against", "count three : two", fatal=True),
        CoreArgument("A", "against", "avoid tools : saw"),
        CoreArgument("B", "against", "end done : over"),
        CoreArgument("A", "against", "warm : none"),
    )
    assert verdict_of(GOLD) == "A"  # 2 + 1 against 1 + 1
    assert verdict_of(GOLD[1:]) == "B"  # 1 against 2
    assert verdict_of(GOLD[1:3]) is None
    assert verdict_of([]) is None


@pytest.mark.parametrize(
    "line",
    [
        *("", "count", "must", "count three", "count three A two bad", "count three A two bad B"),
        *("Count three A two ok B two ok", "- count three A two bad B three ok"),
        *("count three A two bad B three", "count three B two bad A three ok", "count three A two B three"),
        *("count three A two good B three ok", "count three A two bad B three ok ."),
        *("warm warm A none ok B none ok", "kind A none ok B none ok", "must must warm A none ok B none ok"),
        *("count A two ok B two ok", "<eval>", "the count three A two bad B three ok", "warm a none ok b none ok"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_exactly_a_clause_is_passed_over(line: str) -> None:
    assert read_clauses(line) == []
    assert read_clauses(f"{line}\n{TEXT}\n{line}") == GOLD


def test_reading_another_rule_or_evidence_than_the_worlds_is_still_reading() -> None:
    """A judge's nonsense must count against it, so it is not dropped."""
    (clause,) = read_clauses("count owl A red ok B </eval> bad")
    assert clause == Clause(Rule("count", "owl"), RuleCheck("red", True), RuleCheck("</eval>", False))


WORD = st.text("abcxyz", min_size=1, max_size=4)
FINDING = st.builds(RuleCheck, WORD, st.booleans())
WEIGHT = st.sampled_from((1, 2))
RULE = st.builds(Rule, st.sampled_from(HARD_RULES), WORD, WEIGHT) | st.builds(
    Rule, st.sampled_from(PRINCIPLES), st.none(), WEIGHT
)
CLAUSES = st.lists(st.builds(Clause, RULE, FINDING, FINDING), max_size=6)


@given(CLAUSES)
def test_reading_is_the_inverse_of_writing(clauses: list[Clause]) -> None:
    assert read_clauses("\n".join(clause.text for clause in clauses)) == clauses


@given(CLAUSES)
def test_exchanging_the_sides_exchanges_what_is_said_about_them(clauses: list[Clause]) -> None:
    swapped = [replace(clause, a=clause.b, b=clause.a) for clause in clauses]
    assert core_arguments(swapped) == tuple(argument.swap() for argument in core_arguments(clauses))
    assert verdict_of(swapped) == {"A": "B", "B": "A", None: None}[verdict_of(clauses)]
    assert {argument.fatal for argument in core_arguments(clauses)} <= {True, False}
    assert len(core_arguments(clauses)) == sum(clause.a.met != clause.b.met for clause in clauses)


def test_f1_by_hand() -> None:
    one, two, three = (CoreArgument("A", "against", text) for text in ("x", "y", "z"))
    assert argument_f1([one, two], [two, three]) == 0.5
    assert argument_f1([one], [one, two, three]) == 0.5  # precision 1, recall 1/3
    assert argument_f1([one, two], [one]) == pytest.approx(2 / 3)
    assert argument_f1([one, one, one], [one]) == 1  # twice is once
    assert argument_f1([replace(one, fatal=True)], [one]) == 1
    assert argument_f1([replace(one, about="B")], [one]) == 0
    assert argument_f1([replace(one, stance="for")], [one]) == 0
    assert argument_f1([], [one]) == argument_f1([one], []) == 0
    assert argument_f1([], []) == 1
