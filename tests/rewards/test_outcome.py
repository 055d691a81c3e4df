"""Right, wrong, tied, unreadable, unlabelled: each has a value of its own."""

from __future__ import annotations

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.records import Critique, Order, ParseStatus, Rubric
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from reasrm.rewards.parts.outcome import OutcomePart
from tests.rewards.rollouts import rollout


def test_the_default_is_rm_r1() -> None:
    rows = [rollout("A"), rollout("B"), rollout(None), rollout(None, status=ParseStatus.TRUNCATED)]
    assert OutcomePart().build()(rows) == [1.0, -1.0, -1.0, -1.0]
    assert OutcomePart().build()([rollout("A", target="B"), rollout("B", target="B")]) == [-1.0, 1.0]


def test_unreadable_has_a_value_of_its_own() -> None:
    section = OutcomePart(right=1, wrong=0, unparsed=-0.5, statuses={ParseStatus.TRUNCATED: None})
    rows = [rollout("B"), rollout(None), rollout(None, status=ParseStatus.TRUNCATED)]
    assert section.build()(rows) == [0.0, -0.5, None]


@pytest.mark.parametrize("status", [ParseStatus.ERROR, ParseStatus.TOO_LONG])
def test_a_policy_that_wrote_nothing_is_not_punished(status: ParseStatus) -> None:
    assert OutcomePart().build()([rollout(None, status=status)]) == [None]
    assert OutcomePart(statuses={status: -1}).build()([rollout(None, status=status)]) == [-1.0]


def test_without_a_target_the_row_abstains() -> None:
    assert OutcomePart().build()([rollout("A", target=None), rollout(None, target=None)]) == [None, None]


def test_ties_are_explicit() -> None:
    said_tie = [rollout("tie"), rollout("tie", target="tie"), rollout("A", target="tie")]
    assert OutcomePart().build()(said_tie) == [-1.0, 1.0, -1.0]
    assert OutcomePart(predicted_tie=0.25).build()(said_tie) == [0.25, 1.0, -1.0]
    assert OutcomePart(gold_tie="abstain").build()(said_tie) == [-1.0, None, None]


def test_ok_is_no_status_to_give_a_value_to() -> None:
    with pytest.raises(ConfigError, match="whose values are right, wrong"):
        parse_config(OutcomePart, {"statuses": {"ok": 1}}, "reward.yaml")


def test_a_status_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"statuses"):
        parse_config(OutcomePart, {"statuses": {"cut": 0}}, "reward.yaml")


@pytest.mark.parametrize("status", [ParseStatus.ERROR, ParseStatus.TOO_LONG])
def test_no_part_values_a_judgment_that_was_never_written(status: ParseStatus) -> None:
    silent = rollout(None, status=status, rubric=Rubric(text="1. be right"), critique=Critique(text="right"))
    other = rollout("A", order=Order.BA)
    section = RewardSection.model_validate(
        {
            "parts": {
                name: {"kind": name, **more}
                for name, more in {
                    "format_answer": {},
                    "rubric_format": {},
                    "completeness": {},
                    "cosine_length": {"max_tokens": 9},
                    "bleu": {},
                    "rouge": {},
                    "pair_consistency": {"absent": "zero"},
                    "consistency_ladder": {},
                }.items()
            }
        }
    )
    scored = build_reward(section, referee=lambda questions: [1] * len(questions))([silent, other])
    assert {name: values[0] for name, values in scored.parts.items()} == dict.fromkeys(section.parts)
