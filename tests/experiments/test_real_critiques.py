"""What is measured on real critiques: by hand on a small set, and on the recorded files where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.real_critiques_page import hand_sample, write_page
from experiments.real_measures import agreement, agreement_table, counts, inconsistent, validity
from experiments.real_texts import LLMBAR, Item, TextSet, Written, read_sets
from reasrm.critiques import stem_overlap
from reasrm.records import CoreArgument, Order

MEASURE = (stem_overlap, 0.5)


def says(*said: str) -> tuple[CoreArgument, ...]:
    """`A+ red fox` as an argument."""
    return tuple(
        CoreArgument("A" if s[0] == "A" else "B", "for" if s[1] == "+" else "against", s[3:]) for s in said
    )


def item(
    name: str, target: str, first: tuple[str, *tuple[str, ...]], second: tuple[str, *tuple[str, ...]]
) -> Item:
    """An item with a text for each order: its verdict, then its arguments."""
    texts = (
        Written(f"{order} {said}", says(*said[1:]), said[0] or None, order=order)  # type: ignore[arg-type]
        for order, said in ((Order.AB, first), (Order.BA, second))
    )
    return Item(name, target, tuple(texts))  # type: ignore[arg-type]


SET = TextSet(
    "small",
    "nobody",
    "two orders",
    "none",
    True,
    (
        # The same reasons in both orders, one of two in other words: F1 2/4.
        item("same", "A", ("A", "A+ red fox", "B- slow dog"), ("A", "A+ red fox", "B- lame duck")),
        # The judge turns round, and its reasons with it.
        item("turned", "A", ("A", "A+ old cat"), ("B", "B+ new owl")),
        # Right verdict, reasons for the other; nothing to read in the other order.
        item("against itself", "B", ("B", "A+ big bear"), ("B",)),
        item("wrong", "A", ("B", "B+ wet frog"), ("", "B+ wet frog")),
    ),
)


def test_counts() -> None:
    found = counts(SET)
    assert (found["items"], found["texts"], found["empty"], found["most"]) == (4, 8, 1, 2)
    # Nine arguments in eight texts, two of them against.
    assert (found["mean"], found["for"], found["fatal"]) == (9 / 8, 7 / 9, 0)


def test_f1_of_repeats_and_its_controls() -> None:
    repeats = agreement(SET, MEASURE, "repeats")
    assert {name: scores["f1"] for name, scores in repeats.items()} == {"same": 0.5, "turned": 0, "wrong": 1}
    # Found at the first of two places, of two to find.
    assert repeats["same"]["average_precision"] == repeats["same"]["soft_recall"] == 0.5
    assert set(agreement(SET, MEASURE, "another row")) == set(repeats)
    assert {s["f1"] for s in agreement(SET, MEASURE, "another row").values()} == {0}
    assert {s["f1"] for s in agreement(SET, MEASURE, "itself").values()} == {1}
    assert all(agreement(SET, MEASURE, "coin stances")[name]["f1"] <= repeats[name]["f1"] for name in repeats)
    table = agreement_table(SET, MEASURE)
    assert (table["repeats f1"].value, table["difference"].value, table["difference"].n) == (0.5, 0.5, 3)


def test_one_text_an_item_has_no_repeats() -> None:
    alone = TextSet("one", "", "", "", True, tuple(Item(i.id, i.target, i.texts[:1]) for i in SET.items))
    table = agreement_table(alone, MEASURE)
    assert (table["repeats f1"].value, table["repeats f1"].n) == (None, 0)
    assert (table["itself f1"].value, table["another row f1"].value, table["itself f1"].n) == (1, 0, 4)


def test_a_right_verdict_with_a_wrong_critique() -> None:
    found = inconsistent(SET, MEASURE)
    # Right verdicts: both of "same", the first of "turned", both of "against itself", one of which says nothing.
    own, other, f1 = found["own critique"], found["other order"], found["F1"]
    assert ([f.item.id for f in own.findings], own.of, own.estimate.value) == (["against itself"], 4, 1 / 4)
    # Of "against itself" only the second text has another with a leaning.
    assert ([f.item.id for f in other.findings], other.of) == (["turned", "against itself"], 4)
    assert ([(f.item.id, f.value) for f in f1.findings], f1.of) == ([("turned", 0.0)], 3)


@pytest.mark.slow
def test_arguments_beside_verdict_and_label() -> None:
    found = validity(SET)
    # Clear verdicts with a leaning: 2 + 2 + 1 + 1, all but "against itself" for their own verdict.
    assert found["own verdict"].value == pytest.approx(5 / 6)
    assert found["label"].value == pytest.approx(3 / 6)
    assert found["verdict is the label"].value == pytest.approx(4 / 6)
    scored = tuple(
        Item(str(n), None, (Written("", said, score=n),))
        for n, said in enumerate((says("A- a"), says("A- a", "A+ b"), says("A+ b")))
    )
    assert validity(TextSet("scored", "", "", "", True, scored))["rank correlation with the score"].value == 1


def test_the_page_quotes_only_what_may_be_quoted(tmp_path: Path) -> None:
    long = "secret | words *of* a judge that go on and on"
    texts = tuple(
        Item(
            str(n),
            "A",
            (Written(long, says(f"A+ {long}"), "A"), Written(long, says(f"A+ {long}"), "A", order=Order.BA)),
        )
        for n in range(3)
    )
    for quotable in (True, False):
        texts_of = TextSet("quoted", "j", "r", "l", quotable, texts)
        found = {
            "quoted": {
                "counts": counts(texts_of),
                "agreement": {"stems": agreement_table(texts_of, MEASURE)},
                "validity": validity(texts_of),
                "inconsistent": {"stems": inconsistent(texts_of, MEASURE)},
            }
        }
        write_page(tmp_path / "page.md", [texts_of], found, {"stems": MEASURE})
        page = (tmp_path / "page.md").read_text()
        assert "repeats of one judge" in page
        assert (r"secret \| words \*of\* a judge that go on" in page) is quotable
        assert (r"secret \| words \*of\* a judge …" in page) is not quotable


def test_files_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    assert read_sets(tmp_path) == []


@pytest.mark.slow
def test_llmbars_recorded_texts(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / LLMBAR).parent.mkdir(parents=True)
    (tmp_path / LLMBAR).symlink_to(real_data / LLMBAR)
    first, last = read_sets(tmp_path)
    assert [len(texts.items) for texts in (first, last)] == [100, 100]
    verdicts = [[text.verdict for one in texts.items for text in one.texts] for texts in (first, last)]
    # The shared file's own notes: a strict reading of the scored round leaves 13 texts ambiguous.
    assert [one.count(None) for one in verdicts] == [0, 13]
    rounds = json.loads((real_data / LLMBAR).read_text())
    second = [len(row["results"]) > 1 for row in rounds]
    same = [one.texts == other.texts for one, other in zip(first.items, last.items, strict=True)]
    assert second.count(True) == 37
    assert same == [not again for again in second]
    # The arguments speak for the response that the judge named, in the row's own order.
    assert (validity(first)["own verdict"].value or 0) > 0.9
    scores = {
        control: sum(one["f1"] for one in agreement(first, MEASURE, control).values())
        for control in ("repeats", "another row")
    }
    assert scores["repeats"] > 10 * scores["another row"]
    assert len(hand_sample(first)) == 30
