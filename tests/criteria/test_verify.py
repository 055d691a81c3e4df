"""Which rubrics a second judge's answers keep: truth tables."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.criteria.verify import RejectionReason, answer, effect, kept_by_chance, verify
from reasrm.errors import InternalError

R, W, U = True, False, None
BOTH = {
    (R, R): None,
    (R, W): "split_under_rubric",
    (R, U): "unreadable_under_rubric",
    (W, W): "wrong_under_rubric",
    (W, U): "wrong_under_rubric",
    (U, U): "unreadable_under_rubric",
}


@pytest.mark.parametrize(("under", "reason"), BOTH.items())
def test_both_orders_must_be_right(under, reason):
    for order in (under, under[::-1]):
        found = verify(order)
        assert (found.reason, found.kept, found.right, found.asked) == (
            reason,
            reason is None,
            under.count(R),
            2,
        )


@pytest.mark.parametrize(
    ("require", "under", "reason"),
    [
        *[("majority", (R, R, W), None), ("majority", (R, W, U), "split_under_rubric")],
        *[("majority", (R, W), "split_under_rubric"), ("majority", (R, U), "unreadable_under_rubric")],
        *[("one", (R, W), None), ("one", (R, U), None), ("one", (W, U), "wrong_under_rubric")],
        *[("one", (U, U), "unreadable_under_rubric"), ("both", (R,) * 10, None)],
        ("both", (*(R,) * 9, W), "split_under_rubric"),
    ],
)
def test_how_many_must_be_right(require, under, reason):
    assert verify(under, require=require).reason == reason


def test_tau_over_the_pairs_that_a_request_induces():
    """Of three induced pairs two are right: kept if this one is among them, not if it is the third (eq. 1-3)."""
    assert verify((R, R), others=[(R, R), (W, W)], tau=0.5).kept
    assert verify((W, W), others=[(R, R), (R, R)], tau=0.5).reason == "wrong_under_rubric"
    assert verify((R, R), others=[(W, W), (W, W)], tau=0.5).reason == "below_tau"
    assert verify((R, R), others=[(W, W)], tau=0.5).kept, "one of two is half"
    assert verify((R, R), others=[(U, U), (U, R)], tau=0.5).reason == "below_tau", "unreadable pairs count"
    assert verify((R, R), others=[(W, W), (W, W)]).kept, "no τ, no demand"
    assert verify((R, R), tau=1.0).kept, "a plain pair is all its request induces"


@pytest.mark.parametrize(
    ("under", "without", "reason"),
    [
        ((R, R), (W, R), None),
        ((R, R), (R, R), "no_gain"),
        ((R, W), (W, R), "split_under_rubric"),
        ((R, W), (R, R), "split_under_rubric"),
        ((R, R), (W, W), None),
        ((R, R), (W, U), None),
        ((R, R), (R, U), "no_gain"),  # not shown: nobody knows what the unreadable answer was
        ((R, R), (U, U), "no_gain"),
    ],
)
def test_gain(under, without, reason):
    assert verify(under, without, gain=True).reason == reason
    assert verify(under, without).reason == BOTH[under], "without the demand only the answers under it count"


@pytest.mark.parametrize(
    ("under", "without", "expected"),
    [
        *[((R, R), (R, W), "helpful"), ((R, R), (R, R), "neutral"), ((W, W), (R, W), "neutral")],
        *[((R, W), (R, R), "misleading"), ((U, U), (R, R), "misleading")],
    ],
)
def test_what_a_rubric_did_to_the_judge(under, without, expected):
    assert effect(under, without) == verify(under, without).effect == expected
    assert verify(under).effect is None


def test_nobody_asked_is_a_bug():
    for call in (lambda: verify(()), lambda: verify((R,), gain=True)):
        with pytest.raises(InternalError):
            call()


def test_a_rubric_that_says_prefer_the_first_earns_nothing():
    """EvoLM's reward for a rubric's author has the better response always first, so such a rubric earns all of it."""
    obeys = [answer("A" if shown == "AB" else "B", label) for label in ("A", "B") for shown in ("AB", "BA")]
    assert obeys == [R, W, W, R]
    assert {verify(obeys[:2]).reason, verify(obeys[2:]).reason} == {"split_under_rubric"}
    assert sum(obeys) / len(obeys) <= 0.5


def test_ties_are_right_in_no_order():
    """OpenJudge compares sorted places, so equal ranks pass if the better response is listed first."""
    assert [answer("tie", label) for label in ("A", "B")] == [W, W]
    assert answer("tie", "tie") is R
    assert answer(None, "A") is U
    assert verify([answer("tie", "A")] * 2).reason == "wrong_under_rubric"


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"asked": 2}, 0.25),
        ({"asked": 1}, 0.5),
        ({"asked": 2, "require": "one"}, 0.75),
        ({"asked": 3, "require": "majority"}, 0.5),
        ({"asked": 2, "require": "majority"}, 0.25),
        ({"asked": 2, "without": 2}, 0.25 * 0.75),
        ({"asked": 1, "others": 2, "tau": 0.5}, 0.5 * 0.75),  # one of the two others, at least
        ({"asked": 1, "others": 2, "tau": 1.0}, 0.125),
        ({"asked": 1, "others": 1, "tau": 0.5}, 0.5),
        ({"asked": 2, "right": 0.9}, 0.81),
    ],
)
def test_what_a_coin_would_have_kept(options, share):
    assert kept_by_chance(**options) == pytest.approx(share)


@pytest.mark.parametrize("require", ["both", "majority", "one"])
@pytest.mark.parametrize("tau", [None, 0.4, 0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("gain", [False, True])
def test_chance_is_the_share_of_all_answers_that_are_kept(require, tau, gain):
    asked, others, without = 2, 2, 2
    kept = total = 0
    for bits in product((R, W), repeat=asked * (1 + others) + without):
        pairs = [bits[n : n + asked] for n in range(0, asked * (1 + others), asked)]
        found = verify(pairs[0], bits[-without:], require=require, others=pairs[1:], tau=tau, gain=gain)
        kept, total = kept + found.kept, total + 1
    expected = kept_by_chance(asked, require=require, others=others, tau=tau, without=without if gain else 0)
    assert kept / total == pytest.approx(expected)


ANSWERS = st.lists(st.sampled_from([R, W, U]), min_size=1, max_size=4)


@given(ANSWERS, ANSWERS, st.lists(ANSWERS, max_size=3), st.none() | st.floats(0, 1), st.booleans())
def test_the_order_of_answers_and_pairs_never_matters_and_every_row_has_one_fate(
    under, without, others, tau, gain
):
    found = verify(under, without, others=others, tau=tau, gain=gain)
    assert found == verify(
        under[::-1], without[::-1], others=[o[::-1] for o in others[::-1]], tau=tau, gain=gain
    )
    assert found.reason is None or found.reason in get_args(RejectionReason)
