"""Splits by prompt: never one prompt in two, whatever the order of rows, sizes as asked."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pydantic import ValidationError

from reasrm.curation.config import SplitsSection
from reasrm.curation.splits import assign_groups
from reasrm.curation.text import mix
from reasrm.errors import InputError
from tests.curation.rows import ids, incoming, lines, pair, run
from tests.refusals import refused


def draws(count):
    return mix(np.arange(1, count + 1, dtype=np.uint64))


def split(rows, folder, sizes, near=None, seed=0):
    report = run(incoming(rows), folder, splits={"sizes": sizes, "near": near}, seed=seed).report
    return {name: set(ids(folder / f"{name}.jsonl")) for name in sizes}, report


def distinct(count, per_prompt=1):
    return [
        pair(f"r{n}-{k}", f"question number {n} about thing {n * n}", f"yes {k}", "no")
        for n in range(count)
        for k in range(per_prompt)
    ]


def test_counts_are_met_with_whole_groups():
    sizes = np.array([3, 1, 2, 1, 1], dtype=np.int64)
    order = np.array([10, 20, 30, 40, 50], dtype=np.uint64)
    chosen = assign_groups(order, sizes, {"test": 4, "train": "rest"})
    assert chosen.tolist() == [0, 0, 1, 1, 1], "3 + 1 rows, lowest draws first"
    chosen = assign_groups(order, sizes, {"test": 2, "train": "rest"})
    assert chosen.tolist() == [1, 0, 1, 0, 1], "a group of three does not fit, nor two behind one"
    chosen = assign_groups(order, sizes, {"train": "rest", "a": 3, "b": 1})
    assert chosen.tolist() == [1, 2, 0, 0, 0]


def test_shares_cut_the_range_of_the_draw():
    values = draws(20_000)
    ones = np.ones(20_000, dtype=np.int64)
    chosen = assign_groups(values, ones, {"train": 0.8, "validation": 0.1, "test": 0.1})
    shares = np.bincount(chosen) / 20_000
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.01
    half = assign_groups(values[:10_000], ones[:10_000], {"train": 0.8, "validation": 0.1, "test": 0.1})
    assert (half == chosen[:10_000]).all(), "rows that come later move nothing"


def test_shares_of_what_counts_leave_are_not_skewed():
    chosen = assign_groups(
        draws(10_000), np.ones(10_000, dtype=np.int64), {"held": 5_000, "train": "rest", "test": 0.2}
    )
    assert np.bincount(chosen)[0] == 5_000
    assert abs(np.bincount(chosen)[2] / 5_000 - 0.2) < 0.03


def test_a_prompt_is_in_one_split_and_every_row_in_one(tmp_path):
    rows = distinct(40, per_prompt=3)
    rows.append(pair("again", " QUESTION number 0  about thing 0", "x", "y"))
    found, report = split(rows, tmp_path, {"train": "rest", "validation": 0.2, "test": 9})
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 121
    where = {row_id.partition("-")[0]: name for name, names in found.items() for row_id in names}
    for name, names in found.items():
        assert all(where[row_id.partition("-")[0]] == name for row_id in names)
        assert ("again" in names) is ("r0-0" in names)
    assert len(found["test"]) == 9 or len(found["test"]) == 8
    assert report["prompts"] == {"prompts": 40, "groups": 40}
    assert [(item["split"], item["rows"]) for item in report["splits"]] == [
        (name, len(names)) for name, names in found.items()
    ]


def test_splits_do_not_depend_on_the_order_of_rows_but_on_the_seed(tmp_path):
    rows = distinct(60, per_prompt=2)
    sizes = {"train": "rest", "test": 20}
    first, _ = split(rows, tmp_path / "a", sizes, near={})
    random.Random(0).shuffle(rows)
    assert split(rows, tmp_path / "b", sizes, near={})[0] == first
    assert split(rows, tmp_path / "c", sizes, near={}, seed=1)[0] != first


def test_near_prompts_and_chains_of_them_stay_together(tmp_path):
    words = [f"w{n}" for n in range(80)]
    chain = [pair(f"chain{k}", " ".join(words[3 * k : 3 * k + 40]), f"yes {k}", "no") for k in range(6)]
    near = {"threshold": 0.8, "ngram": 1}  # neighbours share 37 of 43 words
    together = []
    for seed in range(6):
        found, report = split(
            [*chain, *distinct(12)], tmp_path / f"n{seed}", {"a": 0.5, "b": 0.5}, near, seed
        )
        assert report["prompts"]["groups"] == 13
        together.append({name for name, names in found.items() if "chain0" in names})
        assert sum(any(row_id.startswith("chain") for row_id in names) for names in found.values()) == 1
    assert {"a"} in together
    assert {"b"} in together


def test_an_empty_split_is_refused(tmp_path):
    with refused(InputError, "'test'", "0.01", "3 rows"):
        split(distinct(3), tmp_path, {"train": "rest", "test": 0.01})


@pytest.mark.parametrize(
    "sizes",
    [
        {"train": 0.8, "test": 0.1},
        {"train": "rest", "test": "rest"},
        {"train": 100},
        {"train": 0.8, "test": 0.3},
        {"train": "rest", "test": 0},
        {"../train": "rest"},
        {"dropped": "rest"},
        {},
    ],
    ids=["short of 1", "two rests", "count alone", "over 1", "nothing", "a path", "reserved", "none"],
)
def test_sizes_that_do_not_add_up_are_refused(sizes):
    with pytest.raises(ValidationError):
        SplitsSection(sizes=sizes)


def test_both_orders_of_each_pair_can_be_written(tmp_path):
    extra = {"language": "en", "subset": "s"}
    rows = [pair("p", "q", "good", "bad", **extra), pair("g", "r", "yes", "no", group="cell")]
    curated = run(incoming(rows), tmp_path, swap=True)
    assert curated.files == ["dropped.jsonl", "pairs.jsonl", "pairs.comparisons.jsonl"]
    first, second, third, _ = lines(tmp_path / "pairs.comparisons.jsonl")
    assert (first["id"], first["response_a"], first["response_b"], first["label"]) == (
        "p|AB",
        "good",
        "bad",
        "A",
    )
    assert (second["id"], second["response_a"], second["response_b"], second["label"]) == (
        "p|BA",
        "bad",
        "good",
        "B",
    )
    assert first["group"] == second["group"] == "p"
    assert (first["language"], second["subset"]) == ("en", "s")
    assert third["group"] == "cell"
