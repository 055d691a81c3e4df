"""The arithmetic of the experiment: equal compute, equal rows."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from reasrm.errors import ConfigError
from tests.commands import ROOT


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reasoning_sft", ROOT / "experiments" / "reasoning_sft.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_steps_count_the_short_batch_at_an_epochs_end(experiment: ModuleType) -> None:
    lengths = [10] * 5  # batches of 2, 2 and 1: 50 tokens in 3 steps
    assert experiment.steps_for(100, lengths, 2) == 6
    assert experiment.steps_for(200, [10] * 4, 2) == 10


def test_differences_are_paired_by_row(experiment: ModuleType) -> None:
    ours = {"a": True, "b": True, "c": False, "d": True}
    theirs = {"d": True, "c": False, "b": False, "a": False}
    assert experiment.paired_difference(ours, theirs).value == 0.5
    with pytest.raises(ValueError, match="different rows"):
        experiment.paired_difference(ours, {"a": True})


def test_a_folder_with_other_rows_is_refused(experiment: ModuleType, tmp_path) -> None:
    experiment.settle(tmp_path, {"rows": 10})
    experiment.settle(tmp_path, {"rows": 10})
    with pytest.raises(ConfigError, match="other rows"):
        experiment.settle(tmp_path, {"rows": 20})
