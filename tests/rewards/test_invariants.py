"""What holds for every part: rows may stand in any order, A and B may change places, weights scale."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.critiques.scores import CritiqueScores
from reasrm.records import Criterion, Order, ParseStatus, Rubric
from reasrm.rewards.base import Rollout
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from tests.rewards.rollouts import rollout

PARTS = {
    "outcome": {"kind": "outcome", "right": 1, "wrong": 0, "unparsed": 0},
    "cold": {"kind": "format_answer"},
    "rubric": {"kind": "rubric_format"},
    "ladder": {"kind": "consistency_ladder"},
    "complete": {"kind": "completeness"},
    "length": {"kind": "length", "soft_limit": 8},
    "overlong": {"kind": "overlong", "max_tokens": 16, "buffer_tokens": 8},
    "cosine": {"kind": "cosine_length", "max_tokens": 16},
    "repetition": {"kind": "repetition"},
    "bleu": {"kind": "bleu", "against": "reference", "read": "text"},
    "rouge": {"kind": "rouge", "against": "reference", "read": "text"},
    "pair": {"kind": "pair_consistency", "absent": "zero"},
    "critique": {"kind": "critique", "least": None},
    "limits": {"kind": "critique_format"},
    "agree": {"kind": "critique_agreement"},
    "diverse": {"kind": "critique_diversity"},
}
RUBRIC = Rubric(criteria=(Criterion("hard_rule", "It is true."),))
TEXTS = [
    "",
    "<think>It adds up.</think><answer>[[A]]</answer>",
    "<rubric>1. true</rubric><eval>1. A is true here, B is not.</eval><answer>[[A]]</answer>",
    "no no no no no no",
]
COMBINES = [
    {"kind": "weighted_sum"},
    {"kind": "positive_only"},
    {"kind": "multiplicative"},
    {"kind": "failure_only"},
    {"kind": "group_zscore"},
    {"kind": "logsigmoid_centred"},
    {"kind": "critique_bonus", "format": "limits"},
]

rows = st.builds(
    rollout,
    st.sampled_from(["A", "B", "tie", None]),
    target=st.sampled_from(["A", "B", "tie", None]),
    text=st.sampled_from(TEXTS),
    evaluation=st.sampled_from([None, "1. A is true here, B is not at all."]),
    status=st.sampled_from([ParseStatus.NO_VERDICT, ParseStatus.TRUNCATED, ParseStatus.ERROR]),
    group=st.sampled_from("gh"),
    num_tokens=st.integers(0, 20),
    row_id=st.sampled_from("pq"),
    order=st.sampled_from(Order),
    reference=st.sampled_from([None, "It adds up."]),
    rubric=st.sampled_from([None, RUBRIC]),
)
batches = st.lists(rows, min_size=1, max_size=8)
sections = st.sampled_from([RewardSection.model_validate({"parts": PARTS, "combine": c}) for c in COMBINES])


def referee(questions):
    """Has an opinion that depends on what it is shown, not on where it stands or which letter it bears."""
    return [(-1, 0, 1, None)[len(question.reasoning) % 4] for question in questions]


def scorer(cases):
    """Scores some critiques by what they say and fails on others."""
    return [CritiqueScores(f1=len(case.text) % 10 / 10) if case.text else None for case in cases]


def score(section: RewardSection, batch: list[Rollout]):
    return build_reward(section, referee=referee, critiques=scorer)(batch)


def same(one, other) -> bool:
    return (
        one == pytest.approx(other, nan_ok=True)
        if None not in (*one, *other)
        else all(
            (a is None and b is None) or (a is not None and b is not None and a == pytest.approx(b))
            for a, b in zip(one, other, strict=True)
        )
    )


def swapped(row: Rollout) -> Rollout:
    return replace(row, comparison=row.comparison.swap(), judgment=row.judgment.swap())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(sections, batches, st.randoms(use_true_random=False))
def test_permuted_rollouts_have_permuted_rewards(section, batch, random) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    plain, permuted = score(section, batch), score(section, [batch[n] for n in order])
    assert same([plain.rewards[n] for n in order], permuted.rewards)
    for name, values in plain.parts.items():
        assert same([values[n] for n in order], permuted.parts[name]), name


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(sections, batches)
def test_a_and_b_are_only_names(section, batch) -> None:
    plain, exchanged = score(section, batch), score(section, [swapped(row) for row in batch])
    assert same(plain.rewards, exchanged.rewards)
    for name, values in plain.parts.items():
        assert same(values, exchanged.parts[name]), name


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(batches, st.floats(-4, 4, allow_subnormal=False))
def test_weights_scale_the_sum(batch, factor) -> None:
    def weighted(by: float) -> RewardSection:
        parts = {name: {**part, "weight": by * (1 + n)} for n, (name, part) in enumerate(PARTS.items())}
        return RewardSection.model_validate({"parts": parts})

    plain, scaled = score(weighted(1.0), batch), score(weighted(factor), batch)
    assert same([None if r is None else factor * r for r in plain.rewards], scaled.rewards)
    assert plain.parts == scaled.parts
