"""Criteria that repeat or contradict each other, and the limits of a rubric."""

from __future__ import annotations

import pytest

from reasrm.criteria.alike import Word, polarity, relations, similarity, texts_of, undecided
from reasrm.criteria.checks import ChecksSection, Fault, check_rubric, lean
from reasrm.rubric import Criterion, Rubric


def said(*texts: str, weights: tuple[float | None, ...] = ()) -> tuple[Criterion, ...]:
    return tuple(
        Criterion("principle", text, weight)
        for text, weight in zip(texts, weights or (None,) * len(texts), strict=True)
    )


@pytest.mark.parametrize(
    ("one", "two", "share"),
    [
        ("The response names the capital.", "Names the capital!", 1.0),
        ("names the capital city of France", "names the capital city", 3 / 4),  # name capit citi | + franc
        ("Is concise.", "Is verbose.", 1.0),
        ("Is polite.", "Names the capital.", 0.0),
        ("", "", 0.0),
    ],
)
def test_similarity_by_hand(one, two, share):
    assert similarity(one, two) == similarity(two, one) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "weight", "sign"),
    [
        ("Is concise.", None, 1),
        ("Is verbose.", None, -1),
        ("Is not verbose.", None, 1),
        ("Mentions the price.", None, 1),
        ("Does not mention the price.", None, -1),
        ("Avoids jargon.", None, -1),
        ("Mentions the price.", -2, -1),
        ("Does not mention the price.", -2, 1),
        ("Mentions the price.", 0, 1),
        ("States not only the price.", None, 1),
    ],
)
def test_polarity(text, weight, sign):
    assert polarity(Criterion(None, text, weight)) == sign


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (said("Is polite.", "Names the capital."), []),
        (said("Is polite.", "Is short.", "The answer is polite."), [(0, 2, "duplicate")]),
        (said("Mentions the price.", "Does not mention the price."), [(0, 1, "conflict")]),
        (said("Is concise.", "Is verbose."), [(0, 1, "conflict")]),
        (said("Is concise.", "Is not verbose."), [(0, 1, "duplicate")]),
        (said("Mentions the price.", "Mentions the price.", weights=(1, -1)), [(0, 1, "conflict")]),
        (said("Is verbose.", "Is concise.", weights=(-1, 1)), [(0, 1, "duplicate")]),
        (
            said("Is kind.", "Is kind.", "Is kind."),
            [(0, 1, "duplicate"), (0, 2, "duplicate"), (1, 2, "duplicate")],
        ),
    ],
)
def test_repeats_and_contradictions(criteria, expected):
    assert [(one.first, one.second, one.kind) for one in relations(criteria)] == expected


COLOUR, HUE = "The response names a colour.", "The response names a hue."


def test_words_leave_undecided_what_is_in_the_band_each_pair_once():
    criteria = said(COLOUR, HUE, "Is calm.", "It names a colour.", HUE)  # 1/3 · 0 · 1, and equal texts
    assert undecided(criteria, least=0.3) == (
        (COLOUR, HUE),
        ("It names a colour.", HUE),
    )
    assert undecided(criteria, least=0.34) == ()
    assert undecided(criteria[:3], least=0) == tuple(
        texts_of(*pair) for pair in ((criteria[0], criteria[1]), (criteria[0], criteria[2]), criteria[1:3])
    )


@pytest.mark.parametrize(
    ("word", "weights", "kind"),
    [
        ("same", (None, 1), ["duplicate"]),
        ("opposite", (None, 1), ["conflict"]),
        ("same", (1, -1), ["conflict"]),
        ("opposite", (1, -1), ["duplicate"]),
        ("neither", (None, None), []),
        ("unread", (None, None), []),
        ("failed", (None, None), []),
        (None, (None, None), []),
    ],
)
def test_a_models_word_counts_where_words_leave_it_open(word: Word | None, weights, kind):
    criteria = said(HUE, COLOUR, weights=weights)
    words = {} if word is None else {(COLOUR, HUE): word}
    assert [one.kind for one in relations(criteria, said=words)] == kind
    faults = check_rubric(Rubric(criteria), "name it", said=words)
    assert [(fault.reason, fault.criterion) for fault in faults] == [(one, 1) for one in kind]


def test_a_model_does_not_overrule_words():
    criteria = said("Is concise.", "Is verbose.")
    words: dict[tuple[str, str], Word] = {("Is concise.", "Is verbose."): "same"}
    assert [one.kind for one in relations(criteria, said=words)] == ["conflict"]


REQUEST, RESPONSES = "Name the capital of France.", ("It is Paris.", "It is Lyon, dear.")


def reasons(rubric: Rubric, **limits: float) -> list[tuple[str, int | None]]:
    faults = check_rubric(rubric, REQUEST, RESPONSES, ChecksSection(**limits))
    return [(fault.reason, fault.criterion) for fault in faults]


def test_a_good_rubric_has_no_fault():
    assert reasons(Rubric(said("The response names the capital.", "The response is polite."))) == []


def test_every_fault_is_found_and_named():
    texts = (
        "Is kind.",
        "Names Paris, as the first response does.",
        "word " * 41,
        "Is not kind.",
        "Is kind, surely.",
    )
    assert reasons(Rubric(said(*texts)), most=4) == [
        ("too_many", None),
        *[("leak_name", 1), ("position", 1), ("too_long", 2), ("conflict", 3)],
    ]
    assert check_rubric(Rubric(said("Is kind.", "Is kind.")), REQUEST) == (Fault("duplicate", 1, "Is kind."),)


def test_limits_are_inclusive():
    rubric = Rubric(said("one two three", "four five six"))
    assert reasons(rubric, most=2, longest_words=3) == []
    assert reasons(rubric, most=1, longest_words=2) == [("too_many", None), ("too_long", 0), ("too_long", 1)]


def test_free_text_has_no_criteria():
    assert check_rubric(Rubric(text="Be kind."), REQUEST) == (Fault("no_criteria", None, "Be kind."),)
    assert reasons(Rubric()) == [("no_criteria", None)]


def test_what_a_criterion_says_beside_its_text_may_leak_too():
    hidden = [
        Criterion(None, "Is right.", name="Paris"),
        Criterion(None, "Is useful.", choices=("no", "as Response A")),
        Criterion(None, "Is brief.", category="the chosen response"),
    ]
    assert reasons(Rubric(tuple(hidden))) == [("leak_name", 0), ("position", 1), ("position", 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["option B ", "Paris ", "is not kind, ", "the other response ", "1,", "A", "-"]
)
def test_a_hostile_rubric_costs_no_more_than_its_length(piece):
    long = piece * (30_000 // len(piece))
    check_rubric(Rubric(said(long, "Is kind.")), f"Compare option B. {long}", [long, long])
    assert check_rubric(Rubric(said(*["Is kind."] * 3000)), REQUEST)[0] == Fault("too_many", None, "3000")


def test_criteria_that_prefer_the_worse_response_or_neither():
    marks = [(1, 0, None), (0, 1, None), (1, 1, 2), (0, 1, -1), (None, 1, 1)]
    assert [lean(chosen, rejected, weight) for chosen, rejected, weight in marks] == [1, -1, 0, 1, None]
