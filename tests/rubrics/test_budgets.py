"""One budget for everybody whom a synthesis or a filter asks: author, relator, judge with and without rubrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError
from reasrm.generation.budget import Budget, Price, budget_beside
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.rubrics.filter import filter_rubrics
from reasrm.rubrics.run import SynthesisResult
from reasrm.sources.rubric_lines import load_rubrics
from tests.refusals import refused
from tests.rubrics.shared import (
    WHOLE,
    Author,
    JudgeModel,
    adds_up,
    make_verifier_of,
    needs_rubric,
    right,
    run,
    write_lines,
    write_pairs,
)
from tests.rubrics.test_relate import TWO, Relater


def cost(*models: Author) -> int:
    """Tokens of all answers: ten for a prompt, one a word."""
    said = {"author": len(TWO.split()), "judge": 1, "relator": 1}
    return sum(len(model.requests) * (10 + said[model.name]) for model in models)


def synthesised(
    folder: Path, tokens: int | None, control: RunControl | None = None, **settings: Any
) -> tuple[SynthesisResult, int]:
    author, judge, relator = Author(lambda request: TWO), JudgeModel(right), Relater({})
    limits = {"budget_tokens": tokens, **settings}
    checks = {"relate": {"judge": "fake"}}
    verify = {"max_tokens": 1500}
    result = run(
        folder, author, judge, relator=relator, checks=checks, verify=verify, control=control, **limits
    )
    return result, cost(author, judge, relator)


@pytest.mark.slow
def test_author_relator_and_judge_share_one_budget_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    whole, needed = synthesised(tmp_path, None, output=str(tmp_path / "whole"))
    assert whole.written is not None
    for budget in range(2000, 8000, 1500):
        result, spent = synthesised(tmp_path, budget, output=str(tmp_path / "author"))
        assert spent <= budget
    author = Author(lambda request: TWO)
    run(tmp_path, author)  # alone; what follows has the rest
    spent, ends = cost(author), set[str]()
    budget, result = spent, None
    while result is None or result.written is None:
        budget += 700
        for _ in range(2):  # what was spent is spent
            result, more = synthesised(tmp_path, budget)
            spent += more
            assert spent <= budget
        judged = zip(("judge", "without"), result.verified.ends if result.verified else (), strict=False)
        ends |= {name for name, end in (("relator", result.related), *judged) if end and end.budget}
    assert ends == {"relator", "judge"}, "it ended while each of them was asked"
    assert spent == needed
    for name in WHOLE:
        one, other = (tmp_path / folder / name for folder in ("whole", "out"))
        assert not one.exists() or one.read_bytes() == other.read_bytes()
    adds_up(tmp_path / "out", 3)


@pytest.mark.slow
def test_what_is_begun_anew_costs_no_budget_of_before(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 6)
    synthesised(tmp_path, None)
    again, spent = synthesised(tmp_path, 6000, RunControl(restart=True))
    assert again.written is not None
    assert 0 < spent <= 6000


def test_money_needs_a_price_of_everybody(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    with refused(ConfigError, "the author", "--price"):
        synthesised(tmp_path, None, budget=1.0)
    result, _ = synthesised(tmp_path, None, budget=1.0, price=[1, 2])
    assert result.written is not None
    ends = [result, result.related, *(result.verified.ends if result.verified else ())]
    money = [None if end is None else end.cost["money"] for end in ends]
    words = len(TWO.split())
    per_call = [(10 + 2 * words) / 1e6, 12 / 1e6, 2 * 12 / 1e6, 2 * 12 / 1e6]  # both orders
    assert money == pytest.approx(per_call)


def test_what_others_spent_is_read_from_their_manifests(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    synthesised(tmp_path, None)
    outputs = [tmp_path / "out" / f"{name}.jsonl" for name in ("calls", "verify", "never")]
    prices = {"author": Price(1e6, 0), "judge": Price(0, 1e6)}
    left = budget_beside(Budget(prices=prices, money=100.0, tokens=1000), outputs)
    words = len(TWO.split())
    assert left.tokens == 1000 - 2 * (10 + words) - 4 * 11
    assert left.money == pytest.approx(100 - 2 * 10 - 4 * 1)


@pytest.mark.slow
def test_a_filter_counts_what_was_asked_without_rubrics_in_an_earlier_run(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 36)
    asked = []
    for count, tokens in ((30, None), (36, 2 * 30 * 2 * 11 + 10)):
        lines = ({"id": f"q{n}", "criteria": [{"text": "is calm"}]} for n in range(count))
        write_lines(tmp_path / "rubrics.jsonl", lines)
        judge = JudgeModel(needs_rubric)
        result = filter_rubrics(
            load_rubrics(tmp_path / "rubrics.jsonl"),
            JudgeInput([tmp_path / "pairs.jsonl"]),
            make_verifier_of(tmp_path / "out", judge, max_tokens=30),
            tmp_path / "out",
            RunControl(budget=Budget(tokens=tokens)),
        )
        asked.append(len(judge.requests))
    assert asked == [120, 0]
    assert [end.budget is None for end in result.verified.ends] == [False]
