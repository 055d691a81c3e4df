"""What a config's mistake says: the key, the value, and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from reasrm.config import Config, parse_config, read_settings
from reasrm.errors import ConfigError
from tests.refusals import refused


class Apple(Config):
    kind: Literal["apple"]
    core: int = 1


class Pear(Config):
    kind: Literal["pear"]
    stem: int = 1


class Bowl(Config):
    ripe: bool = True
    weight: float | None = None
    fruit: dict[str, Annotated[Apple | Pear, Field(discriminator="kind")]] = Field(default={})
    size: Literal["small", "large"] = "small"

    @model_validator(mode="after")
    def _is_not_too_full(self) -> Bowl:
        if len(self.fruit) > 1:
            raise ValueError("one fruit is enough")
        return self


class Table(Config):
    stage: Literal["lunch"]
    bowl: Bowl | None = None

    @model_validator(mode="after")
    def _is_laid(self) -> Table:
        if self.bowl is None:
            raise ValueError("no bowl")
        return self


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"bowl": {"size": "lage"}}, "t: key 'bowl.size': no such value: 'lage'; did you mean 'large'?"),
        ({"bowl": {"size": "xxl"}}, "t: key 'bowl.size': no such value: 'xxl'; use one of small, large"),
        ({"bowl": {"size": 3}}, "t: key 'bowl.size': Input should be 'small' or 'large', got 3"),
        (
            {"bowl": {"fruit": {"one": {"kind": "aple"}}}},
            "t: key 'bowl.fruit.one.kind': no such value: 'aple'; did you mean 'apple'?",
        ),
        (
            {"bowl": {"fruit": {"one": {"kind": "pear", "zzz": 1}}}},
            "t: unknown key 'bowl.fruit.one.pear.zzz'; known keys: core, kind, stem",
        ),
        ({"bowl": {"zzz": 1}}, "t: unknown key 'bowl.zzz'; known keys: fruit, ripe, size, weight"),
        ({"zzz": 1}, "t: unknown key 'zzz'; known keys: bowl, stage"),
        (
            {"bowl": {"fruit": {"one": {"kind": "pear"}, "two": {"kind": "pear"}}}},
            "t: key 'bowl': one fruit is enough",
        ),
        ({"bowl": {"ripe": False, "weight": True}}, "t: key 'bowl': weight is a number, got true"),
        ({"bowl": None}, "t: no bowl"),
        (
            {"stage": "dinner", "guests": 3},
            "t: key 'stage': the config is for 'dinner', not for 'lunch'; "
            "use the command of that stage, or another file",
        ),
    ],
    ids=[
        "typo",
        "foreign",
        "type",
        "tag",
        "below a tag",
        "section",
        "top",
        "section sense",
        "yes for a number",
        "sense",
        "stage",
    ],
)
def test_a_mistake_names_key_value_and_remedy(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Table, {"stage": "lunch", **value}, "t")
    assert str(caught.value) == said


def test_a_config_that_ships_is_found_by_name_where_there_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sandbox/sft", "sandbox/sft.yaml", "configs/sandbox/sft.yaml"):
        assert read_settings(Path(name), ["seed=7"])["seed"] == 7
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "sft").write_text("{stage: mine}")
    assert read_settings(Path("sandbox/sft")) == {"stage": "mine"}
    with refused(ConfigError, "sandbox/sfy.yaml", "reasrm configs"):
        read_settings(Path("sandbox/sfy.yaml"))


@pytest.mark.parametrize("text", [r"a\0b", r"\uD83D"])
def test_text_that_no_file_name_can_hold_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lunch.yaml"
    path.write_text(f'data: {{train: ["{text}"]}}')
    with refused(ConfigError, "data.train[0]", "leave it out"):
        read_settings(path)
    path.write_text("{}")
    with refused(ConfigError, "data.train", "leave it out"):
        read_settings(path, [f'data.train="{text}"'])
