"""Rows of the English world: exact labels, prompts that can be read back, splits apart, shortcuts as configured."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError, InputError
from reasrm.hashing import digest
from reasrm.records import CoreArgument, PreferencePair
from reasrm.sources.importing import pair_to_json
from reasrm.world.critiques import Clause, argument_f1, core_arguments, verdict_of
from reasrm.world.english.checks import evidence_of, is_met
from reasrm.world.english.config import SPLITS, EnglishConfig, EnglishShortcut, EnglishSplit
from reasrm.world.english.demands import (
    Demand,
    EnglishPrompt,
    Remark,
    read_clauses,
    read_demand,
    read_request,
)
from reasrm.world.english.kinds import KINDS, excluded
from reasrm.world.english.pairs import EnglishWorld, score
from reasrm.world.english.texts import load_texts
from reasrm.world.reading import rules_of
from reasrm.world.rules import RuleCheck, read_rubric, rubric_of
from tests.refusals import refused

ROWS = 400


@lru_cache
def rows(split: EnglishSplit) -> tuple[PreferencePair, ...]:
    return tuple(EnglishWorld().pairs(split, ROWS))


def prompt(row: PreferencePair) -> str:
    (message,) = row.prompt
    assert message.role == "user"
    return message.content


# --- truth


def weighed(marked: Sequence[str], text: str) -> int:
    """The weighted sum, from the demands as meta holds them."""
    total = 0
    for said in marked:
        demand = read_demand(said)
        assert demand is not None
        weight = 2 if said.startswith("above all, ") else 1
        total += weight * is_met(demand.kind, demand.value, evidence_of(demand.kind, demand.value, text))
    return total


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_the_weighted_sum(split: EnglishSplit) -> None:
    for row in rows(split):
        marked = row.meta["rules"]
        margin = weighed(marked, row.chosen) - weighed(marked, row.rejected)
        assert margin == row.meta["margin"] > 0
        assert score(rules_of(row), row.chosen) == weighed(marked, row.chosen)
        assert row.subset == split


@pytest.mark.parametrize("split", SPLITS)
def test_the_gold_critique_is_what_only_one_response_fails(split: EnglishSplit) -> None:
    for row in rows(split):
        expected = []
        for demand in rules_of(row):
            texts = {"A": row.chosen, "B": row.rejected}
            found = {side: evidence_of(demand.kind, demand.value, text) for side, text in texts.items()}
            failed = [side for side in texts if not is_met(demand.kind, demand.value, found[side])]
            if len(failed) == 1:
                said = f"{demand.words} : {found[failed[0]]}"
                expected.append((failed[0], "against", said, demand.weight == 2))
        assert row.critique is not None
        assert [(a.about, a.stance, a.text, a.fatal) for a in row.critique.arguments] == expected != []


@pytest.mark.parametrize("split", SPLITS)
def test_a_prompt_is_read_back(split: EnglishSplit) -> None:
    for row in rows(split):
        assert read_request(prompt(row)) == EnglishPrompt(row.meta["topic"], rules_of(row))


@pytest.mark.parametrize("kind", KINDS)
def test_every_wording_is_read_back_with_every_value(kind: str) -> None:
    for value in KINDS[kind].values or (None,):
        for weight in (1, 2):
            demand = Demand(kind, value, weight)
            assert read_demand(demand.marked) == demand
            said = {EnglishPrompt("a lamp", (demand,)).text(random.Random(seed)) for seed in range(40)}
            assert len(said) >= 9
            assert {read_request(text) for text in said} == {EnglishPrompt("a lamp", (demand,))}
            assert read_rubric(rubric_of([demand]).render(), read_demand) == (demand,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Describe a lamp.",
        "Use lower case only.",
        "Describe a lamp. Use lower case only. Be brief.",
        'Describe a lamp. Use the word "zeppelin".',
        "Describe a lamp. Use lower case only. Write without any capital letter.",
        "Describe a lamp. use lower case only.",
        "name birds : count three",
    ],
)
def test_other_text_is_no_request(text: str) -> None:
    assert read_request(text) is None


# --- critiques


CLAUSE = 'above all, question at the end. A: "of the tide." no. B: "the tide, right?" yes.'


def test_a_clause_by_hand() -> None:
    demand = Demand("question", None, 2)
    clause = Remark.gold(demand, "It is a song of the tide.", "Sure! That is the tide, right?")
    assert clause.text == CLAUSE
    assert read_clauses(f"Well.\n{CLAUSE}\nSo B.") == [clause]
    assert verdict_of([clause]) == "B"
    assert core_arguments([clause]) == (
        CoreArgument("A", "against", 'question at the end : "of the tide."', fatal=True),
    )


def test_a_bare_mark_is_a_clause_without_evidence() -> None:
    (clause,) = read_clauses("no digits. A: yes. B: no.")
    assert (clause.a, clause.b) == (RuleCheck("", True), RuleCheck("", False))
    assert clause.text == "no digits. A: yes. B: no."
    gold = Remark.gold(clause.rule, "It lasts.", "It lasts for 3 hours.")
    assert argument_f1(core_arguments([clause]), core_arguments([gold])) == 0


@pytest.mark.parametrize(
    "line",
    [
        CLAUSE.replace("question at", "question near"),
        CLAUSE.replace("no.", "bad."),
        CLAUSE.replace('"of the tide."', "of the tide."),
        CLAUSE.replace('A: "of the tide." no', "A: no"),
        CLAUSE.replace("A:", "B:", 1),
        f"{CLAUSE} Yes.",
        f"I think {CLAUSE}",
        'exactly 2 sentences. A: 1 The, Gulls no. B: "a" yes.',
        CLAUSE.replace("of the tide.", "tide " * 200),
    ],
)
def test_what_is_not_exactly_a_clause_is_none(line: str) -> None:
    assert read_clauses(line) == []


@pytest.mark.parametrize("split", SPLITS)
def test_gold_clauses_are_read_back_and_favour_the_label(split: EnglishSplit) -> None:
    for row in rows(split)[:200]:
        clauses: list[Clause] = [Remark.gold(d, row.chosen, row.rejected) for d in rules_of(row)]
        assert read_clauses("\n".join(clause.text for clause in clauses)) == clauses
        assert verdict_of(clauses) == "A"


# --- splits


def test_splits_share_no_prompt_and_nothing_that_is_held_out() -> None:
    prompts: dict[str, set[str]] = {split: {prompt(row) for row in rows(split)} for split in SPLITS}
    for one, other in combinations(("train", "tune", "iid", "topics", "kinds"), 2):
        assert not prompts[one] & prompts[other]
    assert not prompts["train"] & prompts["hard"]
    kinds = {split: {kind for row in rows(split) for kind in row.meta["kinds"]} for split in SPLITS}
    topics = {split: {row.meta["topic"] for row in rows(split)} for split in SPLITS}
    held = set(EnglishConfig().held_out_kinds)
    assert kinds["kinds"] == held
    assert kinds["train"] == set(KINDS) - held
    assert all(kinds[split] <= kinds["train"] for split in SPLITS if split != "kinds")
    assert len(topics["topics"]) == 8
    assert len(topics["train"]) == 32
    assert all(not topics[split] & topics["topics"] for split in SPLITS if split != "topics")


def test_requests_have_one_to_three_demands_that_go_together() -> None:
    counts = [0, 0, 0]
    for split in SPLITS:
        for row in rows(split):
            kinds = row.meta["kinds"]
            counts[len(kinds) - 1] += 1
            assert len(set(kinds)) == len(kinds)
            assert not any(excluded(kind, set(kinds) - {kind}) for kind in kinds)
            assert sum(said.startswith("above all, ") for said in row.meta["rules"]) <= (len(kinds) > 1)
    assert min(counts) > 300


# --- shortcuts


def longer(row: PreferencePair) -> bool:
    return len(row.chosen.split()) > len(row.rejected.split())


def polite(text: str) -> bool:
    return text.lower().startswith("sure!")


@pytest.mark.parametrize(
    ("split", "low", "high"),
    [
        ("train", 0.58, 0.72),
        ("tune", 0.58, 0.72),
        ("iid", 0.58, 0.72),
        ("hard", 0, 0),
        ("topics", 0.42, 0.58),
        ("kinds", 0.42, 0.58),
    ],
)
def test_always_longer_and_sure_first_are_right_as_often_as_configured(
    split: EnglishSplit, low: float, high: float
) -> None:
    worn = [row for row in rows(split) if row.meta["polite"]]
    assert len(worn) > ROWS / 3
    assert low <= sum(map(longer, rows(split))) / ROWS <= high
    assert low <= sum(polite(row.chosen) for row in worn) / len(worn) <= high
    for row in rows(split):
        assert longer(row) is (row.meta["shortcut"] == "chosen")
        assert (polite(row.chosen), polite(row.rejected)) == (
            row.meta["polite"] and longer(row),
            row.meta["polite"] and not longer(row),
        )


def test_either_mark_alone_can_be_asked_for() -> None:
    plain = EnglishWorld(EnglishConfig(shortcut=EnglishShortcut(marks=("length",), train=1.0)))
    assert all(longer(row) and not polite(row.chosen) for row in plain.pairs("train", 100))
    kind = EnglishWorld(EnglishConfig(shortcut=EnglishShortcut(marks=("polite",), train=1.0)))
    worn = list(kind.pairs("train", 200))
    assert {longer(row) for row in worn} == {True, False}
    assert all(polite(row.chosen) is row.meta["polite"] and not polite(row.rejected) for row in worn)


# --- quality levels


@pytest.mark.parametrize("split", SPLITS)
def test_five_responses_have_five_levels_and_the_label_ranks_them(split: EnglishSplit) -> None:
    for number in range(30):
        made = EnglishWorld().candidates(split, number)
        assert [weighed(made.meta["rules"], made.responses[n]) for n in made.label] == [4, 3, 2, 1, 0]
        assert len(set(made.responses)) == 5
    few = EnglishWorld().candidates(split, 1, 3)
    scores = [weighed(few.meta["rules"], text) for text in few.responses]
    assert scores == list(few.meta["scores"])
    assert list(few.label) == sorted(range(3), key=lambda n: -scores[n])
    with refused(ConfigError, "6 quality levels"):
        EnglishWorld().candidates(split, 0, 6)


# --- rubrics


def test_a_share_of_the_rows_carries_the_gold_rubric() -> None:
    drawn = list(EnglishWorld(EnglishConfig(rubric_share=0.5)).pairs("train", 200))
    with_rubric = [row for row in drawn if row.rubric]
    assert 70 <= len(with_rubric) <= 130
    for row in with_rubric:
        assert row.rubric is not None
        assert read_rubric(row.rubric.render(), read_demand) == rules_of(row)
    assert [prompt(row) for row in drawn] == [prompt(row) for row in EnglishWorld().pairs("train", 200)]


# --- determinism


def test_rows_are_the_same_everywhere() -> None:
    made = [pair_to_json(row, source="sandbox") for split in SPLITS for row in EnglishWorld().pairs(split, 3)]
    assert digest(made) == "35b9ca90fa611a19"


def test_a_row_depends_on_its_number_alone() -> None:
    world = EnglishWorld()
    assert list(world.pairs("iid", 5, start=7)) == [world.pair("iid", n) for n in range(7, 12)]
    passed = {world.pair("iid", 8).prompt}
    assert [row.id for row in world.pairs("iid", 3, 7, without=passed)] == ["iid-7", "iid-9", "iid-10"]
    assert world.pair("iid", 0) != EnglishWorld(EnglishConfig(seed=1)).pair("iid", 0)


def test_texts_are_short() -> None:
    drawn = [row for split in SPLITS for row in rows(split)]
    words = [len(text.split()) for row in drawn for text in (row.chosen, row.rejected)]
    assert max(words) <= 60
    assert 15 <= sum(words) / len(words) <= 30
    assert max(len(prompt(row).split()) for row in drawn) <= 45


# --- configuration and base texts


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"held_out_kinds": ["end", "rhyme", "quote"]}, "held_out_kinds must be at least three"),
        ({"held_out_kinds": ["end"]}, "held_out_kinds must be at least three"),
        ({"num_rules": [0.5, 0.5, 0.5]}, "num_rules must be three shares"),
        ({"num_sentences": [4, 2]}, "num_sentences must rise"),
        ({"skill": 1.0}, "skill"),
        ({"shortcut": {"marks": ["bold"]}}, "marks"),
    ],
)
def test_a_knob_out_of_range_is_named(value: dict[str, Any], named: str) -> None:
    with refused(ConfigError, named, remedy=False):
        parse_config(EnglishConfig, value, "world.yaml")


def test_the_texts_that_ship_are_many_and_can_be_bent() -> None:
    texts = load_texts(None)
    assert len(texts) == 40
    assert {len(sentences) for sentences in texts.values()} == {12}


def own_texts(folder: Path, **change: str) -> Path:
    """A file of five topics with ten sentences each, of which the first is changed."""
    things = ("lamp", "chair", "table", "spoon", "clock", "brush", "plate", "glass", "shelf", "towel")
    made = [
        {"topic": f"the {place}", "text": " ".join(f"The {thing} stands in the {place}." for thing in things)}
        for place in ("hall", "attic", "shed", "barn", "tower")
    ]
    made[0] |= change
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_responses_can_be_made_of_a_users_own_texts(tmp_path: Path) -> None:
    world = EnglishWorld(EnglishConfig(texts=own_texts(tmp_path)))
    drawn = [*world.pairs("train", 50), *world.pairs("topics", 50)]
    assert {row.meta["topic"] for row in drawn} == {
        "the hall",
        "the attic",
        "the shed",
        "the barn",
        "the tower",
    }
    assert all("tands in the" in row.chosen for row in drawn)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"topic": "the hall. The end"}, "texts.jsonl:1: is no base text"),
        ({"text": "The lamp stands."}, "the topic 'the hall' has 1 sentences that can be bent"),
        ({"topic": "the attic"}, "holds 4 topics"),
    ],
)
def test_texts_that_cannot_serve_are_refused(tmp_path: Path, change: dict[str, str], named: str) -> None:
    with refused((ConfigError, InputError), named):
        EnglishWorld(EnglishConfig(texts=own_texts(tmp_path, **change)))


def test_a_world_in_which_nothing_can_be_drawn_says_so() -> None:
    world = EnglishWorld(EnglishConfig(num_sentences=(1, 1), skill=1e-12))
    with refused(ConfigError, "no row in 2000 draws"):
        world.pair("train", 0)
