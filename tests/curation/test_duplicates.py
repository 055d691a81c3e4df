"""Equal and near rows: which one stays, who its partner is, and that the order of rows does not matter."""

from __future__ import annotations

import random

import pytest

from tests.curation.rows import ids, incoming, lines, pair, reasons, run

EXACT = {"near": None}
TEXT = " ".join(f"word{n}" for n in range(40))


def kept_of(rows, folder, **section):
    run(incoming(rows), folder, duplicates=section)
    return set(ids(folder / "pairs.jsonl"))


def test_equal_in_normal_form_is_equal(tmp_path):
    rows = [
        pair("a", "What is 2+2?", "Four", "Five"),
        pair("b", " what is  2+2?", "FOUR", "five"),
        pair("c", "What is 2-2?", "Four", "Five"),
        pair("d", "What is 2+2?", "Four", "Six"),
    ]
    kept = kept_of(rows, tmp_path, **EXACT)
    (gone,) = lines(tmp_path / "dropped.jsonl")
    assert kept == {"a", "b", "c", "d"} - {gone["id"]}
    assert {gone["id"], gone["partner"]} == {"a", "b"}
    assert (gone["stage"], gone["reason"]) == ("exact_duplicates", "duplicate")


def test_opposite_labels_are_a_conflict(tmp_path):
    rows = [
        pair("a", "q", "x", "y"),
        pair("b", "q", "y", "x"),
        pair("c", "q", "X", "Y"),
        pair("d", "r", "x", "y"),
    ]
    assert kept_of(rows, tmp_path / "drop", **EXACT) == {"d"}
    found = reasons(tmp_path / "drop" / "dropped.jsonl")
    assert sorted(found.values()) == ["duplicate", "label_conflict", "label_conflict"]
    assert found["b"] == "label_conflict"
    partners = {line["id"]: line["partner"] for line in lines(tmp_path / "drop" / "dropped.jsonl")}
    assert partners["b"] in ("a", "c")
    kept = kept_of(rows, tmp_path / "keep", **EXACT, on_conflict="keep")
    assert {"b", "d"} < kept
    assert len(kept) == 3


def test_by_prompt_one_row_per_prompt_stays(tmp_path):
    rows = [pair("a", "q", "x", "y"), pair("b", "Q", "z", "w"), pair("c", "r", "x", "y")]
    kept = kept_of(rows, tmp_path, **EXACT, unit="prompt")
    assert len(kept) == 2
    assert "c" in kept


def test_near_rows_are_measured_exactly(tmp_path):
    # 4-grams: 37 of 40 words, +1 for each other response. One word more at the end: 38. 39 shared of 40: 0.975.
    rows = [
        pair("a", TEXT, "yes", "no"),
        pair("b", f"{TEXT} more", "yes", "no"),
        pair("c", f"{TEXT} once and twice and thrice and more of other words to say", "yes", "no"),
    ]
    kept = kept_of(rows, tmp_path, near={"threshold": 0.9, "ngram": 4})
    (gone,) = lines(tmp_path / "dropped.jsonl")
    assert "c" in kept
    assert {gone["id"], gone["partner"]} == {"a", "b"}
    assert gone["jaccard"] == 0.975
    assert gone["reason"] == "near_duplicate"


def test_exchanged_labels_are_near_too_and_one_symbol_in_code_is_a_difference(tmp_path):
    rows = [pair("a", TEXT, "yes", "no"), pair("b", f"{TEXT}!", "no", "yes")]
    assert len(kept_of(rows, tmp_path / "swapped", near={"ngram": 4})) == 1
    code = [pair("a", "f", "a + b", "a - b"), pair("b", "f", "a * b", "a / b")]
    assert len(kept_of(code, tmp_path / "code")) == 2


def chain():
    """Rows a ~ b ~ c, where a and c are not near: each drops three words in front and gains three behind."""
    words = [f"w{n}" for n in range(60)]
    return [
        pair(name, " ".join(words[start : start + 40]), "y", "n")
        for name, start in (("a", 0), ("b", 3), ("c", 6))
    ]


def test_a_chain_loses_only_what_is_near_a_kept_row(tmp_path):
    # Unigrams: 37 of 43 shared between neighbours plus the two responses (39 / 45), 34 + 2 of 48 between the ends.
    section = {"threshold": 0.8, "ngram": 1}
    outcomes = set()
    for seed in range(8):
        run(incoming(chain()), tmp_path / str(seed), duplicates={"near": section}, seed=seed)
        kept = frozenset(ids(tmp_path / str(seed) / "pairs.jsonl"))
        outcomes.add(kept)
        for line in lines(tmp_path / str(seed) / "dropped.jsonl"):
            assert line["partner"] in kept
            assert line["jaccard"] == round(39 / 45, 4)
    assert outcomes == {frozenset("ac"), frozenset("b")}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_rows_does_not_matter(tmp_path, seed):
    rng = random.Random(seed)
    rows = []
    for number in range(60):
        text = " ".join(f"w{rng.randrange(10_000)}" for _ in range(30))
        rows.append(pair(f"r{number}", text, "yes", "no"))
        if number % 3 == 0:
            rows.append(pair(f"e{number}", text.upper(), "yes", "no"))
        if number % 4 == 0:
            rows.append(pair(f"n{number}", f"{text} more", "yes", "no"))
        if number % 7 == 0:
            rows.append(pair(f"x{number}", text, "no", "yes"))
    results = []
    for turn in range(2):
        folder = tmp_path / str(turn)
        run(incoming(rows), folder, duplicates={}, seed=5)
        dropped = {line["id"]: (line["reason"], line["partner"]) for line in lines(folder / "dropped.jsonl")}
        results.append((set(ids(folder / "pairs.jsonl")), dropped))
        rng.shuffle(rows)
    assert results[0] == results[1]
    assert {reason for reason, _ in results[0][1].values()} == {
        "duplicate",
        "label_conflict",
        "near_duplicate",
    }


def test_another_seed_keeps_another_of_equals(tmp_path):
    rows = [pair(f"r{n}", "q", "x", "y") for n in range(8)]
    kept = []
    for seed in range(6):
        run(incoming(rows), tmp_path / str(seed), duplicates=EXACT, seed=seed)
        kept += ids(tmp_path / str(seed) / "pairs.jsonl")
    assert len(kept) == 6
    assert len(set(kept)) > 1


def test_of_rows_named_by_content_the_first_stays(tmp_path):
    rows = [pair("h", "q", "x", "y", meta={"n": n}) for n in range(3)]
    run(incoming(rows, id_is_derived=True), tmp_path, duplicates=EXACT)
    (kept,) = lines(tmp_path / "pairs.jsonl")
    assert (kept["id"], kept["meta"]["n"]) == ("h", 0)
    assert [(line["id"], line["partner"]) for line in lines(tmp_path / "dropped.jsonl")] == [
        ("h#1", "h"),
        ("h#2", "h"),
    ]
