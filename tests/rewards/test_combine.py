"""Sums, gates and transforms by hand; check values of the papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.rewards.base import RewardProblem, Values
from reasrm.rewards.build import RewardFunction
from reasrm.rewards.combine import build_combinator
from reasrm.rewards.combining import log_sigmoid, sigmoid
from reasrm.rewards.config import RewardSection
from tests.refusals import refused
from tests.rewards.rollouts import rollout

ANY = {"kind": "repetition"}
BINARY = {"kind": "outcome", "wrong": 0, "unparsed": 0}


def section(combine: dict[str, Any], **parts: float | dict[str, Any]) -> RewardSection:
    """A section whose parts are only names and weights (a number), or given in full."""
    full = {name: {**ANY, "weight": p} if isinstance(p, int | float) else p for name, p in parts.items()}
    return parse_config(RewardSection, {"parts": full, "combine": combine}, "reward.yaml")


def combined(
    combine: dict[str, Any], values: dict[str, Values], groups: str = "", **weights: float
) -> Values:
    """Combine given values; one letter per row names its group, one weight per part (1 if not given)."""
    full = {name: weights.get(name, 1) for name in values}
    made = section(combine, **full)
    length = len(next(iter(values.values())))
    return build_combinator(made.combine, full)(values, list(groups or "g" * length))


def test_the_weighted_sum() -> None:
    values: dict[str, Values] = {"a": [1, -1, 0.5], "b": [2, 0, 1]}
    assert combined({"kind": "weighted_sum"}, values, a=2, b=-0.5) == pytest.approx([1, -2, 0.5])


def test_a_part_that_abstains_makes_the_row_abstain() -> None:
    values: dict[str, Values] = {"outcome": [1, 0, None, 0], "b": [None, 1, 1, None]}
    for combine in (
        {"kind": "weighted_sum"},
        {"kind": "positive_only"},
        {"kind": "multiplicative"},
        {"kind": "failure_only"},
        {"kind": "group_zscore"},
        {"kind": "logsigmoid_centred"},
        {"kind": "soft_and", "floors": ["b"]},
    ):
        rewards = combined(combine, values)
        assert [reward is None for reward in rewards] == [True, False, True, True], combine


def test_positive_only_as_longtracerl() -> None:
    # The group's greatest rubric score is 0.8: 0.4 becomes 0.5. r = 0.7·1 + 0.3·e where right, else 0.
    values: dict[str, Values] = {"outcome": [1, 1, 0], "rubric": [0.8, 0.4, 0.6]}
    assert combined({"kind": "positive_only"}, values) == pytest.approx([1.0, 0.85, 0.0])
    plain = {"kind": "positive_only", "normalise": False}
    assert combined(plain, values) == pytest.approx([0.94, 0.82, 0.0])


def test_positive_only_normalises_within_the_group() -> None:
    values: dict[str, Values] = {"outcome": [1, 1, 1], "rubric": [0.8, 0.4, 0.0]}
    assert combined({"kind": "positive_only"}, values, "gh?") == pytest.approx([1.0, 1.0, 0.7])


def test_positive_only_as_rm_nlhf() -> None:
    values: dict[str, Values] = {"outcome": [1, 1, 0, -1], "critique": [1, 0, 1, 1]}
    added = {"kind": "positive_only", "eta": None, "normalise": False}
    assert combined(added, values, critique=0.5) == pytest.approx([1.5, 1.0, 0.0, -1.0])


def test_multiplicative() -> None:
    values: dict[str, Values] = {"outcome": [1, 0, 0.5], "precision": [0.6, 0.9, 0.4]}
    assert combined({"kind": "multiplicative"}, values) == pytest.approx([0.6, 0.0, 0.2])


def test_failure_only_as_subsearch() -> None:
    # r = o + 0.2·(0.5·a + 0.5·d)·(1 − o)
    values: dict[str, Values] = {"outcome": [1, 0, 0.5], "a": [1, 1, 1], "d": [1, 0.5, 0]}
    rewards = combined({"kind": "failure_only"}, values, a=0.5, d=0.5)
    assert rewards == pytest.approx([1.0, 0.15, 0.55])


def test_rule_first_else_model() -> None:
    values: dict[str, Values] = {
        "outcome": [1, -1, -1, None, 1, -1, None],
        "model": [-9, 0, 2, 0, None, None, None],
    }
    rewards = combined({"kind": "rule_first_else_model", "model": "model"}, values)
    assert rewards == [1.0, 0.5, pytest.approx(0.880797), 0.5, 1.0, None, None]


def test_the_group_z_score() -> None:
    # Population: (1, 3) has mean 2, std 1; (10, 10) is constant. eps 1e-6 shows in the sixth digit.
    values: dict[str, Values] = {"bleu": [1, 3, 5], "rm": [0, 10, 7]}
    rewards = combined({"kind": "group_zscore"}, values, "ggh", bleu=0.5, rm=0.5)
    assert rewards == pytest.approx([-1, 1, 0], abs=2e-6)
    assert combined({"kind": "group_zscore"}, {"a": [4, 4]}) == [0.0, 0.0]


def test_a_row_that_abstains_is_no_part_of_the_z_score() -> None:
    values: dict[str, Values] = {"a": [1, 3, 100], "b": [0, 0, None]}
    assert combined({"kind": "group_zscore"}, values) == [
        pytest.approx(-1, abs=2e-6),
        pytest.approx(1, abs=2e-6),
        None,
    ]


def test_the_log_sigmoid_centred_sum() -> None:
    fixed = {"kind": "logsigmoid_centred", "references": {"a": 1.0}}
    assert combined(fixed, {"a": [-1, 1, 3]}) == pytest.approx([-2.1269, -0.6931, -0.1269], abs=5e-5)
    two = {"kind": "logsigmoid_centred", "references": {"a": 0, "b": 1}}
    assert combined(two, {"a": [2], "b": [1]}) == pytest.approx([-0.1269 - 0.6931], abs=1e-4)


def test_the_group_is_its_own_reference() -> None:
    # The median of (0, 2, 4) is 2.
    median = {"kind": "logsigmoid_centred", "percentile": 50}
    assert combined(median, {"a": [0, 2, 4]}) == pytest.approx([-2.1269, -0.6931, -0.1269], abs=5e-5)
    # 85th percentile of (0, 10): 8.5
    rewards = combined({"kind": "logsigmoid_centred"}, {"a": [0, 10, 8.5]}, "ggh")
    assert rewards == pytest.approx([log_sigmoid(-8.5), log_sigmoid(1.5), math.log(0.5)])


def test_the_soft_and_gate() -> None:
    # Three floors 1, 1, 0 with delta 0.1: B = (0.1/1.1)^(1/3) = 0.44964; U = (1·0.6 + 3·…)/4 = 0.8.
    values: dict[str, Values] = {"x": [1], "y": [1], "z": [0], "u": [0.5], "v": [0.9]}
    gate = {"kind": "soft_and", "floors": ["x", "y", "z"]}
    assert combined(gate, values, v=3) == pytest.approx([0.44964 * 0.8], abs=1e-5)
    assert combined(gate, {**values, "z": [1]}, v=3) == pytest.approx([0.8])


@pytest.mark.parametrize("x", [-1e4, -30.0, -1.0, 0.0, 1.0, 30.0, 1e4])
def test_the_sigmoid_does_not_overflow(x: float) -> None:
    assert 0 <= sigmoid(x) <= 1
    assert sigmoid(x) + sigmoid(-x) == pytest.approx(1)
    assert log_sigmoid(x) - log_sigmoid(-x) == pytest.approx(x)


@pytest.mark.parametrize(
    "combine",
    [
        {"kind": "multiplicative"},
        {"kind": "failure_only"},
        {"kind": "soft_and", "floors": ["outcome"]},
    ],
    ids=["multiplicative", "failure_only", "soft_and"],
)
def test_a_gate_out_of_range_names_its_row(combine: dict[str, Any]) -> None:
    made = section(combine, outcome=1, extra=1)
    reward = RewardFunction(
        {"outcome": lambda rows: [1.0, -1.0], "extra": lambda rows: [1.0, 1.0]},
        build_combinator(made.combine, {"outcome": 1, "extra": 1}),
    )
    with refused(RewardProblem, "'q'", "'outcome'", "-1") as caught:
        reward([rollout(), rollout(row_id="q")])
    assert caught.value.part == "combine"


@pytest.mark.parametrize(
    ("combine", "parts", "message"),
    [
        ({"kind": "positive_only", "outcome": "out"}, {"a": 1, "b": 1}, "combine.outcome 'out' is none of"),
        ({"kind": "positive_only"}, {"outcome": 1}, "needs a part beside 'outcome'"),
        ({"kind": "multiplicative"}, {"outcome": {"kind": "outcome"}, "b": 1}, "outcome in .0, 1."),
        ({"kind": "failure_only"}, {"outcome": {**BINARY, "unparsed": -1}, "b": 1}, "outcome in .0, 1."),
        (
            {"kind": "failure_only"},
            {"outcome": {**BINARY, "statuses": {"truncated": -2}}, "b": 1},
            "outcome in .0, 1.",
        ),
        ({"kind": "rule_first_else_model", "rule": "a", "model": "a"}, {"a": 1}, "exactly two parts"),
        (
            {"kind": "rule_first_else_model", "rule": "a", "model": "b"},
            {"a": 1, "b": 1, "c": 1},
            "exactly two",
        ),
        ({"kind": "soft_and", "floors": ["a", "b"]}, {"a": 1, "b": 1}, "beside the floors"),
        ({"kind": "soft_and", "floors": ["a"]}, {"a": 1, "b": -1}, "beside the floors"),
        ({"kind": "soft_and", "floors": ["c"]}, {"a": 1, "b": 1}, "names 'c', none of the parts"),
        ({"kind": "logsigmoid_centred", "references": {"a": 0}}, {"a": 1, "b": 1}, "references lacks 'b'"),
        ({"kind": "logsigmoid_centred", "references": {"c": 0}}, {"a": 1}, "names 'c'"),
        ({"kind": "weighted_sums"}, {"a": 1}, "combine"),
        ({"kind": "weighted_sum"}, {}, "parts"),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(combine, parts, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        section(combine, **parts)


def test_a_binary_outcome_is_a_gate() -> None:
    assert section({"kind": "multiplicative"}, outcome=BINARY, b=1).combine.kind == "multiplicative"
