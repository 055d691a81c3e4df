"""Similarities of two lists of texts, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from reasrm.critiques import stem_overlap
from reasrm.critiques.similarity import checked
from reasrm.errors import ConfigError
from reasrm.scorers.similarities.bleu import bleu
from reasrm.scorers.similarities.rouge_l import rouge_l
from reasrm.scorers.similarities.token_embeddings import token_max_average
from tests.refusals import refused


def letters(texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """One token a letter: x and y are axes, n is the opposite of x, 0 is nothing."""
    table = {"x": (2.0, 0.0), "y": (0.0, 1.0), "n": (-1.0, 0.0), "0": (0.0, 0.0)}
    return [np.array([table[letter] for letter in text]).reshape(len(text), 2) for text in texts]


def test_stem_overlap_is_jaccard_of_content_stems() -> None:
    # {cite, old, sourc} against {cite, sourc}, {nothing in common}, {}
    found = stem_overlap(["it cites old sources", ""], ["the response is citing its source", "tone", "the"])
    assert found.tolist() == [[2 / 3, 0, 0], [0, 0, 0]]


def test_bleu_of_equal_and_different_texts() -> None:
    found = bleu()(["the old cat sat here", "", "dog"], ["the old cat sat here", "dog"])
    assert found[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert found[1].tolist() == [0.0, 0.0]
    assert found[2, 1] == pytest.approx(1.0)
    # Unigram and bigram precision 1 (effective order 2), brevity exp(1 - 4/2).
    assert bleu()(["a b"], ["a b c d"])[0, 0] == pytest.approx(np.exp(-1))
    assert found.max() <= 1


def test_rouge_l_is_the_f_measure() -> None:
    assert rouge_l()(["the cats sat"], ["the cat sat down", "", "dog"]).tolist() == [[6 / 7, 0, 0]]
    assert rouge_l(stem=False)(["the tests sat"], ["the test sat down"])[0, 0] == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("xy", "yx", 1.0),
        ("xy", "x", 0.75),
        ("x", "y", 0.0),
        ("x", "n", 0.0),
        ("x", "", 0.0),
        ("x0", "x", 0.75),
    ],
)
def test_token_max_average_is_the_mean_of_both_directions(one: str, two: str, expected: float) -> None:
    assert token_max_average(letters)([one], [two]).tolist() == [[expected]]
    assert token_max_average(letters)([two], [one]).tolist() == [[expected]]


@pytest.mark.parametrize("similarity", [stem_overlap, bleu(), rouge_l(), token_max_average(letters)])
def test_shapes_hold_with_nothing_on_a_side(similarity) -> None:
    assert similarity([], ["x", "y"]).shape == (0, 2)
    assert similarity(["x"], []).shape == (1, 0)
    assert similarity(["x"], ["y", "x"]).shape == (1, 2)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_similarity_is_named(value: float) -> None:
    with refused(ConfigError, "similarity", "[0, 1]", "(1, 1)"):
        checked(np.array([[value]]), 1, 1)
    with refused(ConfigError, "(1, 1)", "(2, 1)"):
        checked(np.array([[1.0]]), 2, 1)
