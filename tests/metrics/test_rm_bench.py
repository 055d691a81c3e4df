"""RM-Bench: the matrix by hand, the identity of its two means, and what is refused."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from reasrm.errors import InputError
from reasrm.metrics.intervals import Estimate
from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.suites.rm_bench import difficulties, domain_of, evaluate, evaluate_matrices
from tests.metrics.builders import pair


def cells(said: list[str], *, subset: str = "chat", group: str = "g") -> list[RowOutcome]:
    """Build nine rows from three strings of three verdicts (first order, chosen = A)."""
    return [
        pair(said[i][j], subset=subset, group=group, meta={"cell": [i, j]}, row_id=f"{group}/{i}{j}")
        for i in range(3)
        for j in range(3)
    ]


def test_difficulties_by_hand() -> None:
    # below the diagonal .4 .7 .8, on it .1 .5 .9, above it .2 .3 .6
    got = difficulties([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    assert got == pytest.approx({"easy": 1.9 / 3, "normal": 0.5, "hard": 1.1 / 3})


def test_pairwise_by_hand() -> None:
    # Group 1: rows ABA / AA? / A=A; group 2 wins everything.
    # M = [[1, .5, 1], [1, 1, .5], [1, .5, 1]]: easy (1 + 1 + .5)/3, normal 1, hard (.5 + 1 + .5)/3.
    rows = cells(["ABA", "AA?", "A=A"], group="1") + cells(["AAA"] * 3, group="2")
    got = evaluate(rows)
    assert got.metrics["easy"].value == pytest.approx(5 / 6)
    assert got.metrics["normal"].value == 1.0
    assert got.metrics["hard"].value == pytest.approx(2 / 3)
    assert got.score.value == pytest.approx(5 / 6)
    assert got.subsets["chat"] == replace(got.score, n=2)
    assert got.subsets["chat/hard"].value == pytest.approx(2 / 3)
    assert got.counts["num_groups"] == 2
    assert got.counts["num_missing_cells"] == 0
    assert got.metrics["coverage"].n == 18


def test_both_orders_are_averaged_per_cell() -> None:
    rows = [replace(row, by_order=pair("A", "B").by_order) for row in cells(["AAA"] * 3)]
    assert evaluate(rows).score == Estimate(0.5, 0.5, 0.5, 1)


@pytest.mark.slow
def test_the_mean_of_domains_is_the_mean_of_difficulties() -> None:
    draw = random.Random(1)
    rows = [
        row
        for subset, size in [("chat", 7), ("code", 3), ("safety-refuse", 4), ("safety-response", 5)]
        for k in range(size)
        for row in cells(["".join(draw.choices("AB=?", k=3)) for _ in range(3)], subset=subset, group=str(k))
    ]
    got = evaluate(rows, seed=2)
    levels = [got.metrics[name].value or math.nan for name in ("easy", "normal", "hard")]
    assert got.score.value == pytest.approx(sum(levels) / 3, abs=1e-12)
    assert {name: e.n for name, e in got.subsets.items() if "/" not in name} == {
        "chat": 7,
        "code": 3,
        "safety": 9,
    }
    assert got.score.n == 19
    assert got == evaluate(draw.sample(rows, len(rows)), seed=2)


@pytest.mark.slow
def test_scores_and_their_pairwise_verdicts_agree() -> None:
    draw = random.Random(3)
    scores = [([draw.randint(0, 3) for _ in "123"], [draw.randint(0, 3) for _ in "123"]) for _ in range(20)]
    rows = [
        row
        for k, (chosen, rejected) in enumerate(scores)
        for row in cells(
            ["".join("A" if c > r else "=" if c == r else "B" for r in rejected) for c in chosen],
            group=str(k),
        )
    ]
    wins = [tuple(tuple(float(c > r) for r in rejected) for c in chosen) for chosen, rejected in scores]
    estimates, counts = evaluate_matrices({"chat": wins}, seed=5)
    got = evaluate(rows, seed=5)
    assert got.score == estimates["score"]
    assert got.subsets["chat/easy"] == estimates["chat/easy"]
    assert counts["num_groups"] == 20


def test_incomplete_groups_enter_with_what_they_have_and_are_counted() -> None:
    rows = cells(["AAA"] * 3, group="1") + cells(["BBB"] * 3, group="2")[:-1]
    got = evaluate(rows)
    # All cells 1/2 but [2, 2], which only group 1 has: normal = (1/2 + 1/2 + 1)/3.
    assert got.metrics["normal"].value == pytest.approx(2 / 3)
    assert (got.counts["num_incomplete_groups"], got.counts["num_missing_cells"]) == (1, 1)


def test_a_cell_that_nobody_has_is_undefined_and_not_zero() -> None:
    got = evaluate(cells(["AAA"] * 3)[:-1])
    assert got.subsets["chat/normal"].value is None
    assert got.subsets["chat/easy"].value == 1.0
    assert got.score == Estimate(None, None, None, 1)


def test_nothing() -> None:
    got = evaluate([])
    assert got.score == Estimate(None, None, None, 0)
    assert got.subsets == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"meta": {}}, "has cell None"),
        ({"meta": {"cell": [0, 3]}}, r"has cell \[0, 3\]"),
        ({"meta": {"cell": [True, 0]}}, "has cell"),
        ({"group": None}, "has no group"),
        ({"meta": {"cell": [0, 1]}}, r"second of cell \[0, 1\]"),
    ],
)
def test_unusable_rows_are_named(change: dict[str, object], message: str) -> None:
    rows = cells(["AAA"] * 3)
    rows[4] = replace(rows[4], **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as caught:
        evaluate(rows)
    assert caught.value.place == "row 'g/11'"


def test_domains() -> None:
    names = ["safety-refuse", "safety-response", "safety", "math", None]
    assert [domain_of(name) for name in names] == ["safety", "safety", "safety", "math", "unknown"]
