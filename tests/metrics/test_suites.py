"""The other suites on small cases: numbers by hand, edges, invariants all suites share."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reasrm.errors import InputError
from reasrm.metrics.intervals import Estimate, wilson
from reasrm.metrics.outcomes import RowOutcome
from reasrm.metrics.suites import SUITES as ALL
from reasrm.metrics.suites import judgebench, llmbar, pairs, pandalm, rewardbench
from reasrm.records import Winner
from tests.metrics.builders import numbered, pair, swapped
from tests.refusals import refused

# Two read more than verdicts: styles, and probabilities.
SUITES = {suite.name: suite.score for suite in ALL if suite.name not in ("rm-bench", "alpaca-eval")}
UNDEFINED = Estimate(None, None, None, 0)
SUBSET = "hep-go"  # a name that every suite accepts
MIXED = numbered(
    [
        replace(row, subset=SUBSET)
        for row in [
            pair("A", "A"),
            pair("B", "B", target="B"),
            pair("A", "B"),
            pair("A", "="),
            pair("B", "?"),
            pair("?", "?"),
            pair("=", "=", target="B"),
        ]
    ]
)


@pytest.mark.parametrize("name", SUITES)
def test_empty_suites_are_undefined_and_never_zero(name: str) -> None:
    got = SUITES[name]([])
    assert got.suite == name
    assert got.score == UNDEFINED
    assert {metric: e for metric, e in got.metrics.items() if e != UNDEFINED} == {}
    assert got.counts["num_rows"] == 0


@pytest.mark.parametrize("name", SUITES)
def test_suites_survive_all_unreadable_and_one_order_only(name: str) -> None:
    unreadable = SUITES[name]([replace(row, subset=SUBSET) for row in [pair("?", "?"), pair("?")]])
    assert unreadable.metrics["coverage"] == wilson(0, 2)
    assert unreadable.score.value == {"pairs": None, "rewardbench": 0.5}.get(name, 0.0)
    once = SUITES[name]([replace(row, subset=SUBSET) for row in [pair("A"), pair("B")]])
    assert once.score.value == 0.5
    assert once.metrics["consistency"] == UNDEFINED


@pytest.mark.parametrize("name", SUITES)
def test_order_of_rows_changes_nothing(name: str) -> None:
    assert SUITES[name](MIXED[::-1], seed=3) == SUITES[name](MIXED, seed=3)


@pytest.mark.parametrize("name", SUITES)
def test_exchanging_responses_changes_no_score(name: str) -> None:
    got, expected = (SUITES[name](rows, seed=3) for rows in ([swapped(row) for row in MIXED], MIXED))
    assert got.score == expected.score
    assert got.subsets == expected.subsets
    for metric in ("coverage", "consistency", "position_a_rate"):
        assert got.metrics[metric] == expected.metrics[metric]


@pytest.mark.parametrize("name", SUITES)
def test_results_are_json(name: str) -> None:
    got = json.loads(json.dumps(SUITES[name](MIXED).as_dict(), allow_nan=False))
    assert got["num_rows"] == 7
    assert got["coverage"] == 6 / 7
    assert got["metrics"]["score"]["value"] == got["score"]
    assert set(got["policy"]) == {"order", "tie", "unparsed", "split"}


def test_pairs_by_hand() -> None:
    got = pairs.evaluate(MIXED)
    # Rows: right, right, split, split, wrong, unreadable, tie: (1 + 1 + .5 + .5 + 0 + 0) / 6 readable.
    assert got.score.value == pytest.approx(0.5)
    assert got.score.n == 6
    assert got.metrics["accuracy_strict"] == wilson(2, 7)
    assert got.subsets == {SUBSET: got.score}


def test_judgebench_by_hand() -> None:
    rows = [
        pair("A", "A", subset="mmlu-pro-law"),  # +2
        pair("A", "=", subset="mmlu-pro-math"),  # +1
        pair("A", "B", subset="livebench-math"),  # 0
        pair("?", "B", subset="livebench-reasoning"),  # -1
        pair("?", "A", subset="livecodebench"),  # +1
        pair("A", subset="elsewhere"),  # one game, +1
    ]
    got = judgebench.evaluate(rows)
    assert got.score == wilson(4, 6)
    assert {name: e.value for name, e in got.subsets.items()} == {
        "knowledge": 1.0,
        "reasoning": 0.0,
        "math": 0.0,
        "coding": 1.0,
        "other": 1.0,
    }
    assert got.metrics["both_orders_correct"] == wilson(1, 5)
    assert got.metrics["first_order_accuracy"] == wilson(4, 6)
    assert got.metrics["second_order_accuracy"] == wilson(2, 5)
    assert got.counts["num_inconsistent"] == 2


def test_judgebench_plays_one_game_with_order_free_scorers() -> None:
    said: list[Winner] = ["A", "A", "B", "tie"]
    rows = [RowOutcome(id=str(k), target="A", verdict=winner) for k, winner in enumerate(said)]
    got = judgebench.evaluate(rows)
    assert got.score == wilson(2, 4)
    assert got.metrics["both_orders_correct"] == UNDEFINED
    assert got.counts["num_inconsistent"] == 0


def test_llmbar_by_hand() -> None:
    got = llmbar.evaluate([pair("A", "A"), pair("A", "?"), pair("B", "A"), pair("B", "B")])
    assert got.metrics["first_order_accuracy"] == wilson(2, 4)
    assert got.metrics["second_order_accuracy"] == wilson(2, 4)
    assert got.metrics["both_orders_correct"] == wilson(1, 4)
    assert got.metrics["consistency"] == wilson(2, 3)
    assert got.score.value == 0.5
    assert got.counts["parse_no_verdict"] == 1


def test_pandalm_by_hand() -> None:
    rows = [
        pair("A", target="A"),
        pair("=", target="A"),
        pair("?", target="B"),
        pair("B", target="B"),
        pair("=", target="tie"),
    ]
    got = pandalm.evaluate(rows)
    assert got.score == wilson(3, 5)
    # precision: A 1/1, B 1/1, tie 1/2; recall: A 1/2, B 1/2, tie 1/1; F1: 2/3 each
    values = {name: got.metrics[f"macro_{name}"].value for name in ("precision", "recall", "f1")}
    assert values == pytest.approx({"precision": 5 / 6, "recall": 2 / 3, "f1": 2 / 3})
    assert {key: n for key, n in got.counts.items() if key.startswith("label_")} == {
        "label_A": 2,
        "label_B": 2,
        "label_tie": 1,
    }


def test_pandalm_averages_only_classes_that_occur() -> None:
    got = pandalm.evaluate([pair("A", target="A"), pair("B", target="A")])
    assert got.metrics["macro_recall"].value == 0.5
    assert got.metrics["macro_precision"].value == 1.0


def test_rewardbench_is_the_published_layout() -> None:
    assert len(rewardbench.ROWS) == 23
    assert sum(rewardbench.ROWS.values()) == 2985
    rows = {name: sum(rewardbench.ROWS[s] for s in part) for name, part in rewardbench.SECTIONS.items()}
    assert rows == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1431}


def test_rewardbench_weights_subsets_by_the_published_rows_and_not_by_those_present() -> None:
    rows = [
        pair("A", subset="math-prm"),
        pair("B", subset="hep-go"),
        pair("A", subset="hep-go"),
        pair("?", subset="hep-cpp"),
        pair("A", "B", subset="donotanswer"),
    ]
    got = rewardbench.evaluate(rows)
    # Reasoning: math 1 · 984, go .5 · 164, cpp .5 · 164 over 1312 = .875; Safety: one split row, .5.
    assert got.subsets["Reasoning"].value == 0.875
    assert got.subsets["Reasoning"].n == 4
    assert got.subsets["Safety"].value == 0.5
    assert got.score.value == (0.875 + 0.5) / 2
    assert got.metrics["micro_average"].value == 3 / 5
    assert got.metrics["score_with_prior"].value == got.score.value
    assert got.counts["num_missing_subsets"] == 19
    assert "Chat" not in got.subsets


def test_rewardbench_prior_sets_weigh_half_a_section() -> None:
    # Sections 1 and .5, prior mean(.2, .6) = .4: (2 · 1 + 2 · .5 + .4) / 5 = .68
    score = rewardbench.score_with_prior({"Chat": 1.0, "Safety": 0.5}, {"shp": 0.2, "summarize": 0.6})
    assert score == pytest.approx(0.68)
    got = rewardbench.evaluate([pair("A", subset="hep-go"), pair("B", subset="shp")])
    assert got.score.value == 1.0
    assert got.metrics["score_with_prior"].value == pytest.approx(2 / 3)
    assert got.metrics["micro_average"].value == 1.0


def test_rewardbench_refuses_unknown_and_missing_subsets() -> None:
    with refused(InputError, "'natural'"):
        rewardbench.evaluate([pair("A", subset="natural")])
    with pytest.raises(InputError, match="without a score: alpacaeval-easy"):
        rewardbench.section_scores({"hep-go": 1.0})
