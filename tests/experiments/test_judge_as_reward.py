"""The measure of the experiment by hand; and, in the soak, that the judge's rewards do better than coins."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.commands import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    path = ROOT / "experiments" / "judge_as_reward.py"
    spec = importlib.util.spec_from_file_location("judge_as_reward", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quality_is_the_share_of_weighted_rules(experiment: ModuleType) -> None:
    prompt = "name birds for kids : must count two , include owl"
    # The must weighs 2, the word 1, the cheer that kids like 1.
    assert experiment.quality(prompt, "robin and owl yay") == 1
    assert experiment.quality(prompt, "robin and owl") == 3 / 4
    assert experiment.quality(prompt, "robin and crow") == 2 / 4
    assert experiment.quality(prompt, "") == 0


def test_test_prompts_are_no_training_prompts(experiment: ModuleType) -> None:
    test = set(experiment.prompts("iid", experiment.TEST_ROWS, 0))
    for seed in range(3):
        train = experiment.prompts("train", 400, seed)
        assert len(test & set(train)) / len(test) < 0.02, "the world is small: a few short prompts recur"


@pytest.mark.soak
def test_the_judges_rewards_do_better_than_coins(experiment: ModuleType, tmp_path) -> None:
    # Not "better than at the start": two of the seven runs on the page, this one among them, did not rise.
    judged = experiment.run("round_robin", 1, 60, tmp_path)["gain"]["sampled"]
    coins = experiment.run("coins", 1, 60, tmp_path)["gain"]["sampled"]
    assert judged["ci_low"] > coins["ci_high"]
