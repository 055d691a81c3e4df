"""A world that cannot be: refused with the place and what would do."""

from __future__ import annotations

from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.world.config import SPLITS, SplitConfig, WorldConfig
from reasrm.world.language import TOPICS
from reasrm.world.pairs import World
from tests.refusals import refused

SPLIT = {name: {} for name in SPLITS}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({"sed": 1}, r"unknown key 'sed'.*did you mean 'seed'"),
    "unknown-nested-key": ({"shortcut": {"tran": 1}}, r"'shortcut.tran'.*did you mean 'train'"),
    "unknown-split": ({"splits": {**SPLIT, "easy": {}}}, r"'splits.easy': .*'easy'; use one of train, tune, iid"),
    "wrong-type": ({"seed": "x"}, r"key 'seed': .*integer.*'x'"),
    "share-above-1": ({"must_share": 1.5}, r"key 'must_share': .*less than or equal to 1.*1.5"),
    "shortcut-below-0": ({"shortcut": {"hard": -0.1}}, r"key 'shortcut.hard': .*greater than or equal to 0.*-0.1"),
    "shortcut-of-no-kind": ({"shortcut": {"kind": "rude"}}, r"'shortcut.kind': .*'rude'; use one of polite, length"),
    "no-writers": ({"writers": []}, r"'writers': .*at least 1"),
    "skill": ({"writers": [{"name": "n", "skill": 2}]}, r"'writers.0.skill': .*less than or equal to 1.*2"),
    "joiner": ({"writers": [{"name": "n", "skill": 1, "joiner": "or"}]}, r"'writers.0.joiner': .*'or'.*use one of and"),
    "unknown-topic": ({"held_out_topics": ["fish", "stars"]}, r"at least two of trees, birds.*and leave two.*stars"),
    "one-topic": ({"held_out_topics": ["fish"]}, r"at least two of"),
    "all-topics": ({"held_out_topics": list(TOPICS)}, r"leave two"),
    "falling-rules": ({"splits": {**SPLIT, "hard": {"num_rules": [3, 2]}}}, r"splits.hard.num_rules must rise.*3, 2"),
    "no-rules": ({"splits": {**SPLIT, "iid": {"num_rules": [0, 2]}}}, r"splits.iid.num_rules must rise.*0, 2"),
    "no-margin": ({"splits": {**SPLIT, "hard": {"margin": 0}}}, r"splits.hard.margin.*greater than or equal to 1"),
    "five-rules": ({"splits": {**SPLIT, "iid": {"num_rules": [2, 5]}}}, r"num_rules must rise within 1..4.*2, 5"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "message"), BAD.values(), ids=BAD)
def test_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(WorldConfig, value, "world.yaml")
    assert caught.value.place == "world.yaml"
    assert caught.value.exit_code == 2


def test_a_world_as_a_file_holds_it() -> None:
    """Lists for tuples, as YAML has them; and a configuration survives JSON."""
    value = {
        "seed": 3,
        "held_out_topics": ["trees", "birds", "tools"],
        "writers": [{"name": "only", "skill": 0.5}],
        "shortcut": {"kind": "length", "hard": 0},
        "splits": {**SPLIT, "hard": {"num_rules": [4, 4], "margin": 2}, "ood": {"held_out": True}},
    }
    config = parse_config(WorldConfig, value, "world.yaml")
    assert config.topics("ood") == ("trees", "birds", "tools")
    assert config.topics("iid") == ("fruits", "colours", "rivers", "fish", "metals")
    assert config.shortcut_share("hard") == 0
    assert config.shortcut_share("tune") == config.shortcut_share("iid") == config.shortcut.train
    assert config.shortcut_share("ood") == config.shortcut.ood
    assert parse_config(WorldConfig, config.model_dump(mode="json"), "again") == config


def test_a_margin_that_never_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasrm.world.pairs._ATTEMPTS", 50)
    config = parse_config(WorldConfig, {"splits": {**SPLIT, "hard": {"margin": 99}}}, "world.yaml")
    with refused(ConfigError, "splits.hard", "99"):
        World(config).pair("hard", 0)
    World(config).pair("iid", 0)


def test_more_different_responses_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasrm.world.pairs._ATTEMPTS", 3)
    with refused(ConfigError, "500", "3 draws"):
        World().candidates("train", 0, 500)


def test_a_file_names_only_what_it_changes() -> None:
    config = parse_config(WorldConfig, {"splits": {"hard": {"margin": 2}, "ood": {}}}, "world.yaml")
    assert config.splits["hard"] == SplitConfig(num_rules=(3, 3), margin=2)
    assert config.splits["ood"].held_out
    assert config.splits["train"] == WorldConfig().splits["train"]
    assert WorldConfig.model_validate(config.model_dump(mode="json")) == config
