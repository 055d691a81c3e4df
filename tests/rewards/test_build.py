"""From a config to one function: parts are logged, faults are named, the documentation's examples are real."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import yaml

from reasrm.config import parse_config
from reasrm.critiques.scores import CritiqueScores
from reasrm.errors import ConfigError
from reasrm.records import Order, ParseStatus
from reasrm.rewards.base import Part, RewardProblem, Rollout, Values
from reasrm.rewards.build import RewardFunction, build_reward
from reasrm.rewards.combine import CombineSection, WeightedSum, build_combinator
from reasrm.rewards.config import AdvantageSection, RewardSection
from reasrm.rewards.parts import PARTS
from reasrm.rewards.parts.outcome import OutcomePart
from reasrm.scorers.config import CritiqueSection
from tests.commands import ROOT
from tests.refusals import refused
from tests.rewards.rollouts import rollout

PAGE = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(OWN,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KINDS = {part.model_fields["kind"].default: part for part in PARTS}


def agreeing(questions: Sequence[object]) -> list[int]:
    return [1] * len(questions)


def praising(cases: Sequence[object]) -> list[CritiqueScores | None]:
    return [CritiqueScores(f1=0.5, average_precision=0.25)] * len(cases)


def test_the_default_is_rm_r1() -> None:
    section = RewardSection()
    assert (section.parts, section.combine) == ({"outcome": OutcomePart()}, WeightedSum())
    scored = build_reward(section)([rollout("A"), rollout(None), rollout("A", target=None)])
    assert scored.rewards == [1.0, -1.0, None]
    assert scored.parts == {"outcome": [1.0, -1.0, None]}
    assert scored.array()[:2].tolist() == [1.0, -1.0]
    assert math.isnan(scored.array()[2])


def test_parts_are_logged_unweighted() -> None:
    section = parse_config(
        RewardSection,
        {
            "parts": {
                "outcome": {"kind": "outcome"},
                "length": {"kind": "overlong", "max_tokens": 20, "buffer_tokens": 20, "weight": 0.5},
            }
        },
        "reward.yaml",
    )
    scored = build_reward(section)([rollout("A", num_tokens=10), rollout("B", num_tokens=0)])
    assert scored.parts == {"outcome": [1.0, -1.0], "length": [-0.5, 0.0]}
    assert scored.rewards == [0.75, -1.0]


def test_no_rollouts_no_rewards() -> None:
    scored = build_reward(RewardSection())([])
    assert (scored.rewards, scored.parts, scored.array().shape) == ([], {"outcome": []}, (0,))


def test_a_ladder_without_a_referee_is_refused() -> None:
    section = RewardSection.model_validate({"parts": {"ladder": {"kind": "consistency_ladder"}}})
    with refused(ConfigError, "rewards.parts.ladder"):
        build_reward(section)


# --- faults


def only(part: Part) -> RewardFunction:
    return RewardFunction({"mine": part}, build_combinator(WeightedSum(), {"mine": 1.0}))


def throws_on_q7(rollouts: Sequence[Rollout]) -> Values:
    if any(each.comparison.id == "q7" for each in rollouts):
        raise ZeroDivisionError("seven")
    return [1.0] * len(rollouts)


def test_a_part_that_throws_stops_the_run_and_names_the_row() -> None:
    rows = [rollout(row_id="q6"), rollout(row_id="q7", order=Order.BA), rollout(row_id="q8")]
    with pytest.raises(RewardProblem) as caught:
        only(throws_on_q7)(rows)
    problem = caught.value
    assert (problem.part, problem.row_id, problem.order) == ("mine", "q7", Order.BA)
    assert problem.exit_code == 3
    assert "row 'q7', order BA" in str(problem)
    assert "ZeroDivisionError: seven" in str(problem)
    assert isinstance(problem.__cause__, ZeroDivisionError)


def test_a_part_that_throws_on_the_batch_only_names_no_row() -> None:
    def crowded(rollouts: Sequence[Rollout]) -> Values:
        if len(rollouts) > 1:
            raise MemoryError("crowded")
        return [1.0]

    with refused(RewardProblem, "'mine'", "MemoryError", "crowded") as caught:
        only(crowded)([rollout(), rollout()])
    assert caught.value.row_id is None


@pytest.mark.parametrize(
    ("value", "message"),
    [(math.nan, "gave nan"), (math.inf, "gave inf"), ("much", "gave 'much'"), ([1], "is no number")],
    ids=["nan", "infinite", "text", "list"],
)
def test_what_is_no_finite_number_names_its_row(value, message: str) -> None:
    with pytest.raises(RewardProblem, match=message) as caught:
        only(lambda rows: [1.0, value])([rollout(), rollout(row_id="q2")])
    assert caught.value.row_id == "q2"


def test_a_sum_that_overflows_names_its_row() -> None:
    huge = RewardFunction(
        {"a": lambda rows: [1.0, 1e308], "b": lambda rows: [1.0, 1e308]},
        build_combinator(WeightedSum(), {"a": 1e10, "b": 1.0}),
    )
    with refused(RewardProblem, "'q2'") as caught:
        huge([rollout(), rollout(row_id="q2")])
    assert caught.value.part == "combine"


def test_a_value_too_few_is_a_fault() -> None:
    def silent(rollouts: object) -> None:
        return None

    with pytest.raises(RewardProblem, match="gave None, which is no list of values"):
        RewardFunction({"x": silent}, lambda parts, groups: parts["x"])([rollout()])
    with refused(RewardProblem, "1 values", "2 rollouts"):
        only(lambda rows: [1.0])([rollout(), rollout()])


def test_a_built_in_part_knows_its_row() -> None:
    # A reference that is no text cannot come from a reader; it stands for any fault inside a part.
    section = RewardSection.model_validate(
        {"parts": {"rouge": {"kind": "rouge", "against": "reference", "read": "text"}}}
    )
    rows = [rollout(text="x", reference="x"), rollout(text="x", reference=5, row_id="q3")]
    with pytest.raises(RewardProblem) as caught:
        build_reward(section)(rows)
    assert (caught.value.part, caught.value.row_id) == ("rouge", "q3")


# --- the documentation


def test_every_combinator_is_documented_with_an_example() -> None:
    combines = [yaml.safe_load(text).get("rewards", {}).get("combine", {}).get("kind") for text in EXAMPLES]
    known = {
        model.model_fields["kind"].default
        for model in CombineSection.__args__[0].__args__  # type: ignore[attr-defined]
    }
    assert set(filter(None, combines)) >= known - {"weighted_sum"}


@pytest.mark.parametrize("text", EXAMPLES, ids=[f"example {n}" for n in range(1, len(EXAMPLES) + 1)])
def test_a_documented_example_scores_rollouts(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_part.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    value = yaml.safe_load(text)
    assert set(value) <= {"rewards", "advantages", "critique"}
    if "critique" in value:
        parse_config(CritiqueSection, value["critique"], "docs/rewards.md")
    if "advantages" in value:
        parse_config(AdvantageSection, value["advantages"], "docs/rewards.md")
    section = parse_config(RewardSection, value.get("rewards", {}), "docs/rewards.md")
    rows = [
        rollout(
            said,
            text="<think>It adds up.</think><answer>[[A]]</answer>",
            reference="It adds up.",
            evaluation="Response A adds up.",
            order=order,
        )
        for said in ("A", "B", None)
        for order in Order
    ]
    scored = build_reward(section, referee=agreeing, critiques=praising)(rows)  # type: ignore[arg-type]
    assert list(scored.parts) == list(section.parts)
    assert all(reward is None or math.isfinite(reward) for reward in scored.rewards)


def test_a_file_is_named_like_its_kind_and_has_one_class() -> None:
    assert [part.__module__.rpartition(".")[2] for part in PARTS] == list(KINDS)
    assert len(KINDS) == len(PARTS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"python"}))
def test_every_part_has_a_value_or_none_for_every_rollout(kind: str) -> None:
    """With its defaults, and 16 where there is none."""
    needed = {name: 16 for name, field in KINDS[kind].model_fields.items() if field.is_required()}
    section = RewardSection.model_validate({"parts": {"mine": {**needed, "kind": kind}}})
    build = partial(build_reward, section, referee=agreeing, critiques=praising)  # type: ignore[arg-type]
    rows = [rollout(said, evaluation="It adds up.") for said in ("A", "B", "tie", None)]
    rows += [rollout(None, status=ParseStatus.ERROR), rollout(target=None)]
    values = build()(rows).parts["mine"]
    assert len(values) == len(rows)
    assert values == build()(rows).parts["mine"]
