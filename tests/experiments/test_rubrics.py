"""The experiment on rubrics: its page by hand, what votes earn, its rows, and a tiny arm from author to judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import reasrm
from experiments import rubric_stages, rubrics
from experiments.arms import Trained
from experiments.primary import RubricClaims, load_primary
from experiments.rubric_lab import RubricLab, client_world, first_credits
from experiments.rubric_page import ARMS, difference, write_rubric_page
from experiments.rubric_rows import SPLITS, TASTES, draw_rows, is_conflict, principles_of, write_rubrics
from reasrm.cli.sandbox import load_demo_config
from reasrm.judged import JudgedRow
from reasrm.records import Judgment, Order, ParseStatus, RowStatus, Verdict
from reasrm.sources.rubric_lines import load_rubrics
from reasrm.world.config import WorldConfig
from reasrm.world.language import AUDIENCES
from tests.commands import ROOT

# --- the page


def arm(*credit: float, about: dict[str, float] | None = None, **facts: Any) -> dict[str, Any]:
    return {
        "cells": {split: list(credit) for split in SPLITS},
        "coverage": 1.0,
        "about": about or {},
        **facts,
    }


def table(*seeds: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    return {
        "code": "abc",
        "date": "2026-11-29",
        "rows": 4,
        "pairs": 80,
        "numbers": numbers,
        "seeds": list(seeds),
    }


CLAIMS = RubricClaims.model_validate(
    {
        "seeds": [0, 1],
        "level": 0.05,
        "claims": [
            {"ours": "contrast", "theirs": "no rubric", "split": "conflict"},
            {"ours": "gold", "theirs": "contrast", "split": "iid", "margin": 0.01},
            {"ours": "contrast + gain", "theirs": "contrast", "split": "hard"},
        ],
    }
)


def page(tmp_path: Path, made: dict[str, Any] | None, claims: RubricClaims = CLAIMS) -> str:
    write_rubric_page(tmp_path / "page.md", made, claims)
    return (tmp_path / "page.md").read_text()


def test_the_page_says_accuracy_gaps_and_claims(tmp_path):
    about = {"criteria": 3.0, "tokens_per_verdict": 40.0, "leak_rate": 0.125, "saw_labels": 0.0}
    seeds = [
        {
            "arms": {
                "no rubric": arm(0, 0.5, 0.5, 1),  # 50 %
                "contrast": arm(1, 0.5, last, 1, about=about, kept=kept),  # 75, 87.5 %
                "gold": arm(1, 1, 1, 1),
            }
        }
        for last, kept in ((0.5, 40), (1, 60))
    ]
    text = page(tmp_path, table(*seeds, numbers=[0, 1]))
    assert "Mechanism only: scripted author" in text
    assert "| no rubric | - | 50.0 ± 0.0 |" in text
    assert "| contrast | 50 | 81.2 ± 8.8 |" in text
    # (arm - none) / (gold - none) over the eight rows: (6.5 - 4) / (8 - 4)
    assert "\n| contrast | 0.62 [" in text
    # 25.0 and 37.5 points: mean 31.25, half an interval 12.706 · 8.84 / √2 = 79.4
    assert "| contrast beats no rubric, conflict | +31.2 [-48.2, +110.7] | +25.0 +37.5 |" in text
    assert "| contrast + gain beats contrast, hard |  |  |  | not run |" in text
    assert "| contrast | 3.0 | - | - | - | - | 12.5 | - | - | - | 0.0 | 40.0 |" in text
    missing = text.split("Not run: ")[1].splitlines()[0]
    assert "contrast + gain" in missing
    assert "gold" not in missing
    assert "## Growth" not in text


def test_claims_are_adjusted_together(tmp_path):
    claims = CLAIMS.model_copy(update={"seeds": [0, 1, 2, 3], "claims": CLAIMS.claims[:2]})
    seeds = [
        {
            "arms": {
                "no rubric": arm(0),
                "contrast": arm(0.5 + n / 100),
                "gold": arm(0.5 + n / 100 + (-1) ** n / 10),
            }
        }
        for n in range(4)
    ]
    text = page(tmp_path, table(*seeds, numbers=[0, 1, 2, 3]), claims)
    # 50 to 53 points: t = 51.5 / (1.291 / 2) = 79.8 on 3 degrees, p = 4e-6, twice that in the family of two.
    assert "+50.0 +51.0 +52.0 +53.0 | 0.000 | **confirmed** |" in text
    # ±10 points around 0 are no evidence that gold is not worse.
    assert "not confirmed" in text


def test_other_seeds_decide_no_claim(tmp_path):
    seeds = {"arms": {"no rubric": arm(0), "contrast": arm(1), "gold": arm(1)}}
    text = page(tmp_path, table(seeds, numbers=[0]))
    assert "decide none of them" in text
    assert "confirmed" not in text


def test_before_a_run_the_page_says_arms_and_claims(tmp_path):
    text = page(tmp_path, None)
    assert "Not run yet" in text
    assert all(f"| {name} |" in text for name in ARMS)
    assert "2. gold is at most 1 point worse than contrast, in-domain" in text


def test_the_page_that_ships_is_what_the_program_writes(tmp_path):
    claims = load_primary().rubrics
    assert claims is not None
    shipped = (ROOT / "docs" / "results" / "rubrics.md").read_text()
    if "Not run yet" in shipped:
        assert shipped == page(tmp_path, None, claims)
    assert page(tmp_path, None, claims).splitlines()[-1] in shipped  # the hash of the claims


def test_claims_name_arms_that_there_are():
    claims = load_primary().rubrics
    assert claims is not None
    assert {name for claim in claims.claims for name in (claim.ours, claim.theirs)} <= set(ARMS)


def test_growth_votes_and_orders_are_shown(tmp_path):
    about = {"right_principle": 0.5, "stability": 0.75}
    seed = {
        "arms": {"pair-writer": arm(1, about=about, orders=[[1, 0], [1, 0.5], [0.5, 0.5], [1, 1]])},
        "growth": {"100": arm(0.5, about=about, kept=90), "1600": arm(1, about=about, kept=1400)},
        "votes": {
            name: {"by_calls": {"3": {split: [credit] for split in SPLITS}}}
            for name, credit in (("no rubric", 0.5), ("gold", 1.0))
        },
    }
    text = page(tmp_path, table(seed, numbers=[0]))
    assert "right in 87.5 % under rubrics that were written with the better response first" in text
    assert "in 50.0 % with it second: a difference of +37.5 [" in text
    assert "75.0 % stay" in text
    assert "| 1,600 | 1400 | 100.0 | 100.0 | 100.0 | 100.0 | 50.0 |" in text
    assert "| 3 | no rubric | 50.0 |" in text


def test_arms_of_other_rows_are_not_compared():
    seed = {"arms": {"gold": arm(1, 1), "contrast": arm(1)}}
    with pytest.raises(ValueError, match="different rows"):
        difference(seed, "gold", "contrast", "iid")


# --- votes


def judged(*verdicts: str | None, name: str = "r") -> JudgedRow:
    """AB and BA take turns; every verdict is in the row's own terms, where A is right."""
    judgments = [
        Judgment(
            ParseStatus.NO_VERDICT if said is None else ParseStatus.OK,
            None if said is None else Verdict(said),
            order=Order.BA if n % 2 else Order.AB,
            vote=n // 2,
        )
        for n, said in enumerate(verdicts)
    ]
    return JudgedRow(id=name, status=RowStatus.SPLIT, label="A", judgments=tuple(judgments))


def test_a_majority_of_so_many_judgments_decides():
    assert first_credits(judged("A", "B"), 2) == 0.5
    assert first_credits(judged("A", None), 2) == 1.0
    assert first_credits(judged("B", "B", "A", "A"), 2) == 0.0
    assert first_credits(judged("B", "B", "A", "A"), 4) == 0.5


def test_which_order_has_the_odd_vote_is_drawn_by_the_row():
    # All AB are right and all BA are wrong: of three judgments the order that begins has two.
    found = [first_credits(judged("A", "B", "A", "B", name=str(n)), 3) for n in range(200)]
    assert set(found) == {0.0, 1.0}
    assert 60 < sum(found) < 140


# --- rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    usual = WorldConfig()
    return draw_rows(usual, client_world(usual), 6, tmp_path_factory.mktemp("rows"))


@pytest.mark.slow
def test_rows_of_a_client_conflict_with_the_usual_taste(rows, tmp_path):
    assert {split: len(rows.of(split)) for split in SPLITS} == dict.fromkeys(SPLITS, 6)
    assert all(is_conflict(rows.pairs[name]) for name in rows.of("conflict"))
    assert all(TASTES[audience] != AUDIENCES[audience] for audience in TASTES)
    gold = load_rubrics(write_rubrics("gold", rows.pairs.values(), tmp_path / "gold.jsonl"))
    for name in rows.of("conflict"):
        line = gold.find(rows.pairs[name])
        assert line is not None
        assert principles_of(line.rubric.criteria) == {TASTES[str(rows.pairs[name].meta["audience"])]}
        assert not line.saw_label


# --- a tiny arm


@pytest.mark.slow
def test_an_arm_from_author_to_judge(rows, tmp_path, monkeypatch):
    """The packaged judge verifies and judges; a writer of three updates writes nothing that can be read yet."""
    judge = Trained(Path(reasrm.__file__).parent / "sandbox_judge" / "model", "packaged")
    config = load_demo_config(ROOT / "configs" / "sandbox" / "judge.yaml", 0)
    monkeypatch.setattr(rubric_stages, "STEPS", 3)
    lab = RubricLab(config, tmp_path, rows, "code")
    monkeypatch.setattr(lab.lab, "base", lambda: judge)
    monkeypatch.setattr(lab, "judge", lambda: judge)
    arms = ("no rubric", "gold", "contrast + consistency")
    found = rubrics.run_seed(lab, arms, 12)
    assert list(found) == ["no rubric", "contrast + consistency", "gold"]
    taught = found["contrast + consistency"]
    assert 0 < taught["kept"] <= 12
    assert taught["about"]["rows_with_rubric"] == 0
    assert taught["cells"] == found["no rubric"]["cells"]
    assert found["gold"]["about"]["right_principle"] == 1
    assert sum(found["gold"]["cells"]["conflict"]) > sum(found["no rubric"]["cells"]["conflict"])
    # Nothing is done twice.
    done = [
        path for kind in ("result", "judged", "writer-rows") for path in lab.folder.glob(f"{kind}-*.json*")
    ]
    before = {path: path.stat().st_mtime_ns for path in done}
    assert len(done) > 6
    assert rubrics.run_seed(lab, arms, 12) == found
    assert {path: path.stat().st_mtime_ns for path in done} == before
    voted = lab.votes("gold", judge, lab.computed("gold"), {2: 3, 3: 4})
    assert {calls: set(cells) for calls, cells in voted["by_calls"].items()} == {
        "3": {*SPLITS},
        "4": {*SPLITS},
    }
    assert set(voted["by_calls"]["4"]["iid"]) <= {0.0, 0.5, 1.0}


def test_the_program_writes_the_page_alone(tmp_path, capsys):
    words = ["--output", str(tmp_path), "--seeds", "--page", str(tmp_path / "page.md")]
    rubrics.main(words)
    assert "Not run yet" in (tmp_path / "page.md").read_text()
    assert json.loads(capsys.readouterr().out)["seeds"] == []
