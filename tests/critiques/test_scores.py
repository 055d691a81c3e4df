"""Matching and scores by hand; what holds for all critiques; the hacking suite."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.critiques import (
    CritiqueScores,
    Match,
    assign,
    core_arguments,
    favoured_side,
    score_critique,
    stem_overlap,
)
from reasrm.critiques.scores import average_precision, f1_score, precision, recall, soft_recall
from reasrm.errors import ConfigError
from reasrm.records import CoreArgument
from tests.refusals import refused

HUMAN = core_arguments(
    "Response A is accurate about dates. Response A gives a helpful summary. "
    "Response B is misleading about prices. Response B lacks examples."
)


def args(*said: str) -> list[CoreArgument]:
    """`A+ red fox` as an argument; `!` at the end makes it fatal."""
    return [
        CoreArgument(
            "A" if s[0] == "A" else "B",
            "for" if s[1] == "+" else "against",
            s[3:].rstrip("!"),
            s.endswith("!"),
        )
        for s in said
    ]


def test_the_reference_of_the_suite() -> None:
    assert [(a.about, a.stance) for a in HUMAN] == [
        ("A", "for"),
        ("A", "for"),
        ("B", "against"),
        ("B", "against"),
    ]


def test_side_and_stance_must_agree() -> None:
    reference = args("A+ red fox")
    for said, found in (("A+ red fox", 1), ("A- red fox", 0), ("B+ red fox", 0), ("B- red fox", 0)):
        assert score_critique(args(said), reference, stem_overlap).matched == found


def test_the_assignment_has_the_largest_sum_not_the_first_best_pair() -> None:
    weights = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert assign(weights) == (Match(0, 1, 0.8), Match(1, 0, 0.8))
    assert assign(weights, threshold=0.85) == (Match(0, 0, 0.9),)
    assert assign(weights, threshold=0.95) == ()


def test_ties_go_to_more_pairs_and_earlier_arguments() -> None:
    assert assign(np.array([[0.5, 1.0], [0.0, 0.5]])) == (Match(0, 0, 0.5), Match(1, 1, 0.5))
    assert assign(np.array([[0.7], [0.7], [0.7]])) == (Match(0, 0, 0.7),)


def test_nothing_is_assigned_at_zero_and_a_threshold_is_checked() -> None:
    assert (
        assign(np.zeros((2, 3)), threshold=0.0) == assign(np.zeros((0, 3))) == assign(np.zeros((2, 0))) == ()
    )
    with refused(ConfigError, "threshold", "1.5", "[0, 1]"):
        assign(np.ones((1, 1)), threshold=1.5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_the_assignment_is_the_best_of_all(rows: int, columns: int, data: st.DataObject) -> None:
    cells = data.draw(st.lists(st.integers(0, 10), min_size=rows * columns, max_size=rows * columns))
    weights = np.array(cells, dtype=float).reshape(rows, columns) / 10
    allowed = np.where(weights >= 0.5, weights, 0.0)
    square = np.zeros((4, 4))
    square[:rows, :columns] = allowed
    best = max(
        (round(sum(square[i, p[i]] for i in range(4)), 9), sum(square[i, p[i]] > 0 for i in range(4)))
        for p in permutations(range(4))
    )
    found = assign(weights)
    assert (round(sum(pair.similarity for pair in found), 9), len(found)) == best


def test_formulas() -> None:
    assert (precision(2, 4), recall(2, 5), f1_score(2, 4, 5)) == (
        0.5,
        0.4,
        pytest.approx(2 * 0.5 * 0.4 / 0.9),
    )
    assert (
        precision(0, 0),
        recall(0, 0),
        f1_score(0, 0, 0),
        average_precision([], 0),
        soft_recall([], 0),
    ) == (0,) * 5
    # Hits second and fourth of a list, three to find: (1/2 + 2/4) / 3.
    assert average_precision([3, 1], 3) == pytest.approx(1 / 3)
    assert soft_recall([0.5, 0.4], 3) == pytest.approx(0.3)


def test_all_scores_of_a_critique() -> None:
    said = args("B+ vivid colours", "A+ red fox jumps", "B- slow dog", "A- rude")
    meant = args("A+ red fox", "B- slow lazy dog sleeps", "A+ short")
    # 2/3 for the fox, 2/4 for the dog; places 2 and 3 of 4; 3 to find.
    assert score_critique(said, meant, stem_overlap) == CritiqueScores(
        precision=0.5,
        recall=2 / 3,
        f1=pytest.approx(4 / 7),
        average_precision=pytest.approx((1 / 2 + 2 / 3) / 3),
        soft_recall=pytest.approx((2 / 3 + 1 / 2) / 3),
        generated=4,
        reference=3,
        matched=2,
    )
    strict = score_critique(said, meant, stem_overlap, threshold=0.6)
    assert (strict.matched, strict.f1) == (1, pytest.approx(2 / 7))
    assert strict.soft_recall == pytest.approx(7 / 18)


def test_a_fatal_error_is_all_that_counts() -> None:
    meant = args("A+ red fox", "B- invents dates!", "B- poisonous mushrooms!")
    both = score_critique(
        args("A+ red fox", "B- invents dates", "B- poisonous mushrooms"), meant, stem_overlap
    )
    assert (both.reference, both.matched, both.recall, both.precision) == (1, 1, 1.0, 1 / 3)
    assert (both.f1, both.average_precision) == (0.5, 0.5)
    assert score_critique(args("A+ red fox"), meant, stem_overlap).f1 == 0
    assert score_critique([], meant, stem_overlap) == CritiqueScores(reference=1)
    assert score_critique(args("A+ red fox"), meant, stem_overlap, fatal_rule=False).f1 == 0.5


def test_repeats_in_the_reference_count_once() -> None:
    scores = score_critique(args("A+ fox"), args("A+ fox", "A+ the fox"), stem_overlap)
    assert (scores.reference, scores.f1) == (1, 1.0)
    # One is fatal if any of its mentions is, wherever it stands.
    for meant in (args("A- fox!", "A- fox", "B+ dog"), args("A- fox", "B+ dog", "A- the fox!")):
        assert score_critique(args("A- fox"), meant, stem_overlap).reference == 1


def test_the_side_that_a_critique_speaks_for() -> None:
    assert favoured_side(args("A+ x", "B- y", "B+ z")) == "A"
    assert favoured_side(args("A- x")) == "B"
    assert favoured_side(args("A+ x", "B+ y")) is favoured_side([]) is None


# The hacking suite


def test_hack_the_prompt_copied() -> None:
    prompt = (
        "Judge which chatbot answers the user better. Think about accuracy and safety.\n"
        "Question: name a city in France.\nResponse A: Paris, which is in France.\nResponse B: London.\n"
    )
    assert score_critique(core_arguments(prompt), HUMAN, stem_overlap) == CritiqueScores(reference=4)


def test_hack_everything_listed() -> None:
    rest = args(*(f"A+ topic{n} thing{n}" for n in range(12)))
    first, last = (score_critique(said, HUMAN, stem_overlap) for said in ([*HUMAN, *rest], [*rest, *HUMAN]))
    assert (
        (first.precision, first.recall, first.f1)
        == (last.precision, last.recall, last.f1)
        == (0.25, 1.0, 0.4)
    )
    # Average precision has no price for what comes after the last hit.
    assert first.average_precision == 1.0
    assert last.average_precision == pytest.approx((1 / 13 + 2 / 14 + 3 / 15 + 4 / 16) / 4)


def test_hack_one_argument_repeated() -> None:
    said = [HUMAN[0], *args("A+ Accurate dates", "A+ accurate about the dates", "A+ its date is accurate")]
    scores = score_critique(said, HUMAN, stem_overlap)
    assert (scores.precision, scores.recall, scores.f1, scores.average_precision) == (0.25, 0.25, 0.25, 0.25)
    unique = score_critique(said, HUMAN, stem_overlap, repeats="unique")
    assert (unique.precision, unique.f1) == (1.0, 0.4)
    assert score_critique(said, HUMAN, stem_overlap, repeats="zero") == CritiqueScores(
        generated=4, reference=4
    )


def test_a_repeat_cannot_take_a_second_similar_reference() -> None:
    meant = args("A+ red fox jumps", "A+ red fox sleeps")
    assert score_critique(args("A+ red fox", "A+ the red fox"), meant, stem_overlap).matched == 1


def test_hack_both_stances() -> None:
    other = [CoreArgument(a.about, "against" if a.stance == "for" else "for", a.text) for a in HUMAN]
    assert score_critique([*HUMAN, *other], HUMAN, stem_overlap) == CritiqueScores(generated=8, reference=4)
    # In other words, and about one side only, it pays half the precision ...
    reworded = [CoreArgument(a.about, a.stance, f"{a.text} un{n}") for n, a in enumerate(other)]
    assert score_critique([*HUMAN, *reworded], HUMAN, stem_overlap).f1 == pytest.approx(2 / 3)
    # ... and both stances on both sides three quarters of it.
    everything = [*HUMAN, *reworded, *(a.swap() for a in HUMAN), *(a.swap() for a in reworded)]
    assert score_critique(everything, HUMAN, stem_overlap).f1 == pytest.approx(0.4)


def test_hack_the_verdict_against_the_critique() -> None:
    said = core_arguments(
        "A is accurate about dates. A gives a helpful summary. B misleads about prices. B lacks examples."
    )
    scores = score_critique(said, HUMAN, stem_overlap)
    # The critique is perfect and speaks for A: a verdict B earns nothing only because the gate asks for the outcome.
    assert (scores.f1, scores.average_precision, favoured_side(said)) == (1.0, 1.0, "A")


def test_hack_an_empty_critique() -> None:
    assert score_critique(core_arguments(" \n"), HUMAN, stem_overlap) == CritiqueScores(reference=4)
    assert score_critique(HUMAN, [], stem_overlap) == CritiqueScores(generated=4)
    assert score_critique([], [], stem_overlap) == CritiqueScores()


def test_hack_another_rows_critique() -> None:
    said = core_arguments("Response A is robust against crashes. Response B is verbose in its code.")
    assert score_critique(said, HUMAN, stem_overlap) == CritiqueScores(generated=2, reference=4)


# What holds for all critiques

TEXTS = st.lists(st.sampled_from(["fox", "dog", "cat", "owl"]), min_size=1, max_size=3).map(" ".join)
ARGUMENTS = st.builds(
    CoreArgument,
    st.sampled_from("AB"),
    st.sampled_from(["for", "against"]),
    TEXTS,
    st.sampled_from([False, False, True]),
)
LISTS = st.lists(ARGUMENTS, max_size=6)
NUMBERS = ("precision", "recall", "f1", "average_precision", "soft_recall")


@settings(deadline=None, max_examples=50)
@given(LISTS, LISTS, st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.data())
def test_invariants(
    said: list[CoreArgument], meant: list[CoreArgument], threshold: float, data: st.DataObject
) -> None:
    scores = score_critique(said, meant, stem_overlap, threshold=threshold)
    assert all(0 <= getattr(scores, name) <= 1 + 1e-12 for name in NUMBERS)
    swapped = score_critique(
        [a.swap() for a in said], [a.swap() for a in meant], stem_overlap, threshold=threshold
    )
    assert swapped == scores
    shuffled = score_critique(
        data.draw(st.permutations(said)), data.draw(st.permutations(meant)), stem_overlap, threshold=threshold
    )
    assert (shuffled.f1, shuffled.precision, shuffled.recall) == (scores.f1, scores.precision, scores.recall)
    assert shuffled.soft_recall == pytest.approx(scores.soft_recall)


@settings(deadline=None, max_examples=50)
@given(LISTS.filter(bool), LISTS, st.sampled_from(["count", "unique", "zero"]), st.data())
def test_saying_it_again_never_pays(
    said: list[CoreArgument], meant: list[CoreArgument], repeats: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(said) - 1))
    later = data.draw(st.integers(place + 1, len(said)))
    longer = [*said[:later], said[place], *said[later:]]
    before, after = (score_critique(s, meant, stem_overlap, repeats=repeats) for s in (said, longer))
    for name in NUMBERS:
        assert getattr(after, name) <= getattr(before, name) + 1e-12


@settings(deadline=None, max_examples=50)
@given(LISTS)
def test_a_critique_that_says_what_it_should_is_perfect_unless_it_turns_itself_round(
    said: list[CoreArgument],
) -> None:
    stances = {(a.about, frozenset(a.text.split())): set() for a in said}
    for a in said:
        stances[a.about, frozenset(a.text.split())].add(a.stance)
    clear = bool(said) and all(len(found) == 1 for found in stances.values())
    scores = score_critique(said, said, stem_overlap, repeats="unique", fatal_rule=False)
    assert (scores.f1 == scores.average_precision == 1.0) is clear
