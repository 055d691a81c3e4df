"""BLEU and ROUGE against what a person wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from reasrm.records import CoreArgument, Critique, Order
from reasrm.rewards.base import Rollout
from reasrm.rewards.parts.bleu import BleuPart
from reasrm.rewards.parts.rouge import RougePart
from tests.rewards.rollouts import rollout

SAID, EXPECTED = "the cat sat on the mat", "the cat sat on a mat"
# 1- to 4-grams in common: 5/6, 3/5, 2/4, 1/3; both have six words, so no brevity penalty.
BLEU = (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25


def row(said: str | None, gold: Critique | None, **more: Any) -> Rollout:
    return rollout(evaluation=said, critique=gold, **more)


def test_values_by_hand() -> None:
    rows = [row(SAID, Critique(text=EXPECTED)), row(EXPECTED, Critique(text=EXPECTED))]
    assert BleuPart().build()(rows) == pytest.approx([BLEU, 1.0])
    assert RougePart().build()(rows) == pytest.approx([5 / 6, 1.0])
    # one-word overlaps 5 of 6; bigrams 3 of 5
    assert RougePart(variant="rouge1").build()(rows[:1]) == pytest.approx([5 / 6])
    assert RougePart(variant="rouge2").build()(rows[:1]) == pytest.approx([3 / 5])


def test_nothing_written_is_zero_and_nothing_to_compare_with_abstains() -> None:
    rows = [row(None, Critique(text=EXPECTED)), row("  ", Critique(text=EXPECTED)), row(SAID, None)]
    assert BleuPart().build()(rows) == [0.0, 0.0, None]
    assert RougePart().build()(rows) == [0.0, 0.0, None]
    assert RougePart().build()([row(SAID, Critique())]) == [None]


def test_free_text_speaks_of_the_rows_own_order() -> None:
    swapped = row(SAID, Critique(text=EXPECTED), order=Order.BA)
    assert RougePart().build()([swapped]) == [None]
    assert RougePart(other_order="use").build()([swapped]) == pytest.approx([5 / 6])
    arguments = Critique(
        arguments=(CoreArgument("A", "for", "the cat sat"), CoreArgument("B", "for", "on a mat"))
    )
    assert RougePart().build()([row(SAID, arguments, order=Order.BA)]) == pytest.approx([5 / 6])


def test_a_reference_answer_and_the_whole_text() -> None:
    section = RougePart(against="reference", read="text")
    rows = [
        rollout(text=f"<think>dogs dogs dogs</think>{SAID}", reference=EXPECTED, order=Order.BA),
        rollout(text=SAID),
    ]
    assert section.build()(rows) == [pytest.approx(5 / 6), None]


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=80), st.lists(st.sampled_from("abc"), max_size=80))
def test_rouge_l_is_the_librarys(first: list[str], second: list[str]) -> None:
    said, expected = " ".join(first) or "-", " ".join(second) or "-"
    score = RougeScorer(["rougeL"]).score(expected, said)["rougeL"].fmeasure
    assert RougePart().build()([row(said, Critique(text=expected))]) == [pytest.approx(score)]


def test_stems_match_where_words_do_not() -> None:
    rows = [row("it fails tests", Critique(text="it failed testing"))]
    assert RougePart().build()(rows) == pytest.approx([1 / 3])
    assert RougePart(stem=True).build()(rows) == pytest.approx([1.0])
