"""RewardAnything's list reward: the released pair part by hand, ours by its ends."""

from __future__ import annotations

import json

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError, InternalError
from reasrm.records import Judgment, ParseStatus
from reasrm.rewards.listwise import (
    GoldList,
    ListwiseSection,
    format_score,
    listwise_agreement,
    listwise_reward,
    pair_agreement,
)
from tests.refusals import refused

NAMES = ("response-1", "response-2", "response-3")
RANKING = ["response-1", "response-3", "response-2"]
ANSWER = json.dumps({"scores": dict(zip(NAMES, (5, 1, 3), strict=True)), "best-to-worst": RANKING})
THOUGHT = "<think>" + "x" * 51 + "</think>"


@pytest.mark.parametrize(
    ("scores", "gold", "expected"),
    [
        ((5, 1, 3), (5, 1, 3), 1.0),
        # weights 5, 3, 3; the pair (1, 2) is reversed: 1 − 3/11
        ((5, 3, 1), (5, 1, 3), 8 / 11),
        ((1, 5, 3), (5, 1, 3), 0.0),  # all three reversed
        ((3, 3, 3), (5, 1, 3), 0.5),  # every tie costs half
        ((5, 1, 3), (2, 2, 2), 1.0),  # nothing to get wrong
        ((2, 1), (1, 0), 1.0),
        ((1, 1), (1, 0), 0.5),
        ((0, 1), (1, 0), 0.0),
    ],
)
def test_the_weighted_pair_part(scores, gold, expected: float) -> None:
    assert pair_agreement(scores, gold) == pytest.approx(expected)


def test_gold_labels_of_candidate_sets() -> None:
    assert GoldList.from_label(1, 3) == GoldList((0.0, 1.0, 0.0), scored=False)
    assert GoldList.from_label((2, 0, 1), 3) == GoldList((1.0, 0.0, 2.0), scored=False)
    with pytest.raises(InternalError, match="no ranking of 3"):
        GoldList.from_label((0, 0, 1), 3)


def test_agreement_by_hand() -> None:
    section = ListwiseSection()
    gold = GoldList((5, 1, 3), scored=True)
    assert listwise_agreement(section, (5, 1, 3), gold) == pytest.approx(1.0)
    # scores 4, 1, 4 (a tie of the first and third): pairs: weights 5, 3, 3, half of 3 lost: 1 − 1.5/11;
    # rank: τ = (1 + 0 + 1)/3, top 1 of the gold is one of the judge's two best: ((τ + 1)/2 + 1/2)/2;
    # sorted 1, 4, 4 against 1, 3, 5: 1 − (0 + 1 + 1)/4/3; near: 1/2, 1, 1/2.
    rank = ((2 / 3 + 1) / 2 + 0.5) / 2
    expected = 0.4 * (1 - 1.5 / 11) + 0.2 * rank + 0.2 * (1 - 2 / 12) + 0.2 * (2 / 3)
    assert listwise_agreement(section, (4, 1, 4), gold) == pytest.approx(expected)


def test_a_gold_ranking_has_no_scores_to_match() -> None:
    gold = GoldList.from_label((0, 2, 1), 3)
    assert listwise_agreement(ListwiseSection(), (5, 1, 3), gold) == pytest.approx(1.0)
    # Completely reversed: pairs 0, τ −1, top 1 missed.
    assert listwise_agreement(ListwiseSection(), (1, 5, 3), gold) == pytest.approx(0.0)
    only_pairs = ListwiseSection(rank=0)
    # ranks 2, 0, 1: weights 3, 2, 2; the pair of weight 2 is reversed
    assert listwise_agreement(only_pairs, (5, 3, 1), gold) == pytest.approx(5 / 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (THOUGHT + ANSWER, 1.0),
        ("<think>short</think>" + ANSWER, 0.95),
        (ANSWER, 0.80),
        ("</think>" + ANSWER, 0.85),
        (THOUGHT + "Here: " + ANSWER, 0.95),
        (THOUGHT + ANSWER[:-1], 0.20),
        (THOUGHT + '{"scores": {"response-1": 5}}', 0.2 + 0.2 + 0.1 + 0.2 / 3),
        (THOUGHT + '{"scores": 5, "best-to-worst": 5}', 0.2 + 0.2 + 0.2),
        (THOUGHT + ANSWER.replace(json.dumps(RANKING), json.dumps(list(NAMES))), 0.9),  # 5 ≥ 1, 1 < 3
        (THOUGHT + "[1]", 0.2),
        (THOUGHT + '{"scores": {"response-1": []}, "best-to-worst": [[], {}]}', 0.2 + 0.2 + 0.2 + 0.2 / 3),
        ("[" * 100_000, 0.0),
        ("", 0.0),
    ],
    ids=[
        "whole",
        "little thinking",
        "no thinking",
        "one think tag",
        "cut out by brackets",
        "broken",
        "one of three",
        "wrong types",
        "ranking against scores",
        "a list",
        "hostile types",
        "hostile depth",
        "empty",
    ],
)
def test_the_format_part(text: str, expected: float) -> None:
    assert format_score(text, NAMES, "scores", "best-to-worst") == pytest.approx(expected)


def test_the_whole_is_15_percent_format() -> None:
    gold = GoldList((5, 1, 3), scored=True)
    read = Judgment(ParseStatus.OK, scores=(5.0, 1.0, 3.0), text=ANSWER)
    unread = Judgment(ParseStatus.OFF_MENU, text=THOUGHT)
    assert listwise_reward(ListwiseSection(), read, gold, names=NAMES) == pytest.approx(0.15 * 0.8 + 0.85)
    assert listwise_reward(ListwiseSection(), unread, gold, names=NAMES) == pytest.approx(0.15 * 0.2)


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InternalError, match="2 scores for 3 candidates"):
        listwise_agreement(ListwiseSection(), (1, 2), GoldList((1, 2, 3), scored=True))
    with refused(ConfigError, "minimum 5", "maximum 5", remedy=False):
        parse_config(ListwiseSection, {"minimum": 5}, "reward.yaml")
    with pytest.raises(ConfigError, match="need one of them"):
        parse_config(ListwiseSection, {"pairs": 0, "rank": 0}, "reward.yaml")
