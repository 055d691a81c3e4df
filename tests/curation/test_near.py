"""MinHash bands: the probability law, exact similarities, and what is proposed to whom."""

from __future__ import annotations

import random
from math import isclose

import numpy as np
import pytest

from reasrm.curation.config import NearSection
from reasrm.curation.near import _MAX_MEMBERS, NearIndex, band_probability, band_shape


def test_the_band_law_by_hand():
    # One band of two values: both must agree. Two bands of one value: one of two must.
    assert band_probability(0.5, 1, 2) == 0.25
    assert band_probability(0.5, 2, 1) == 0.75
    assert isclose(band_probability(0.8, 17, 7), 1 - (1 - 0.8**7) ** 17)
    assert band_probability(1.0, 3, 5) == 1.0


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_pairs_at_the_threshold_are_found_and_far_ones_hardly_proposed(threshold):
    bands, width = band_shape(threshold, 128)
    assert bands * width <= 128
    assert band_probability(threshold, bands, width) > 0.95
    assert band_probability(threshold / 2, bands, width) < 0.45


def as_set(values):
    return np.array(sorted(values), dtype=np.uint64)


def random_set(rng, size):
    return {rng.getrandbits(64) for _ in range(size)}


def pair_of(rng, shared, own):
    """Two sets of similarity shared / (shared + 2 own)."""
    common = random_set(rng, shared)
    return as_set(common | random_set(rng, own)), as_set(common | random_set(rng, own))


def walk_all(index, order=None):
    found = {}
    for text, near in index.walk(np.arange(len(index)) if order is None else np.array(order)):
        found[text] = near
        index.admit()
    return found


def test_the_law_holds_for_real_signatures(tmp_path):
    rng = random.Random(1)
    index = NearIndex(tmp_path / "near", NearSection(threshold=0.5, num_perm=16), seed=3)
    index.threshold = 0.0  # every candidate counts, so that candidates can be counted
    num_pairs = 400
    for _ in range(num_pairs):
        for part in pair_of(rng, 20, 10):  # similarity 20 / 40
            index.add(part)
    found = walk_all(index)
    hits = sum(any(other == 2 * n for other, _ in found.get(2 * n + 1, ())) for n in range(num_pairs))
    expected = band_probability(0.5, index.num_bands, index.width)
    spread = (expected * (1 - expected) / num_pairs) ** 0.5
    assert abs(hits / num_pairs - expected) < 4 * spread


def test_similarity_is_exact_and_decides(tmp_path):
    rng = random.Random(2)
    index = NearIndex(tmp_path / "near", NearSection(threshold=0.8), seed=0)
    near, far = pair_of(rng, 90, 5), pair_of(rng, 78, 11)  # 90 / 100 and 78 / 100
    for part in (*near, *far):
        index.add(part)
    found = walk_all(index)
    assert found[1] == [(0, 0.9)]
    assert found.get(3, []) == [], "0.78 is proposed, as likely as not, and refused"
    assert index.num_compared >= 1


def test_the_threshold_itself_is_near(tmp_path):
    index = NearIndex(tmp_path / "near", NearSection(threshold=0.5), seed=0)
    for part in pair_of(random.Random(5), 50, 25):
        index.add(part)
    assert walk_all(index)[1] == [(0, 0.5)]


def test_only_admitted_texts_are_proposed_and_the_order_is_the_callers(tmp_path):
    rng = random.Random(3)
    text = as_set(random_set(rng, 50))
    index = NearIndex(tmp_path / "near", NearSection(), seed=0)
    for _ in range(4):
        index.add(text)
    seen = []
    for number, near in index.walk(np.array([3, 0, 2, 1])):
        seen.append((number, [other for other, _ in near]))
        if number in (2, 3):
            index.admit()
    assert seen == [(3, []), (0, [3]), (2, [3]), (1, [3, 2])], "equally near ones in the order of walking"


def test_texts_without_shingles_and_empty_indexes_are_nobodys_neighbours(tmp_path):
    index = NearIndex(tmp_path / "near", NearSection(), seed=0)
    for _ in range(3):
        index.add(as_set([]))
    assert walk_all(index) == {}
    assert walk_all(NearIndex(tmp_path / "none", NearSection(), seed=0)) == {}


def test_a_crowded_band_proposes_its_first_members_and_says_so(tmp_path):
    text = as_set(range(1, 40))
    index = NearIndex(tmp_path / "near", NearSection(), seed=0)
    for _ in range(_MAX_MEMBERS + 10):
        index.add(text)
    found = walk_all(index)
    assert max(len(near) for near in found.values()) == _MAX_MEMBERS
    assert index.num_crowded == 10 * index.num_bands


def test_another_seed_is_another_signature_and_the_same_similarities(tmp_path):
    rng = random.Random(4)
    parts = [part for _ in range(30) for part in pair_of(rng, 95, 1)]
    results = []
    for seed in (0, 1):
        index = NearIndex(tmp_path / str(seed), NearSection(), seed=seed)
        for part in parts:
            index.add(part)
        results.append(walk_all(index))
    found = [{(text, near[0]) for text, near in result.items() if near} for result in results]
    assert found[0] == found[1]
    assert len(found[0]) == 30
    assert not (tmp_path / "0" / "bands" / "0").exists(), "spilled bands are gone once they are read"
