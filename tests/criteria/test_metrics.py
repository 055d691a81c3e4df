"""The numbers of a rubric report, by hand."""

from __future__ import annotations

import math

import pytest

from reasrm.criteria import metrics
from reasrm.criteria.checks import check_rubric, lean
from reasrm.criteria.metrics import Discrimination, discrimination, gap_closed, leans, order_effect
from reasrm.metrics.intervals import Estimate
from reasrm.rubric import Criterion, Rubric


def rubric(*texts: str) -> Rubric:
    return Rubric(tuple(Criterion(None, text) for text in texts))


def values(found: dict[str, Estimate]) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in found.items()}


# --- one criterion


@pytest.mark.parametrize(
    ("marks", "labels", "weight", "expected"),
    [
        # sd of 1, 1, 0, 0 is 1/2; it is the label
        ([1, 1, 0, 0], [1, 1, 0, 0], None, Discrimination(0.5, 1.0, 4, 1.0)),
        ([1, 1, 0, 0], [1, 0, 1, 0], None, Discrimination(0.5, 0.0, 4, 1.0)),
        # mean 2, deviations 1, 0, -1 against 1, -1, 0 of the labels: 1 / 2
        ([3, 2, 1], [2, 0, 1], 2, Discrimination(math.sqrt(2 / 3), 0.5, 3, 1.0)),
        # a flaw that the worse response has goes with the label
        ([0, 1], [1, 0], -1, Discrimination(0.5, 1.0, 2, 1.0)),
        ([1, 1, 1], [1, 0, 1], None, Discrimination(0.0, None, 3, 1.0)),
        ([1, 0, None, None], [1, 0, 1, 0], None, Discrimination(0.5, 1.0, 2, 0.5)),
        ([None], [1], None, Discrimination(None, None, 0, 0.0)),
        ([], [], None, Discrimination(None, None, 0, None)),
    ],
)
def test_discrimination(marks, labels, weight, expected):
    found = discrimination(marks, labels, weight)
    assert (found.spread, found.correlation) == (
        pytest.approx(expected.spread),
        pytest.approx(expected.correlation),
    )
    assert (found.n, found.coverage) == (expected.n, expected.coverage)


@pytest.mark.parametrize(
    ("chosen", "rejected", "weight", "expected"),
    [
        (1, 0, None, 1),
        (0, 1, 3, -1),
        (1, 1, None, 0),
        (0, 1, -2, 1),
        (1, 0, -2, -1),
        (None, 1, None, None),
        (0, None, -1, None),
    ],
)
def test_which_response_a_criterion_prefers(chosen, rejected, weight, expected):
    assert lean(chosen, rejected, weight) == expected


def test_a_mark_that_is_missing_is_no_zero():
    """open-instruct scores a failed call 0 and keeps the weight: for a negative criterion a free pass."""
    assert lean(0, 0, -2) == 0
    assert lean(None, 0, -2) is None
    found = leans([[1, -1, None], [0, None, None]])
    assert values(found) == {"aligned": 1 / 3, "misaligned": 1 / 3, "indifferent": 1 / 3, "coverage": 0.5}
    assert found["misaligned"].n == 2
    assert values(leans([[None]])) == {
        "aligned": None,
        "misaligned": None,
        "indifferent": None,
        "coverage": 0.0,
    }


# --- rubrics


def test_sizes_repeats_and_conflicts():
    found = metrics.sizes(
        [
            rubric("Is kind.", "Names the city.", "The answer is kind."),
            rubric("Is concise, short.", "Is verbose, short."),
        ]
    )
    # 5 criteria of 2, 3, 4, 3 and 3 words in 2 rubrics; one repeats, one contradicts
    assert values(found) == {"criteria": 2.5, "words": 15 / 5, "redundant": 0.2, "conflict": 0.2}
    assert values(metrics.sizes([])) == {"criteria": None, "words": None, "redundant": None, "conflict": None}


def test_a_share_rests_on_rubrics_and_not_on_criteria():
    found = metrics.share([(1, 4), (0, 1)])
    assert (found.value, found.n) == (0.2, 2)
    assert metrics.share([]).value is None


def test_leak_rate_counts_a_criterion_once():
    leaky = rubric("Names Paris, as Response A does.", "Is kind.", "Is kind to Paris.")
    checked = [(one, check_rubric(one, "Where?", ["In Paris."])) for one in (leaky, rubric("Is kind."))]
    assert metrics.leak_rate(checked).value == 2 / 4


def test_precision_and_recall_match_one_to_one():
    ours = rubric("Names the capital.", "Names the capital city.", "Is kind.", "Rhymes.")
    gold = rubric("Names the capital city.", "Is kind to children.")
    # both of the first two are like the first gold one, which only one can have; `kind` is 1 of 2 words of the second
    assert values(metrics.against_gold([(ours, gold)])) == {"precision": 2 / 4, "recall": 2 / 2}
    strict = metrics.against_gold([(ours, gold), (rubric("Rhymes."), rubric())], threshold=0.6)
    assert values(strict) == {"precision": 1 / 5, "recall": 1 / 2}
    assert strict["recall"].n == 1, "a gold rubric without criteria asks for nothing"


def test_a_criterion_that_forbids_what_gold_wants_does_not_match():
    gold = rubric("The response mentions the price.")
    against = rubric("The response does not mention the price.")
    assert values(metrics.against_gold([(against, gold)])) == {"precision": 0, "recall": 0}


def test_how_stable_a_writer_is_when_the_responses_change_places():
    same = rubric("Is kind.", "Names the city.")
    other = rubric("Is kind.", "Rhymes.", "Is long.")
    assert metrics.order_stability([(same, same)]).value == 1.0
    assert metrics.order_stability([(same, other)]).value == 2 * 1 / 5
    assert metrics.order_stability([(same, same), (same, other)]).value == (4 + 2) / (4 + 5)
    assert metrics.order_stability([(same, rubric())]).value == 0.0


# --- judges


def test_the_order_that_the_writer_saw():
    rows = (
        [(True, True)] * 4
        + [(True, False)] * 3
        + [(False, True)] * 1
        + [(False, False)] * 2
        + [(None, True)] * 10
    )
    found = order_effect(rows)
    assert values(found) == pytest.approx(
        {"accuracy_ab": 0.7, "accuracy_ba": 0.5, "ab_minus_ba": 0.2, "coverage": 0.5}
    )
    assert found["ab_minus_ba"].n == 10


def test_the_difference_is_paired():
    """Where both rubrics are right on the same rows there is no difference, whatever the rows drawn."""
    found = order_effect([(n % 3 == 0,) * 2 for n in range(30)])
    assert (found["ab_minus_ba"].ci_low, found["ab_minus_ba"].ci_high) == (0.0, 0.0)
    assert found["accuracy_ab"].ci_low < found["accuracy_ab"].ci_high


def test_gap_closed():
    # none 2/10, arm 6/10, gold 10/10: half of the way
    rows = [(n < 2, n < 6, True) for n in range(10)]
    found = gap_closed(rows)
    assert values(found) == pytest.approx(
        {"gap_closed": 0.5, "arm_minus_none": 0.4, "gold_minus_none": 0.8, "coverage": 1}
    )
    assert 0 <= found["gap_closed"].ci_low < 0.5 < found["gap_closed"].ci_high <= 1
    assert gap_closed(rows) == found, "the same seed, the same interval"
    assert gap_closed(rows[::-1]) == found, "whatever the order of rows"


def test_an_arm_that_is_the_gold_closes_all_and_one_that_is_none_nothing():
    rows = [(n < 20, n < 90) for n in range(100)]
    gold, none = (gap_closed([(a, c, b) for a, b in rows for c in [(a, b)[side]]]) for side in (1, 0))
    for found, expected in ((gold, 1.0), (none, 0.0)):
        assert [found["gap_closed"].value, found["gap_closed"].ci_low, found["gap_closed"].ci_high] == [
            expected
        ] * 3


def test_without_a_gap_there_is_none_to_close():
    found = gap_closed([(True, False, True), (False, True, False)])
    assert values(found) == {
        "gap_closed": None,
        "arm_minus_none": 0.0,
        "gold_minus_none": 0.0,
        "coverage": 1.0,
    }
    assert values(gap_closed([(True, True, False)]))["gap_closed"] is None


def test_an_arm_may_do_harm():
    assert gap_closed([(True, False, True), (False, False, True)])["gap_closed"].value == -1.0


def test_unreadable_answers_are_left_out_and_seen():
    found = gap_closed([(False, None, True), (False, 0.5, 1.0)])
    assert values(found) == {
        "gap_closed": 0.5,
        "arm_minus_none": 0.5,
        "gold_minus_none": 1.0,
        "coverage": 0.5,
    }
    assert values(gap_closed([(None, True, True)])) == {
        **dict.fromkeys(("gap_closed", "arm_minus_none", "gold_minus_none")),
        "coverage": 0.0,
    }
    assert gap_closed([])["coverage"].value is None


def test_helpful_neutral_misleading():
    found = metrics.effect_shares(["helpful", "neutral", "neutral", "misleading", None])
    assert values(found) == {"helpful": 0.25, "neutral": 0.5, "misleading": 0.25, "coverage": 0.8}


def test_tokens_of_unreadable_judgments_are_paid_by_the_readable_ones():
    found = metrics.tokens_per_verdict([(20, 2), (30, 0), (None, 2), (10, 1)])
    assert (found.value, found.n) == (pytest.approx(60 / 3), 3)
    assert metrics.tokens_per_verdict([(20, 0)]).value is None
