"""Votes, orders and failures of one row, by hand."""

from __future__ import annotations

import pytest

from reasrm.judging.aggregate import aggregate, rule_status
from reasrm.records import (
    CandidateSet,
    Comparison,
    Judgment,
    Message,
    Order,
    ParseStatus,
    PreferencePair,
    RowStatus,
    Verdict,
)

PROMPT = (Message("user", "q"),)
ROW = Comparison(id="r", prompt=PROMPT, response_a="x", response_b="y", target=Verdict("A"))


def said(order: str, winner: str | None, vote: int = 0, status: str = "no_verdict") -> Judgment:
    """A judgment in the row's own frame."""
    verdict = None if winner is None else Verdict(winner)  # type: ignore[arg-type]
    parsed = ParseStatus.OK if winner else ParseStatus(status)
    return Judgment(status=parsed, verdict=verdict, order=Order(order), vote=vote)


def votes(first: str, second: str) -> list[Judgment]:
    """Several votes in each order, a letter each."""
    by_order = (("AB", first), ("BA", second))
    return [said(order, letter, n) for order, letters in by_order for n, letter in enumerate(letters)]


@pytest.mark.parametrize(
    ("judgments", "status", "verdict", "confidence", "consistent", "correct"),
    [
        ([said("AB", "A"), said("BA", "A")], "ok", "A", 1.0, True, True),
        ([said("AB", "B"), said("BA", "B")], "ok", "B", 1.0, True, False),
        ([said("AB", "A"), said("BA", "B")], "split", None, None, False, None),
        ([said("AB", "A"), said("BA", "tie")], "split", None, None, False, None),
        ([said("AB", "tie"), said("BA", "tie")], "ok", "tie", 1.0, True, False),
        ([said("AB", "A"), said("BA", None)], "ok", "A", 1.0, None, True),
        ([said("AB", None), said("BA", None, status="truncated")], "no_verdict", None, None, None, None),
        (
            [
                said("AB", None, 0, "truncated"),
                said("AB", None, 1, "off_menu"),
                said("BA", None, 0, "off_menu"),
            ],
            "off_menu",
            None,
            None,
            None,
            None,
        ),
        ([said("AB", "A")], "ok", "A", 1.0, None, True),
        # Three votes an order: A A B | B B A is 3 to 3 over all, so the orders disagree and the row is split.
        (
            votes("AAB", "BBA"),
            "split",
            None,
            None,
            False,
            None,
        ),
        # A A A | B B A: 4 of 6 for A, but the second order's own majority is B.
        (
            votes("AAA", "BBA"),
            "ok",
            "A",
            4 / 6,
            False,
            True,
        ),
    ],
)
def test_votes(judgments, status, verdict, confidence, consistent, correct):
    result = aggregate(ROW, judgments)
    assert result.status == status
    assert (result.verdict, result.confidence) == (verdict, confidence)
    assert (result.consistent, result.correct) == (consistent, correct)


def test_swapping_the_row_swaps_the_verdict_and_nothing_else():
    judgments = [said("AB", "A"), said("BA", "A"), said("BA", "tie", 1)]
    result, mirrored = aggregate(ROW, judgments), aggregate(ROW.swap(), [j.swap() for j in judgments])
    assert (result.verdict, mirrored.verdict) == ("A", "B")
    assert result.correct is mirrored.correct is True
    assert result.confidence == mirrored.confidence


def test_unlabelled_rows_are_neither_right_nor_wrong():
    row = Comparison(id="r", prompt=PROMPT, response_a="x", response_b="y")
    assert aggregate(row, [said("AB", "A")]).correct is None


def test_pointwise_scores_average_over_readable_votes_only():
    row = CandidateSet(id="r", prompt=PROMPT, responses=("x",), label=7)
    ok = [Judgment(status=ParseStatus.OK, score=6.0), Judgment(status=ParseStatus.OK, score=8.0, vote=1)]
    result = aggregate(row, [*ok, Judgment(status=ParseStatus.OFF_MENU, vote=2)])
    assert (result.status, result.score, result.correct) == (RowStatus.OK, 7.0, True)


def test_a_pair_scored_pointwise_gets_the_verdict_of_its_scores():
    pair = PreferencePair(id="r", prompt=PROMPT, chosen="x", rejected="y")
    scores = [Judgment(status=ParseStatus.OK, score=s, response=n) for n, s in enumerate((4.0, 7.0))]
    result = aggregate(pair, scores)
    assert (result.verdict, result.correct, result.scores) == ("B", False, (4.0, 7.0))
    level = aggregate(pair, [scores[0], Judgment(status=ParseStatus.OK, score=4.0, response=1)])
    assert (level.verdict, level.correct) == ("tie", False)


def test_a_response_without_a_score_leaves_the_row_unreadable():
    pair = PreferencePair(id="r", prompt=PROMPT, chosen="x", rejected="y")
    judgments = [
        Judgment(status=ParseStatus.OK, score=4.0),
        Judgment(status=ParseStatus.TRUNCATED, response=1),
    ]
    result = aggregate(pair, judgments)
    assert (result.status, result.verdict, result.scores) == (RowStatus.TRUNCATED, None, (4.0, None))


def test_a_level_top_of_a_list_is_a_split_and_never_the_first_response():
    row = CandidateSet(id="r", prompt=PROMPT, responses=("x", "y", "z"), label=0)
    fives = [Judgment(status=ParseStatus.OK, score=5.0, response=n) for n in range(3)]
    result = aggregate(row, fives)
    assert (result.status, result.ranking, result.correct) == (RowStatus.SPLIT, None, None)
    assert result.scores == (5.0, 5.0, 5.0)
    lists = [
        Judgment(status=ParseStatus.OK, ranking=(0, 1, 2), scores=(5.0, 4.0, 1.0)),
        Judgment(status=ParseStatus.OK, ranking=(1, 0, 2), scores=(4.0, 5.0, 1.0), order=Order.BA),
    ]
    result = aggregate(row, lists)
    assert (result.status, result.consistent, result.correct) == (RowStatus.SPLIT, False, None)


def test_lists_are_ranked_by_mean_rank():
    row = CandidateSet(id="r", prompt=PROMPT, responses=("x", "y", "z"), label=1)
    first = Judgment(status=ParseStatus.OK, ranking=(1, 0, 2), scores=(3.0, 5.0, 1.0))
    second = Judgment(status=ParseStatus.OK, ranking=(1, 2, 0), scores=(2.0, 4.0, 3.0), order=Order.BA)
    # Mean ranks: x (1 + 2) / 2 = 1.5, y 0, z (2 + 1) / 2 = 1.5; x and z are level, mean scores 2.5 and 2.
    result = aggregate(row, [first, second])
    assert (result.ranking, result.scores) == ((1, 0, 2), (2.5, 4.5, 2.0))
    assert (result.consistent, result.correct) == (True, True)


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        ("x", "y", None),
        ("x", "x", "identical"),
        ("", "y", "degenerate"),
        (" \n", "y", "degenerate"),
        ("", "", "degenerate"),
    ],
)
def test_pairs_that_are_settled_without_a_judge(a, b, status):
    assert rule_status(PreferencePair(id="r", prompt=PROMPT, chosen=a, rejected=b)) == status
    assert rule_status(Comparison(id="r", prompt=PROMPT, response_a=b, response_b=a)) == status


@pytest.mark.parametrize(
    ("texts", "status"),
    [
        (("x", "x", "y"), None),
        (("", "x", "y"), None),
        (("x", "x", "x"), "identical"),
        (("", " "), "degenerate"),
        (("x",), None),
        (("",), "degenerate"),
    ],
)
def test_a_list_is_settled_only_if_there_is_nothing_to_choose(texts, status):
    assert rule_status(CandidateSet(id="r", prompt=PROMPT, responses=texts)) == status
