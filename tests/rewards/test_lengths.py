"""Lengths and repetition by hand."""

from __future__ import annotations

import math

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.rewards.parts.cosine_length import CosineLengthPart
from reasrm.rewards.parts.length import LengthPart
from reasrm.rewards.parts.overlong import OverlongPart
from reasrm.rewards.parts.repetition import RepetitionPart
from tests.refusals import refused
from tests.rewards.rollouts import rollout


def long(*tokens: int, said="A"):
    return [rollout(said, num_tokens=n) for n in tokens]


def test_every_token_beyond_the_soft_limit_costs() -> None:
    section = LengthPart(soft_limit=100, per_token=0.01, most=0.5)
    assert section.build()(long(0, 100, 101, 120, 1000)) == pytest.approx([0, 0, -0.01, -0.2, -0.5])


def test_dapo_overlong() -> None:
    section = OverlongPart(max_tokens=100, buffer_tokens=20)
    assert section.build()(long(80, 85, 90, 100, 300)) == pytest.approx([0, -0.25, -0.5, -1, -1])


def test_the_cosine_starts_at_the_first_value_and_ends_at_the_second() -> None:
    section = CosineLengthPart(max_tokens=100, right=(2, 1), wrong=(-10, 0), exceeded=-5)
    right = section.build()(long(0, 50, 100, 101))
    assert right == pytest.approx([2, 1.5, 1, -5])
    wrong = section.build()([*long(0, 50, 100, said="B"), *long(25, said=None)])
    assert wrong == pytest.approx([-10, -5, 0, -5 * (1 + math.sqrt(0.5))])
    assert section.build()([rollout("A", target=None)]) == [None]


def test_a_longer_right_answer_never_earns_more_by_default() -> None:
    values = CosineLengthPart(max_tokens=64).build()(long(*range(65)))
    assert values == sorted(values, key=lambda value: -value if value is not None else 0.0)
    assert (values[0], values[-1]) == pytest.approx((1.0, 0.5))


def test_repeated_trigrams_cost_their_share() -> None:
    # a b c a b c: four trigrams, three distinct; a a a a: two, one distinct.
    texts = ["a b c a b c", "a a a a", "one two three four", "too short", "", "A, b c! a B c."]
    rows = [rollout(text=text) for text in texts]
    assert RepetitionPart().build()(rows) == pytest.approx([-0.25, -0.5, 0, 0, 0, -0.25])
    assert RepetitionPart(penalty=2, ngram=1).build()(rows[:1]) == pytest.approx([-1.0])


def test_a_buffer_longer_than_the_limit_is_refused() -> None:
    with refused(ConfigError, "200", "100", remedy=False):
        parse_config(OverlongPart, {"max_tokens": 100, "buffer_tokens": 200}, "reward.yaml")
