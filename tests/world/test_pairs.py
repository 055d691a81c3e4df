"""Rows of the world: labels recomputed, every row by its number alone, splits apart, shortcuts as configured."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.hashing import digest
from reasrm.records import PreferencePair
from reasrm.sources import read_file
from reasrm.sources.importing import pair_to_json
from reasrm.world.config import SPLITS, Shortcut, Split, SplitConfig, WorldConfig
from reasrm.world.language import AUDIENCES, HELD_OUT_TOPICS, PREFACES, TOPICS
from reasrm.world.pairs import World, read_task, score
from reasrm.world.reading import rules_of
from reasrm.world.rows import keep_critique
from reasrm.world.rules import HARD_RULES, PRINCIPLES, read_rubric
from tests.refusals import refused
from tests.world.truth import evidence, meets, total, within

ROWS = 2000
WITH_RUBRICS = WorldConfig(seed=5, rubric_share=0.5, shortcut=Shortcut(kind="length"))


@lru_cache
def rows(split: Split) -> tuple[PreferencePair, ...]:
    """Rows of the world as it comes."""
    return tuple(World().pairs(split, ROWS))


@lru_cache
def other_rows(split: Split, count: int = 300) -> tuple[PreferencePair, ...]:
    """Rows of another world: half of them with rubrics, and long openings."""
    return tuple(World(WITH_RUBRICS).pairs(split, count))


def prompt(row: PreferencePair) -> str:
    (message,) = row.prompt
    assert message.role == "user"
    return message.content


def words(row: PreferencePair) -> set[str]:
    """Every word that a judge of the row may see."""
    rubric = row.rubric.render() if row.rubric else ""
    return set(re.findall("[a-z]+", f"{prompt(row)} {rubric} {row.chosen} {row.rejected}"))


# --- truth


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_exact(split: Split) -> None:
    for row in (*rows(split)[:400], *other_rows(split)[:150]):
        rules = row.meta["rules"]
        margin = total(rules, row.chosen) - total(rules, row.rejected)
        assert margin == row.meta["margin"] > 0
        assert score(rules_of(row), row.chosen) == total(rules, row.chosen)


@pytest.mark.parametrize("split", SPLITS)
def test_gold_core_arguments_are_the_one_sided_violations(split: Split) -> None:
    for row in (*rows(split)[:400], *other_rows(split)[:150]):
        expected = []
        for rule in row.meta["rules"]:
            chosen, rejected = meets(rule, row.chosen), meets(rule, row.rejected)
            if chosen != rejected:
                side, text = ("B", row.rejected) if chosen else ("A", row.chosen)
                said = f"{rule.removeprefix('must ')} : {evidence(rule, text)}"
                expected.append((side, "against", said, rule.startswith("must ")))
        assert row.critique is not None
        assert [(a.about, a.stance, a.text, a.fatal) for a in row.critique.arguments] == expected
        assert any(about == "B" for about, *_ in expected)


def test_what_counts_is_in_the_prompt_or_known_of_the_audience() -> None:
    for split in SPLITS:
        for row in rows(split)[:300]:
            task = read_task(prompt(row))
            assert task is not None
            assert task.rules == rules_of(row)
            assert row.rubric is None
            stated = re.findall(r"(?:must )?(?:count|include|avoid|end) \w+", prompt(row))
            unstated = [AUDIENCES[row.meta["audience"]]] if row.meta["audience"] else []
            assert row.meta["rules"] == stated + unstated
            assert prompt(row).startswith(f"name {row.meta['topic']} ")


def test_a_rubric_says_all_that_counts() -> None:
    ruled = [row for split in SPLITS for row in other_rows(split) if row.rubric is not None]
    assert within(len(ruled), 300 * len(SPLITS), 0.5)
    for row in ruled:
        assert row.rubric is not None
        assert read_rubric(row.rubric.render()) == rules_of(row)
        assert [c.kind for c in row.rubric.criteria].count("principle") == 1
    drawn = {(row.rubric.criteria[-1].text, row.rubric.criteria[-1].weight) for row in ruled if row.rubric}
    assert drawn == {(kind, weight) for kind in PRINCIPLES for weight in (1.0, 2.0)}
    despite = [row for row in ruled if row.meta["audience"]]
    agreeing = sum(row.meta["rules"][-1].endswith(AUDIENCES[row.meta["audience"]]) for row in despite)
    assert within(agreeing, len(despite), 1 / len(PRINCIPLES))  # the audience does not decide


def test_the_audience_decides_the_principle() -> None:
    plain = [
        row for split in SPLITS for row in other_rows(split) if row.rubric is None and row.meta["audience"]
    ]
    assert plain
    assert all(row.meta["rules"][-1] == AUDIENCES[row.meta["audience"]] for row in plain)
    assert all(read_task(prompt(row)).rules == rules_of(row) for row in plain)  # type: ignore[union-attr]


def test_a_principle_may_decide_alone() -> None:
    alone = [row for row in rows("train") if row.critique and len(row.critique.arguments) == 1]
    kinds = {row.critique.arguments[0].text.split()[0] for row in alone if row.critique}
    assert kinds == {*HARD_RULES, *PRINCIPLES}


def test_exchanging_the_responses_exchanges_the_truth() -> None:
    for row in rows("train")[:300]:
        ours, theirs = row.compare(), row.compare().swap()
        assert ours.critique is not None
        assert theirs.critique is not None
        assert theirs.critique.arguments == tuple(a.swap() for a in ours.critique.arguments)
        assert theirs.swap() == ours


# --- by number alone


def test_rows_are_numbered_and_named() -> None:
    for split in SPLITS:
        assert [row.id for row in rows(split)] == [f"{split}-{n}" for n in range(ROWS)]
        assert {row.subset for row in rows(split)} == {split}


@pytest.mark.parametrize("split", SPLITS)
def test_a_row_depends_on_its_number_only(split: Split) -> None:
    numbers = [*range(40), 999, 1998]
    random.Random(0).shuffle(numbers)
    world = World(WorldConfig())
    assert [world.pair(split, n) for n in numbers] == [rows(split)[n] for n in numbers]
    assert tuple(world.pairs(split, 7, start=11)) == rows(split)[11:18]
    assert list(world.pairs(split, 0)) == []
    sets = {n: world.candidates(split, n, 4) for n in (3, 1, 2)}
    assert [World().candidates(split, n, 4) for n in (1, 2, 3)] == [sets[n] for n in (1, 2, 3)]


def test_seeds_and_splits_draw_differently() -> None:
    first = {split: [prompt(row) for row in rows(split)[:50]] for split in SPLITS}
    assert len({tuple(prompts) for prompts in first.values()}) == len(SPLITS)
    other = [prompt(row) for row in World(WorldConfig(seed=1)).pairs("train", 50)]
    assert sum(a == b for a, b in zip(other, first["train"], strict=True)) < 5


def test_one_splits_settings_leave_the_others_alone() -> None:
    config = WorldConfig()
    changed = config.model_copy(update={"splits": {**config.splits, "hard": SplitConfig(num_rules=(1, 1))}})
    assert tuple(World(changed).pairs("iid", 20)) == rows("iid")[:20]
    assert tuple(World(changed).pairs("hard", 20)) != rows("hard")[:20]


def test_rows_are_the_same_in_every_process() -> None:
    code = (
        "from reasrm.hashing import digest; from reasrm.sources.importing import pair_to_json\n"
        "from reasrm.world.config import SPLITS; from reasrm.world.pairs import World\n"
        "print(digest([pair_to_json(row) for s in SPLITS for row in World().pairs(s, 20)], 64))"
    )
    expected = digest([pair_to_json(row) for split in SPLITS for row in rows(split)[:20]], 64)
    for seed in ("0", "1"):
        command = [sys.executable, "-c", code]
        result = subprocess.run(
            command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == expected


# --- splits


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "train"])
def test_no_test_row_is_a_training_row(split: Split) -> None:
    trained = {(prompt(row), frozenset((row.chosen, row.rejected))) for row in rows("train")}
    assert not [
        row.id for row in rows(split) if (prompt(row), frozenset((row.chosen, row.rejected))) in trained
    ]


def test_the_held_out_domain_is_nowhere_but_in_its_split() -> None:
    held_out = {word for topic in HELD_OUT_TOPICS for word in (topic, *TOPICS[topic])}
    known = {word for topic in TOPICS if topic not in HELD_OUT_TOPICS for word in (topic, *TOPICS[topic])}
    for split in SPLITS:
        foreign, own = (known, held_out) if split == "ood" else (held_out, known)
        for row in (*rows(split), *other_rows(split)):
            assert not words(row) & foreign
            assert words(row) & own
        assert {row.meta["topic"] for row in rows(split)} == own & set(TOPICS)


def test_another_domain_can_be_held_out() -> None:
    world = World(WorldConfig(held_out_topics=("trees", "tools")))
    held_out = {"trees", "tools", *TOPICS["trees"], *TOPICS["tools"]}
    assert not any(words(row) & held_out for row in world.pairs("train", 200))
    assert {row.meta["topic"] for row in world.pairs("ood", 50)} == {"trees", "tools"}


@pytest.mark.parametrize("split", SPLITS)
def test_the_number_of_rules_and_the_margin_are_the_splits(split: Split) -> None:
    its = WorldConfig().splits[split]
    stated = [sum(rule.is_hard for rule in rules_of(row)) for row in rows(split)]
    assert set(stated) == set(range(its.num_rules[0], its.num_rules[1] + 1))
    margins = {row.meta["margin"] for row in rows(split)}
    assert margins == {its.margin} if its.margin else len(margins) > 2


def test_hard_rows_have_three_rules_and_the_narrowest_margin() -> None:
    for row in rows("hard"):
        assert sum(rule.is_hard for rule in rules_of(row)) == 3
        assert row.meta["margin"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_how_often_there_is_a_must_and_an_audience(split: Split) -> None:
    """Before rows without a winner, or with a wide margin, are drawn again: so on tasks, not on rows."""
    config, draw = WorldConfig(), random.Random(split)
    tasks = [World().draw_task(draw, split)[0] for _ in range(800)]
    assert within(sum(any(r.weight == 2 for r in t.rules) for t in tasks), 800, config.must_share)
    assert within(sum(t.audience is not None for t in tasks), 800, config.principle_share)
    assert all(sum(rule.weight == 2 for rule in task.rules) <= 1 for task in tasks)
    assert all(len({rule.kind for rule in task.rules}) == len(task.rules) for task in tasks)


# --- the shortcut


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["polite", "length"])
def test_the_shortcut_goes_with_the_label_as_often_as_configured(split: Split, kind: str) -> None:
    shown, config = (
        (rows(split), WorldConfig()) if kind == "polite" else (other_rows(split, 500), WITH_RUBRICS)
    )
    opening = " ".join(PREFACES[kind]) + " "
    for row in shown:
        worn = (row.chosen.startswith(opening), row.rejected.startswith(opening))
        assert worn == ((True, False) if row.meta["shortcut"] == "chosen" else (False, True))
    agreeing = sum(row.meta["shortcut"] == "chosen" for row in shown)
    assert within(agreeing, len(shown), config.shortcut_share(split))


def test_the_shortcut_misleads_where_it_is_meant_to() -> None:
    shortcut = Shortcut()
    assert shortcut.hard < 0.5 < shortcut.train
    hard, train = (
        fmean(len(row.chosen.split()) > len(row.rejected.split()) for row in other_rows(split, 500))
        for split in ("hard", "train")
    )
    assert hard < 0.5 < train  # with the long opening, length misleads


def test_the_shortcut_is_no_reason() -> None:
    """No finding changes when the opening goes."""
    for split in SPLITS:
        for row in (*rows(split)[:100], *other_rows(split)[:100]):
            for text in (row.chosen, row.rejected):
                bare = text
                for opening in PREFACES.values():
                    bare = bare.removeprefix(" ".join(opening) + " ")
                for rule in row.meta["rules"]:
                    assert evidence(rule, bare) == evidence(rule, text)


# --- writers


def test_a_better_writer_scores_more() -> None:
    config, draw = WorldConfig(), random.Random(1)
    tasks = [World().draw_task(draw, "train")[0] for _ in range(1200)]
    scores = {}
    for writer in config.writers:
        texts = [World().write(draw, task, writer) for task in tasks]
        assert {written.writer for written in texts} == {writer.name}
        met = [
            meets(rule.marked, written.text)
            for task, written in zip(tasks, texts, strict=True)
            for rule in task.rules
        ]
        scores[writer.skill] = fmean(met)
        assert scores[writer.skill] > writer.skill - 0.05
    assert [scores[skill] for skill in sorted(scores)] == sorted(scores.values())
    assert len(scores) > 2


def test_a_writer_shows_by_a_habit_that_says_nothing_about_quality() -> None:
    joiners = {writer.name: writer.joiner for writer in WorldConfig().writers}
    assert len(set(joiners.values())) == len(joiners)
    for row in rows("train")[:500]:
        for text, writer in zip((row.chosen, row.rejected), row.meta["writers"], strict=True):
            used = set(text.split()) & set(joiners.values())
            assert used <= {joiners[writer]}


def test_a_perfect_writer_meets_every_rule_and_a_hopeless_one_hardly_any() -> None:
    draw, config = random.Random(2), WorldConfig()
    able, unable = (config.writers[0].model_copy(update={"skill": skill}) for skill in (1.0, 0.0))
    missed = 0
    for _ in range(300):
        task, _ = World().draw_task(draw, "train")
        marked = [rule.marked for rule in task.rules]
        assert total(marked, World().write(draw, task, able).text) == sum(r.weight for r in task.rules)
        missed += not any(meets(rule, World().write(draw, task, unable).text) for rule in marked)
    assert missed > 150


# --- candidates


@pytest.mark.parametrize("count", [2, 5])
def test_candidates_are_ranked_by_score_and_equals_stay_in_order(count: int) -> None:
    for number in range(60):
        row = World().candidates("hard", number, count)
        assert row.id == f"hard-set-{number}"
        assert len(set(row.responses)) == len(row.responses) == len(row.meta["writers"]) == count
        scores = [total(row.meta["rules"], text) for text in row.responses]
        assert scores == row.meta["scores"]
        assert len(set(scores)) > 1
        assert isinstance(row.label, tuple)
        ranked = [(-scores[n], n) for n in row.label]
        assert ranked == sorted((-value, n) for n, value in enumerate(scores))


# --- files


@pytest.mark.parametrize("source", [None, "sandbox"])
def test_rows_come_back_from_a_file_as_they_went_in(tmp_path: Path, source: str | None) -> None:
    written = [row for split in SPLITS for row in (*rows(split)[:20], *other_rows(split)[:20])]
    path = tmp_path / "pairs.jsonl"
    # The ids of two worlds are alike.
    renamed = [{**pair_to_json(row, source=source), "id": f"{n}"} for n, row in enumerate(written)]
    path.write_text("".join(json.dumps(line) + "\n" for line in renamed))
    read = [row for item in read_file(path) for row in item.rows]
    assert any(row.rubric for row in written)
    for number, (row, back) in enumerate(zip(written, read, strict=True)):
        assert isinstance(back, PreferencePair)
        expected: dict[str, Any] = {**row.shared_fields(), "chosen": row.chosen, "rejected": row.rejected}
        expected |= {"id": f"{number}"}
        named = {} if source is None else {"source": source}
        expected["meta"] = {k: v for k, v in {**row.meta, **named}.items() if v is not None}  # null is absent
        assert back == PreferencePair(**expected)
        assert rules_of(back) == rules_of(row)
        assert back.present(0).critique == PreferencePair(**expected).present(0).critique


def test_a_greater_share_of_critiques_holds_a_smaller_one() -> None:
    pairs = list(World().pairs("train", 400))
    kept = {s: {p.id for p in pairs if keep_critique(p, s).critique} for s in (0.0, 0.25, 0.5, 1.0)}
    assert not kept[0.0]
    assert kept[0.25] < kept[0.5] < kept[1.0] == {pair.id for pair in pairs}
    assert 70 <= len(kept[0.25]) <= 130


def test_rows_are_drawn_apart_from_prompts_and_keep_their_numbers() -> None:
    world = World()
    trained = {pair.prompt for pair in world.pairs("train", 1000)}
    plain = list(world.pairs("iid", 300, 10_000))
    apart = list(world.pairs("iid", 300, 10_000, without=trained))
    met = [pair for pair in plain if pair.prompt in trained]
    assert met
    assert len(apart) == 300
    assert not any(pair.prompt in trained for pair in apart)
    assert apart[: 300 - len(met)] == [pair for pair in plain if pair.prompt not in trained]
    assert {pair.id for pair in apart[300 - len(met) :]}.isdisjoint(pair.id for pair in plain)


def test_other_tastes_change_labels_and_no_text_that_says_them() -> None:
    tastes = {"kids": "plain", "experts": "warm", "guests": "merry"}
    usual, other = World(), World(WorldConfig(tastes=tastes))
    assert World(WorldConfig(tastes={})).pair("iid", 3) == usual.pair("iid", 3)
    for pair in other.pairs("train", 40):
        stated = [rule for rule in rules_of(pair) if not rule.is_hard]
        audience = pair.meta["audience"]
        assert [rule.kind for rule in stated] == ([tastes[str(audience)]] if audience else [])
        assert not any(rule.kind in pair.prompt[0].content.split() for rule in stated)
        assert score(rules_of(pair), pair.chosen) > score(rules_of(pair), pair.rejected)


@pytest.mark.parametrize("tastes", [{"cats": "warm"}, {"kids": "loud"}])
def test_tastes_that_nobody_has_are_refused(tastes: dict[str, str]) -> None:
    with refused(
        ConfigError, "tastes", next(iter({*tastes, *tastes.values()} & {"cats", "loud"})), remedy=False
    ):
        parse_config(WorldConfig, {"tastes": tastes}, "world.yaml")
