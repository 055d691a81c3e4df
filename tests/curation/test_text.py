"""Normal forms, words, n-grams and Jaccard similarity, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.curation.text import (
    _ANY,
    WordHasher,
    draw,
    jaccard,
    mix,
    ngrams,
    normalise,
    prompt_key,
    shingles,
    text_key,
)
from reasrm.records import Message


def test_the_normal_form_folds_case_width_and_white_space_and_keeps_symbols():
    assert normalise("  Ｗhat\tIS\n 2+2 ? ") == "what is 2+2 ?"
    assert normalise("Straße ﬁn") == "strasse fin"
    assert text_key("A  b") == text_key("a B")
    assert text_key("2+2") != text_key("2-2")


def test_words_of_many_scripts():
    plain, symbols = WordHasher(), WordHasher(symbols=True)
    assert plain.words("Don't panic, x_1 = 42!") == ["don", "t", "panic", "x", "1", "42"]
    assert symbols.words("a+b_c") == ["a", "+", "b", "_", "c"]
    assert plain.words("東京 tower") == ["東", "京", "tower"]
    assert plain.words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert symbols.words("Ça va?") == ["ça", "va", "?"]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_is_the_general_one(text):
    for symbols in (False, True):
        assert WordHasher(symbols=symbols).words(text) == _ANY[symbols].findall(normalise(text))


def test_ngrams_are_equal_where_words_are():
    hasher = WordHasher()
    ours, theirs = (ngrams(hasher.hashes(text), 3) for text in ("a b c d e", "x b c d y"))
    assert len(ours) == len(theirs) == 3
    assert [int(gram) in {*theirs.tolist()} for gram in ours] == [False, True, False]
    assert len(ngrams(hasher.hashes("a b"), 3)) == 0
    assert ngrams(hasher.hashes("a b c"), 3) != ngrams(hasher.hashes("c b a"), 3)


def test_ngram_hashes_are_the_same_on_every_machine():
    # Computed with Python integers from the formula in the module's docstring.
    words = WordHasher().hashes("one two")
    value = (int(words[0]) * 0x9E3779B97F4A7C15 + int(words[1])) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    assert ngrams(words, 2).tolist() == [value ^ value >> 31]
    assert mix(np.array([0], dtype=np.uint64)).tolist() == [0]


def test_jaccard_by_hand():
    hasher = WordHasher()
    # 3-grams: {abc, bcd, cde} and {abc, bcd, cdf}: 2 of 4.
    ours, theirs = (shingles([hasher.hashes(text)], 3) for text in ("a b c d e", "a b c d f"))
    assert jaccard(ours, theirs) == 0.5
    assert jaccard(ours, ours) == 1.0
    assert jaccard(ours, ours[:0]) == 0.0


def test_no_shingle_reaches_over_two_texts_and_a_short_text_is_one():
    hasher = WordHasher()
    apart = shingles([hasher.hashes("a b"), hasher.hashes("c d e")], 3)
    assert len(apart) == 2
    assert jaccard(apart, shingles([hasher.hashes("a b c d e")], 3)) == pytest.approx(1 / 4)
    assert len(shingles([], 3)) == len(shingles([hasher.hashes("...")], 3)) == 0
    # The one-word text `a` is not the unigram `a`.
    assert jaccard(shingles([hasher.hashes("a")], 2), shingles([hasher.hashes("a")], 1)) == 0.0


def test_prompt_keys_tell_roles_and_turns_apart():
    system, user = Message("system", "x"), Message("user", "x")
    assert prompt_key((user,)) == prompt_key((Message("user", " X "),))
    assert len({prompt_key(turns) for turns in ((user,), (system,), (user, user), (system, user))}) == 4


def test_a_draw_depends_on_every_part():
    assert draw(0, "a") == draw(0, "a")
    assert len({draw(0, "a"), draw(1, "a"), draw(0, "b"), draw("0a")}) == 4
