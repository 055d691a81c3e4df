"""Which model a stage starts from: a folder, a judge, or what an earlier run left."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasrm.errors import ConfigError
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.sft.stage import train
from reasrm.training.stage.config import ModelSection
from reasrm.training.stage.models import open_base
from tests.training.stages import write_stage


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all weights, and one of adapters."""
    folder = tmp_path_factory.mktemp("models")
    config = write_stage(folder, trainer={"max_steps": 1, "per_device_train_batch_size": 4})
    train(load_sft_stage(config), str(config), folder / "whole")
    train(load_sft_stage(config, ["lora.r=2"]), str(config), folder / "adapters")
    return folder


def opened(path: Path) -> str:
    return open_base(ModelSection(path=str(path))).checkpoint.path


@pytest.mark.slow
def test_a_run_stands_for_its_last_checkpoint(runs: Path) -> None:
    assert opened(runs / "whole") == str(runs / "whole" / "checkpoints" / "checkpoint-1")


@pytest.mark.slow
def test_a_judge_folder_stands_for_its_model(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "judge.json").write_text("{}")
    (tmp_path / "model").symlink_to(runs / "model")
    assert opened(tmp_path) == str(tmp_path / "model")


@pytest.mark.slow
def test_a_run_of_adapters_is_refused(runs: Path) -> None:
    with pytest.raises(ConfigError, match="export the run, and name the judge folder"):
        opened(runs / "adapters")


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="no complete checkpoint"):
        opened(tmp_path)
