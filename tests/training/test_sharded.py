"""What cannot be done where processes hold shards of the weights is refused before anything is loaded or trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasrm.errors import ConfigError
from reasrm.training.metarm import stage as metarm_stage
from reasrm.training.metarm.config import load_metarm_stage
from reasrm.training.rlvr import stage as rlvr
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.setup import check_shards
from tests.refusals import refused
from tests.training.metarm_stages import write_metarm_stage
from tests.training.stages import write_rlvr_stage


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As `accelerate launch` with the shipped config tells its processes."""
    for name, value in (("ACCELERATE_USE_FSDP", "true"), ("FSDP_VERSION", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_STATE_DICT_TYPE", "FULL_STATE_DICT")
    return monkeypatch


def test_a_metarm_is_not_trained_in_shards(tmp_path: Path, launched: pytest.MonkeyPatch) -> None:
    config = write_metarm_stage(tmp_path)
    with refused(ConfigError, config, "FSDP", "ZeRO-2"):
        metarm_stage.train(load_metarm_stage(config), str(config), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_shards_draw_together_or_not_at_all(tmp_path: Path, launched: pytest.MonkeyPatch) -> None:
    config = write_rlvr_stage(tmp_path)
    with refused(ConfigError, config, "rollouts.refill is 1", "FSDP", "set it to 0"):
        rlvr.train(load_rlvr_stage(config, ["rollouts.refill=1"]), str(config), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    rlvr.set_up(load_rlvr_stage(config), str(config), tmp_path / "run" / "checkpoints")


@pytest.mark.parametrize("said", ["SHARDED_STATE_DICT", None], ids=["asked", "accelerate's default"])
def test_checkpoints_that_cannot_be_exported_are_not_written(
    tmp_path: Path, launched: pytest.MonkeyPatch, said: str | None
) -> None:
    if said is None:
        launched.delenv("FSDP_STATE_DICT_TYPE")
    else:
        launched.setenv("FSDP_STATE_DICT_TYPE", said)
    config = write_rlvr_stage(tmp_path)
    with refused(ConfigError, config, "fsdp_state_dict_type", "SHARDED_STATE_DICT", "FULL_STATE_DICT"):
        rlvr.set_up(load_rlvr_stage(config), str(config), tmp_path / "run" / "checkpoints")


def test_shards_asked_for_in_the_config_are_seen_too(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path, trainer={"fsdp": "full_shard"})
    with refused(ConfigError, config, "rollouts.refill is 1"):
        rlvr.set_up(load_rlvr_stage(config, ["rollouts.refill=1"]), str(config), tmp_path / "checkpoints")
    kind = {"state_dict_type": "SHARDED_STATE_DICT"}
    config = write_rlvr_stage(tmp_path, trainer={"fsdp": "full_shard", "fsdp_config": kind})
    with refused(ConfigError, config, "trainer.fsdp_config.state_dict_type is SHARDED_STATE_DICT"):
        rlvr.set_up(load_rlvr_stage(config), str(config), tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"referee": {"model": "some/model"}}, "referee.model is some/model"),
        ({"critique": {"similarity": "sentence_encoder", "encoder": "e"}}, "critique.encoder is e"),
    ],
    ids=["referee", "encoder"],
)
def test_zero_3_would_cut_up_a_model_that_the_reward_asks(
    tmp_path: Path, sections: dict[str, Any], key: str
) -> None:
    arguments = SimpleNamespace(fsdp=None, deepspeed_plugin=SimpleNamespace(zero_stage=3))
    stage = load_rlvr_stage(write_rlvr_stage(tmp_path, **sections))
    with refused(ConfigError, "stage.yaml", key, "ZeRO-3", "openai:MODEL@URL"):
        check_shards(stage, arguments, "stage.yaml")
    behind = load_rlvr_stage(write_rlvr_stage(tmp_path, referee={"model": "openai:m@http://localhost/v1"}))
    check_shards(behind.model_copy(update={"critique": None}), arguments, "stage.yaml")
