"""Stage configs: what is accepted, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.errors import ConfigError
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.stage.config import LoraSection

MINIMAL = {"stage": "sft", "model": {"path": "m"}, "spec": "rm-r1", "data": {"train": ["r.jsonl"]}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stage.yaml"
    path.write_text(yaml.safe_dump(MINIMAL), encoding="utf-8")
    return path


def test_what_is_not_said_has_a_default(config: Path) -> None:
    stage = load_sft_stage(config)
    assert (stage.data.max_tokens, stage.data.on_unreadable, stage.data.limit) == (12288, "drop", None)
    assert (stage.lora, stage.trainer, stage.seed, stage.checkpoints.keep) == (None, {}, 0, 2)


def test_numbers_with_an_exponent_are_numbers(config: Path) -> None:
    config.write_text(config.read_text() + "trainer: {learning_rate: 1e-5, adam_epsilon: '1e-8'}\n")
    assert load_sft_stage(config).trainer == {"learning_rate": 1e-5, "adam_epsilon": 1e-8}


def test_no_is_a_word_where_trl_wants_one(config: Path) -> None:
    stage = load_sft_stage(config, ["trainer.save_strategy=no", "trainer.bf16=no"])
    assert stage.trainer == {"save_strategy": "no", "bf16": False}


def test_an_empty_trainer_section_is_none(config: Path) -> None:
    config.write_text(config.read_text() + "trainer:\n")
    assert load_sft_stage(config).trainer == {}


def test_overrides_are_yaml_and_make_sections(config: Path) -> None:
    overrides = ["lora.r=8", "trainer.max_grad_norm=1e-1", "data.train=[a, b]", "seed=3", "seed=4"]
    stage = load_sft_stage(config, overrides)
    assert stage.lora == LoraSection(r=8)
    assert stage.trainer == {"max_grad_norm": 0.1}
    assert (stage.data.train, stage.seed) == (("a", "b"), 4)


def test_one_file_of_rows_needs_no_list(config: Path) -> None:
    assert load_sft_stage(config, ["data.train=a.jsonl"]).data.train == ("a.jsonl",)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("modle.path=x", ["unknown key 'modle'", "did you mean 'model'?"]),
        ("data.max_token=5", ["unknown key 'data.max_token'", "did you mean 'max_tokens'?"]),
        ("data.max_tokens=0", ["data.max_tokens", "greater than 0"]),
        ("data.max_tokens=many", ["data.max_tokens", "'many'"]),
        ("data.train=[]", ["data.train"]),
        ("stage=rlvr", ["'stage'", "'sft'"]),
        ("model.dtype=float64", ["model.dtype", "'bfloat16'"]),
        (
            "lora.target_modules=[q_proj, lm_head]",
            ["lora.target_modules", "the output head takes no adapter"],
        ),
        ("trainer=fast", ["'trainer'", "'fast'"]),
        ("trainer.learning_rat=1", ["no argument 'learning_rat'", "did you mean 'learning_rate'?"]),
        ("trainer.learning_rate=fast", ["trainer.learning_rate", "expected a number", "'fast'"]),
        ("trainer.max_steps=1.5", ["trainer.max_steps", "expected int", "1.5"]),
        ("trainer.max_steps=true", ["trainer.max_steps", "expected int", "True"]),
        ("trainer.bf16=1", ["trainer.bf16", "expected bool or null", "1"]),
        ("trainer.optim=null", ["trainer.optim", "None"]),
        ("trainer.output_dir=x", ["trainer.output_dir", "pass --run-dir"]),
        ("trainer.max_length=9", ["trainer.max_length", "set data.max_tokens"]),
        ("trainer.save_total_limit=9", ["trainer.save_total_limit", "set checkpoints.keep"]),
        ("trainer.resume_from_checkpoint=x", ["pass --resume"]),
        ("trainer.dataset_text_field=x", ["trainer.dataset_text_field", "leave it out"]),
        ("trainer.seed=1", ["set seed at the top"]),
        ("trainer.trust_remote_code=true", ["never run"]),
        ("trainer.hub_model_id=x", ["upload the judge folder yourself"]),
        ("spec.name=x", ["--set spec.name=x", "'spec' is 'rm-r1', not a section"]),
        ("seed", ["--set seed", "expected a.b=value"]),
        ("a..b=1", ["expected a.b=value"]),
        ("seed=[", ["--set seed=[", "not plain YAML"]),
        ("seed=!!python/name:os.system", ["not plain YAML"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(config: Path, override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sft_stage(config, [override])
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize("text", ["[1, 2]", "''", "a: {", "!!python/object:os.system {}"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_sft_stage(path)


def test_every_name_that_the_stage_owns_is_a_name_of_trl() -> None:
    from trl.trainer.sft_config import SFTConfig

    from reasrm.training.stage.config import OWNED

    fields: dict[str, Any] = SFTConfig.__dataclass_fields__
    assert [name for name in OWNED if name not in fields] == []
