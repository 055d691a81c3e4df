"""RM-NLHF's combination by hand, its variants, and what holds for any values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.config import parse_config
from reasrm.critiques.scores import CritiqueScores
from reasrm.errors import ConfigError, InternalError
from reasrm.records import CoreArgument, Critique
from reasrm.rewards.base import RewardProblem, Values
from reasrm.rewards.build import RewardFunction, build_reward
from reasrm.rewards.combine import CritiqueBonus, build_combinator
from reasrm.rewards.config import RewardSection
from tests.refusals import refused
from tests.rewards.rollouts import rollout

WEIGHTS = {"outcome": 1.0, "format": 1.0, "critique": 0.5}
BINARY = {"kind": "outcome", "right": 1, "wrong": 0, "unparsed": 0}
RELEASED = {
    "parts": {
        "outcome": BINARY,
        "format": {"kind": "critique_format"},
        "critique": {"kind": "critique", "weight": 0.5},
    },
    "combine": {"kind": "critique_bonus", "format": "format"},
}


def combined(
    values: dict[str, Values], groups: str = "", lost: dict[str, list[bool]] | None = None, **options: Any
) -> Values:
    """Combine values of outcome, format and critique; one letter per row names its group."""
    options = {"format": "format" if "format" in values else None, **options}
    weights = {name: WEIGHTS.get(name, 1.0) for name in values}
    length = len(values["outcome"])
    return build_combinator(CritiqueBonus(**options), weights)(
        values, list(groups or "g" * length), lost or {}
    )


def test_the_released_reward() -> None:
    # R = −1 for a bad format, else o + 0.5·p with p only where o = 1: {−1, 0, 1, 1.5}.
    values: dict[str, Values] = {
        "outcome": [1, 1, 0, 0, 1, 0],
        "format": [1, 1, 1, 1, 0, 0],
        "critique": [1, 0, 1, 0, 1, 1],
    }
    assert combined(values) == [1.5, 1.0, 0.0, 0.0, -1.0, -1.0]
    assert combined(values, gated=False) == [1.5, 1.0, 0.5, 0.0, -1.0, -1.0]
    assert combined(values, bad_format=-0.5)[4:] == [-0.5, -0.5]
    # Without the rule `format` is a part like any other: 1 + 1 + 0.5.
    assert combined(values, format=None)[:1] == [2.5]


def test_a_soft_score_is_added_in_its_own_size() -> None:
    values: dict[str, Values] = {"outcome": [1, 1, 0], "critique": [0.4, 2 / 3, 0.9]}
    assert combined(values) == pytest.approx([1.2, 4 / 3, 0.0])
    assert combined(values, gated=False) == pytest.approx([1.2, 4 / 3, 0.45])


def test_outcome_only_keeps_the_format_rule() -> None:
    values: dict[str, Values] = {"outcome": [1, 0, 1, None], "format": [1, 1, 0, 1]}
    assert combined(values) == [1.0, 0.0, -1.0, None]


def test_without_a_reference_the_group_earns_its_outcome() -> None:
    values: dict[str, Values] = {
        "outcome": [1, 0, 1, 1, 0, 1],
        "format": [1, 1, 0, 1, 1, 1],
        "critique": [None, None, None, 1, 1, 0],
    }
    assert combined(values, "ggghhh") == [1.0, 0.0, -1.0, 1.5, 0.0, 1.0]
    # `abstain`: rows without a critique teach nothing, not even their format.
    assert combined(values, "ggghhh", without_critique="abstain") == [None, None, None, 1.5, 0.0, 1.0]


def test_a_failed_call_is_no_bad_critique() -> None:
    # The group has a reference: its second row lacks a score because a call failed, and 1.0 would say "bad critique".
    values: dict[str, Values] = {
        "outcome": [1, 1, 0, 1],
        "format": [1, 1, 1, 0],
        "critique": [1, None, None, None],
    }
    assert combined(values) == [1.5, None, 0.0, -1.0]  # the last two do not depend on it
    assert combined(values, gated=False) == [1.5, None, None, -1.0]
    assert combined(values, without_critique="abstain") == [1.5, None, None, None]


def test_calls_that_failed_for_a_whole_group_do_not_make_it_one_without_a_reference() -> None:
    values: dict[str, Values] = {
        "outcome": [1, 0, 1, 1, 1],
        "format": [1, 1, 0, 1, 1],
        "critique": [None] * 5,
    }
    lost = {"critique": [True, True, True, True, False]}
    # Right and well formed: what the critique adds is unknown. The last row, of another group, has no reference.
    assert combined(values, "ggggh", lost) == [None, 0.0, -1.0, None, 1.0]
    assert combined(values, "ggggh", lost, gated=False) == [None, None, -1.0, None, 1.0]
    assert combined(values, "ggggh", lost, without_critique="abstain") == [None] * 5


def test_several_extras_are_added_each_with_its_own_gaps() -> None:
    values: dict[str, Values] = {"outcome": [1, 1], "critique": [None, None], "short": [0.25, None]}
    assert combined(values) == [1.25, None]


def test_without_outcome_or_format_a_row_abstains() -> None:
    values: dict[str, Values] = {"outcome": [None, 1, None], "format": [0, None, 1], "critique": [1, 1, 1]}
    assert combined(values) == combined(values, without_critique="abstain") == [None, None, None]


def test_the_outcome_is_weighted_and_the_format_is_not() -> None:
    combine = build_combinator(
        CritiqueBonus(format="format"), {"outcome": 2.0, "format": 9.0, "critique": 0.5}
    )
    values: dict[str, Values] = {"outcome": [1, 1], "format": [1, 0], "critique": [1, 1]}
    assert combine(values, ["g", "g"]) == [2.5, -1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "shape"}, "combine.format 'shape' is none of the parts"),
        ({"format": "outcome"}, "are both 'outcome'"),
        ({"outcome": "right"}, "combine.outcome 'right' is none of the parts"),
        ({"without_critique": "zero"}, "without_critique"),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    value = {"parts": {"outcome": BINARY}, "combine": {"kind": "critique_bonus", **options}}
    with pytest.raises(ConfigError, match=message):
        parse_config(RewardSection, value, "reward.yaml")


# --- asking and combining apart

GOLD = Critique(arguments=(CoreArgument("A", "for", "clear"),))
ROWS = [
    rollout("A", evaluation="x", critique=GOLD, group="with"),
    rollout("A", evaluation="y", critique=GOLD, group="with"),
    rollout("B", evaluation="z", critique=GOLD, group="with"),
    rollout("A", evaluation="x", row_id="q2", group="without"),
]
"""Three rollouts of a row with a reference critique, and one of a row without."""


@pytest.mark.parametrize(
    ("combine", "some_fail", "all_fail"),
    [
        ({"kind": "critique_bonus", "format": "format"}, [1.5, None, 0.0, 1.0], [None, None, 0.0, 1.0]),
        ({"kind": "weighted_sum"}, [2.5, None, None, None], [None] * 4),
        ({"kind": "multiplicative"}, [1.5, None, None, None], [None] * 4),
        ({"kind": "positive_only", "eta": None}, [2.0, None, None, None], [None] * 4),
    ],
    ids=["critique_bonus", "weighted_sum", "multiplicative", "positive_only"],
)
def test_a_row_has_a_reference_if_it_carries_a_critique(
    combine: dict[str, Any], some_fail: Values, all_fail: Values
) -> None:
    section = RewardSection.model_validate({**RELEASED, "combine": combine})
    for scores, rewards in (([1.0, None, None, None], some_fail), ([None] * 4, all_fail)):
        found = [None if value is None else CritiqueScores(f1=value) for value in scores]
        assert build_reward(section, critiques=lambda cases, found=found: found)(ROWS).rewards == rewards


def test_a_rule_whose_call_failed_is_not_left_to_the_model() -> None:
    section = RewardSection.model_validate(
        {
            "parts": {"rule": {"kind": "critique"}, "model": BINARY},
            "combine": {"kind": "rule_first_else_model", "rule": "rule", "model": "model"},
        }
    )
    scores = [CritiqueScores(f1=1.0), None, CritiqueScores(f1=0.0), None]
    half = 1 / (1 + math.exp(-0.0))  # of a wrong verdict
    right = 1 / (1 + math.exp(-1.0))
    assert build_reward(section, critiques=lambda cases: scores)(ROWS).rewards == pytest.approx(
        [1.0, None, half, right]
    )


def released(*f1: float | None) -> RewardFunction:
    """The released reward; the scorer gives these F1."""
    scores = [None if value is None else CritiqueScores(f1=value) for value in f1]
    return build_reward(RewardSection.model_validate(RELEASED), critiques=lambda cases: scores)


def test_asking_and_combining_is_what_calling_does() -> None:
    rows = [rollout("A", evaluation="x"), rollout("B", evaluation="x"), rollout("A")]
    reward = released(0.5, 0.9, 0.0)
    parts = reward.ask(rows)
    assert parts == {"outcome": [1, 0, 1], "format": [1, 1, 0], "critique": [1, 1, 0]}
    scored = reward.combine_parts(rows, parts)
    assert scored == reward(rows)
    assert (scored.rewards, scored.parts) == ([1.5, 0.0, -1.0], parts)


def test_what_a_part_left_open_may_be_filled_in() -> None:
    rows = [rollout("A", evaluation="x"), rollout("A", evaluation="y")]
    reward = released(None, None)
    parts = reward.ask(rows)
    assert reward.combine_parts(rows, parts).rewards == [1.0, 1.0]
    filled = {**parts, "critique": [0.25, 0.0]}  # a MetaRM's max(0, s − 1), for instance
    scored = reward.combine_parts(rows, filled)
    assert (scored.rewards, scored.parts["critique"]) == ([1.125, 1.0], [0.25, 0.0])
    assert parts["critique"] == [None, None]


def test_what_is_filled_in_is_checked() -> None:
    rows = [rollout("A", evaluation="x"), rollout("A", evaluation="y", row_id="q2")]
    reward = released(None, None)
    parts = reward.ask(rows)
    with refused(RewardProblem, "'q2'", "'critique'", "nan"):
        reward.combine_parts(rows, {**parts, "critique": [0.0, float("nan")]})
    with refused(RewardProblem, "1 values", "2 rollouts"):
        reward.combine_parts(rows, {**parts, "critique": [0.0]})
    for wrong in ({"outcome": [1.0, 1.0]}, {**parts, "more": [0.0, 0.0]}):
        with pytest.raises(InternalError, match="for the parts"):
            reward.combine_parts(rows, wrong)


def test_nothing_asked_nothing_combined() -> None:
    reward = released()
    assert reward.ask([]) == {"outcome": [], "format": [], "critique": []}
    assert reward.combine_parts([], reward.ask([])).rewards == []


# --- for any values

unit = st.floats(0, 1)
maybe = st.none() | unit
rows = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, None]), st.sampled_from([0.0, 1.0, None]), maybe, st.sampled_from("gh")),
    min_size=1,
    max_size=8,
)  # fmt: skip
sections = st.builds(
    CritiqueBonus,
    format=st.just("format"),
    gated=st.booleans(),
    without_critique=st.sampled_from(["outcome", "abstain"]),
)


def on(section: CritiqueBonus, drawn: list[tuple[Any, ...]]) -> Values:
    outcome, shape, critique, groups = zip(*drawn, strict=True)
    values: dict[str, Values] = {"outcome": list(outcome), "format": list(shape), "critique": list(critique)}
    return build_combinator(section, WEIGHTS)(values, list(groups))


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(sections, rows)
def test_bounds_and_abstention(section: CritiqueBonus, drawn: list[tuple[Any, ...]]) -> None:
    for (outcome, shape, critique, _), reward in zip(drawn, on(section, drawn), strict=True):
        if outcome is None or shape is None:
            assert reward is None
        elif shape == 0:
            assert reward == -1 or (critique is None and section.without_critique == "abstain")
        elif reward is not None:
            assert outcome <= reward <= outcome + 0.5
            if section.gated and outcome == 0:
                assert reward == 0  # however good the critique
        else:
            assert critique is None


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(sections, rows, st.randoms(use_true_random=False))
def test_rows_may_stand_in_any_order(section: CritiqueBonus, drawn: list[tuple[Any, ...]], random) -> None:
    order = list(range(len(drawn)))
    random.shuffle(order)
    plain = on(section, drawn)
    assert on(section, [drawn[n] for n in order]) == [plain[n] for n in order]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(sections, rows, st.integers(0, 7))
def test_losing_a_score_never_changes_another_number(section, drawn: list[tuple[Any, ...]], n: int) -> None:
    # Unless it was the group's last: then the whole group goes back to its outcome.
    n %= len(drawn)
    outcome, shape, _, group = drawn[n]
    others = [row for m, row in enumerate(drawn) if m != n and row[3] == group and row[2] is not None]
    fewer = [*drawn[:n], (outcome, shape, None, group), *drawn[n + 1 :]]
    plain, lost = on(section, drawn), on(section, fewer)
    assert all(lost[m] == plain[m] for m in range(len(drawn)) if m != n and (others or drawn[m][3] != group))
    if others:
        assert lost[n] in (plain[n], None)
