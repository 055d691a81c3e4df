"""Credits under every rule, accuracy with its interval, and what must not change it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from reasrm.errors import ConfigError
from reasrm.metrics.intervals import Estimate, wilson
from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.policy import STRICT, CreditPolicy, CreditRule, OrderRule, accuracy, credit
from tests.metrics.builders import numbered, pair, swapped

NULLS = CreditPolicy(order="games", tie="null_vote", unparsed="null_vote", split="null_vote")
RIGHT, WRONG, TIE, UNREADABLE, SPLIT = pair("A", "A"), pair("B"), pair("="), pair("?"), pair("A", "B")


@pytest.mark.parametrize(("rule", "worth"), [("wrong", 0.0), ("half", 0.5), ("exclude", None)])
def test_each_rule_moves_its_own_outcome(rule: CreditRule, worth: float | None) -> None:
    assert credit(TIE, replace(STRICT, tie=rule)) == worth
    assert credit(UNREADABLE, replace(STRICT, unparsed=rule)) == worth
    assert credit(SPLIT, replace(STRICT, split=rule)) == worth
    for row, kept in [(RIGHT, 1.0), (WRONG, 0.0)]:
        assert credit(row, replace(STRICT, tie=rule, unparsed=rule, split=rule)) == kept


@pytest.mark.parametrize("rule", ["wrong", "half", "exclude"])
def test_a_tie_is_right_where_the_target_is_a_tie(rule: CreditRule) -> None:
    policy = replace(STRICT, tie=rule)
    assert credit(pair("=", target="tie"), policy) == 1.0
    assert credit(pair("A", target="tie"), policy) == 0.0


@pytest.mark.parametrize(
    ("order", "first", "second", "worth"),
    [
        ("row", "A", "A", 1.0),
        ("row", "A", "?", 1.0),
        ("row", "A", "B", 0.0),
        ("row", "AAB", "B", 0.0),  # two votes each over all
        ("mean", "A", "B", 0.5),
        ("mean", "A", "", 1.0),
        ("mean", "AAB", "B", 0.5),  # each order by its majority
        ("both", "A", "A", 1.0),
        ("both", "A", "B", 0.0),
        ("both", "A", "?", 0.0),
        ("both", "A", "", None),
        ("first", "A", "B", 1.0),
        ("first", "", "A", None),
        ("second", "A", "B", 0.0),
        ("second", "A", "", None),
    ],
)
def test_order_rules(order: OrderRule, first: str, second: str, worth: float | None) -> None:
    assert credit(pair(first, second), replace(STRICT, order=order)) == worth


@pytest.mark.parametrize(
    ("first", "second", "worth"),
    [
        ("A", "A", 1.0),  # +2
        ("A", "=", 1.0),  # +1
        ("?", "A", 1.0),  # +1
        ("A", "", 1.0),  # one game
        ("A", "B", 0.0),  # 0
        ("=", "=", 0.0),  # 0
        ("?", "?", 0.0),  # 0
        ("B", "=", 0.0),  # -1
        ("AAB", "AB", 1.0),  # majority A, then votes level: +1
    ],
)
def test_games(first: str, second: str, worth: float) -> None:
    assert credit(pair(first, second), NULLS) == worth
    assert credit(swapped(pair(first, second)), NULLS) == worth


def test_rows_without_orders() -> None:
    scored = RowOutcome(id="s", target="A", verdict="A")
    unasked = replace(pair("?"), by_order={})
    expected: dict[OrderRule, tuple[float | None, float]] = {
        "row": (1.0, 0.0),
        "mean": (1.0, 0.0),
        "first": (None, 0.0),
        "both": (None, 0.0),
    }
    for order, worth in expected.items():
        policy = replace(STRICT, order=order)
        assert (credit(scored, policy), credit(unasked, policy)) == worth
    assert (credit(scored, NULLS), credit(unasked, NULLS)) == (1.0, 0.0)


def test_no_target_no_credit() -> None:
    assert credit(pair("A", target=None), STRICT) is None
    assert accuracy([pair("A", target=None)], STRICT) == Estimate(None, None, None, 0)


@pytest.mark.parametrize("fields", [{"order": "row", "tie": "null_vote"}, {"order": "games"}])
def test_null_votes_belong_to_games(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="null_vote"):
        replace(STRICT, **fields)  # type: ignore[arg-type]


def test_accuracy_by_hand() -> None:
    rows = numbered([RIGHT, WRONG, TIE, UNREADABLE, SPLIT])
    assert accuracy(rows, STRICT) == wilson(1, 5)
    assert accuracy(rows, replace(STRICT, unparsed="exclude")) == wilson(1, 4)
    assert accuracy(rows, replace(STRICT, tie="exclude", unparsed="exclude", split="exclude")) == wilson(1, 2)
    # 1 + 0 + 0.5 + 0.5 + 0.5 over 5
    assert accuracy(rows, replace(STRICT, tie="half", unparsed="half", split="half")).value == 0.5


def test_an_unreadable_row_does_not_touch_the_excluding_accuracy() -> None:
    policy = replace(STRICT, unparsed="exclude")
    rows = [RIGHT, WRONG, TIE]
    assert accuracy([*rows, UNREADABLE], policy) == accuracy(rows, policy)
    assert accuracy([*rows, UNREADABLE], STRICT).value < accuracy(rows, STRICT).value  # type: ignore[operator]
    assert accuracy([UNREADABLE], policy) == Estimate(None, None, None, 0)


@pytest.mark.parametrize("order", ["row", "mean", "both"])
def test_swapping_all_rows_and_shuffling_them_changes_nothing(order: OrderRule) -> None:
    draw = random.Random(7)
    rows = [
        pair("".join(draw.choices("AB=?", k=2)), draw.choice("AB=?"), target=draw.choice(("A", "B", "tie")))
        for _ in range(60)
    ]
    policy = CreditPolicy(order=order, tie="half", unparsed="exclude", split="half")
    expected = accuracy(rows, policy, seed=4)
    assert accuracy([swapped(row) for row in rows], policy, seed=4) == expected
    assert accuracy(draw.sample(rows, len(rows)), policy, seed=4) == expected


def test_rows_of_one_group_are_resampled_together() -> None:
    rows = [
        pair("A" if k % 2 else "B", group=f"g{k % 8}") for k in range(400)
    ]  # groups all right or all wrong
    grouped, single = accuracy(rows, STRICT), accuracy([replace(row, group=None) for row in rows], STRICT)
    assert grouped.value == single.value == 0.5
    assert grouped.n == single.n == 400
    assert grouped.ci_high - grouped.ci_low > 4 * (single.ci_high - single.ci_low)  # type: ignore[operator]
