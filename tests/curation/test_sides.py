"""Which side is longer, listed first and shown first; and balancing lengths."""

from __future__ import annotations

import io
import random
from collections import Counter

import pytest
from pydantic import ValidationError

from reasrm.curation.config import BalanceSection
from reasrm.curation.ledger import DropLedger
from reasrm.curation.sides import balance_lengths, num_to_drop, side_report
from tests.curation.rows import ids, incoming, lines, pair, reasons, run, store


def rows(longer, shorter, equal=0):
    texts = [("long one", "no")] * longer + [("no", "long one")] * shorter + [("aa", "bb")] * equal
    return [pair(f"r{n}", f"prompt {n}", chosen, rejected) for n, (chosen, rejected) in enumerate(texts)]


@pytest.mark.parametrize(
    ("more", "less", "highest", "dropped"),
    [(60, 40, 0.5, 20), (60, 40, 0.6, 0), (61, 40, 0.6, 1), (10, 0, 0.9, 10), (0, 0, 0.5, 0), (3, 9, 0.5, 0)],
)  # fmt: skip
def test_how_many_must_go(more, less, highest, dropped):
    assert num_to_drop(more, less, highest) == dropped
    left = more - dropped
    assert left == 0 or left / (left + less) <= highest + 1e-12


def test_the_report_counts_by_hand(tmp_path):
    report = side_report(store(rows(3, 1, equal=2), tmp_path / "rows"))
    assert report["longer"] == {"share": 0.75, "n": 4}, "equal lengths say nothing"
    assert report["listed_first"] == {"share": None, "n": 0}
    assert report["shown_first"]["n"] == 6
    assert report["mean_chosen_characters"] == (3 * 8 + 2 + 2 * 2) / 6
    assert report["mean_rejected_characters"] == (3 * 2 + 8 + 2 * 2) / 6


def test_a_flipped_label_moves_every_share(tmp_path):
    made = store(rows(3, 1), tmp_path / "rows")
    shown = side_report(made)["shown_first"]["share"]
    made.flipped[:] = 1.0
    report = side_report(made)
    assert report["longer"]["share"] == 0.25
    assert report["shown_first"]["share"] == 1 - shown
    assert report["mean_chosen_characters"] == (3 * 2 + 8) / 4


def test_the_shown_share_is_that_of_present(tmp_path):
    pairs = [pair(f"r{n}", "p", f"yes {n}", f"no {n}") for n in range(200)]
    report = side_report(store(pairs, tmp_path / "rows", seed=7))
    first = sum(p.present(7).response_a == p.chosen for p in pairs)
    assert report["shown_first"] == {"share": first / 200, "n": 200}
    assert 0.35 < first / 200 < 0.65


def test_files_that_list_a_side_are_reported(tmp_path):
    made = [
        *incoming(rows(2, 0), chosen_first=True),
        *incoming([pair("z", "q", "aaa", "b")], chosen_first=False),
    ]
    report = run([*made, *incoming([pair("y", "o", "aaa", "b")])], tmp_path).report["sides"]
    assert report["before"]["listed_first"] == report["after"]["listed_first"] == {"share": 2 / 3, "n": 3}


def test_balancing_drops_drawn_rows_of_the_commoner_kind(tmp_path):
    made = rows(12, 4, equal=2)
    kept = []
    for turn in range(2):
        folder = tmp_path / str(turn)
        report = run(incoming(made), folder, balance={"longer": [0.4, 0.6]}).report
        assert report["sides"]["before"]["longer"] == {"share": 0.75, "n": 16}
        assert report["sides"]["after"]["longer"] == {"share": 0.6, "n": 10}
        assert set(reasons(folder / "dropped.jsonl").values()) == {"chosen_longer"}
        assert len(lines(folder / "dropped.jsonl")) == 6
        kept.append(set(ids(folder / "pairs.jsonl")))
        random.Random(1).shuffle(made)
    assert kept[0] == kept[1], "whatever the order of rows"
    run(incoming(made), tmp_path / "seed", balance={"longer": [0.4, 0.6]}, seed=1)
    assert set(ids(tmp_path / "seed" / "pairs.jsonl")) != kept[0]
    run(incoming(rows(2, 8)), tmp_path / "short", balance={"longer": [0.5, 0.5]})
    assert set(reasons(tmp_path / "short" / "dropped.jsonl").values()) == {"chosen_shorter"}
    assert len(ids(tmp_path / "short" / "pairs.jsonl")) == 4


def test_bounds_need_not_be_symmetric_and_flipped_labels_count_as_they_are_now(tmp_path):
    run(incoming(rows(2, 8)), tmp_path / "low", balance={"longer": [0.25, 0.9]})
    assert len(ids(tmp_path / "low" / "pairs.jsonl")) == 8, "two of eight are a quarter"
    made = store(rows(1, 3), tmp_path / "rows")
    made.flipped[:] = 1.0  # three are longer now, one is shorter
    ledger = DropLedger(io.BytesIO())
    balance_lengths(made, BalanceSection(longer=(0.5, 0.5)), ledger)
    assert made.alive[0]
    assert made.num_alive == 2
    assert ledger.to_json(Counter())["stages"][0]["dropped"] == {"chosen_longer": 2}


@pytest.mark.parametrize("shares", [[0.6, 0.4], [0.0, 0.5], [0.5, 1.0]])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValidationError, match="two shares"):
        BalanceSection(longer=shares)
