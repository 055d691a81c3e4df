"""What a training stage is told: a YAML file into pydantic, with TRL's own argument names in `trainer:`.

The `trainer:` section is checked against the fields of TRL's config class before anything is loaded: an unknown
name is refused with the nearest known one, a value of the wrong type with the type that was expected. Names that a
stage decides itself (where it writes, how long rows may be, how checkpoints are kept) are refused with the place
where they are set instead. YAML reads `1e-5` as a string, so numbers written as text are taken where TRL wants a
number with a fraction. It reads `no` as false, so that stands for the word where TRL wants one (`save_strategy: no`).

Relative paths mean the working directory, not the file's folder.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from reasrm.config import Config, load_config, nearest
from reasrm.errors import ConfigError
from reasrm.training.stage.ranges import check_range, expect_word

__all__ = [
    "CheckpointSection",
    "Dtype",
    "LoraSection",
    "ModelSection",
    "Stage",
    "check_trainer",
    "load_stage",
]

Dtype = Literal["auto", "float32", "bfloat16"]
_NEVER = "leave it out: rows come encoded by the judge's own encoder, and only completions carry loss"
_SAFE = "leave it out: code of model folders is never run"
_SEALED = "leave it out: every checkpoint can be resumed from, and the last one is the result"
_UPLOAD = "leave it out: export the run and upload the judge folder yourself"
OWNED = {
    "output_dir": "pass --run-dir",
    "run_name": "name the run's folder with --run-dir",
    "max_length": "set data.max_tokens",
    "save_total_limit": "set checkpoints.keep",
    "resume_from_checkpoint": "pass --resume",
    "seed": "set seed at the top of the file",
    "data_seed": "set seed at the top of the file",
    "model_init_kwargs": "set model.dtype and model.attn_implementation",
    "average_tokens_across_devices": "leave it out: the loss is the mean over all tokens of a step",
    "bf16_full_eval": "set model.dtype",
    "fp16_full_eval": "set model.dtype",
    "disable_tqdm": "pass --quiet",
    "trust_remote_code": _SAFE,
    "load_best_model_at_end": _SEALED,
    "save_only_model": _SEALED,
    "auto_find_batch_size": "set per_device_train_batch_size to what fits",
    **dict.fromkeys(
        (
            *("dataset_text_field", "dataset_kwargs", "dataset_num_proc", "completion_only_loss"),
            *("assistant_only_loss", "truncation_mode", "eos_token", "pad_token", "chat_template_path"),
            *("remove_unused_columns", "label_names", "do_train", "do_eval", "do_predict"),
        ),
        _NEVER,
    ),
    "push_to_hub": _UPLOAD,
}
"""Arguments of TRL that a stage sets itself, and where to say it instead."""


class ModelSection(Config):
    """What training starts from.

    Args:
        path: Model folder, judge folder, run folder of an earlier stage (its chosen or last checkpoint), or hub id.
        revision: Branch, tag or commit of a hub id.
        dtype: Of the weights as loaded. `auto` is float32, except where a full-precision copy is of no use or is
            kept elsewhere: bfloat16 on a GPU under LoRA (frozen weights) and under DeepSpeed (its own master copy).
        attn_implementation: As transformers names it; by default its own choice.
    """

    path: str = Field(min_length=1)
    revision: str | None = None
    dtype: Dtype = "auto"
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = None


class LoraSection(Config):
    """Low-rank adapters instead of all weights; the names are peft's.

    Args:
        r: Rank.
        alpha: Scale; updates are multiplied by alpha / r.
        dropout: Of the adapters' input.
        target_modules: `all-linear`, or names of modules. The output head takes no adapter.
        modules_to_save: Names of modules that are trained whole beside the adapters.
    """

    r: int = Field(default=16, gt=0)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    modules_to_save: tuple[str, ...] = ()

    @field_validator("target_modules")
    @classmethod
    def _not_the_head(cls, value: Any) -> Any:
        if not value or not all(value):
            raise ValueError("name at least one module, or all-linear")
        if "lm_head" in value:
            raise ValueError("the output head takes no adapter; it would never be trained")
        return value


class CheckpointSection(Config):
    """Which checkpoints stay on disk.

    Args:
        keep: How many, the latest ones; two at least, should the last be damaged.
    """

    keep: int = Field(default=2, ge=2)


class Stage(Config):
    """What every training stage is told.

    Attributes:
        trainer_class: Whose arguments `trainer` takes, as `module:name`.
        owned: Arguments among them that the stage sets itself → where to say it instead.

    Args:
        stage: Which stage this is.
        model: What training starts from.
        spec: The judge's protocol, its name or file. It travels into the exported judge.
        lora: Train adapters; null trains all weights.
        checkpoints: Which checkpoints stay.
        trainer: Arguments of TRL's config class by their own names.
        seed: Root of every draw.
    """

    trainer_class: ClassVar[str]
    owned: ClassVar[Mapping[str, str]] = OWNED

    stage: str
    model: ModelSection
    spec: str = Field(min_length=1)
    lora: LoraSection | None = None
    checkpoints: CheckpointSection = CheckpointSection()
    trainer: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("trainer", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value


StageT = TypeVar("StageT", bound=Stage)


def load_stage(model: type[StageT], path: Path, overrides: Sequence[str] = ()) -> StageT:
    """Read and check the config of a stage; `trainer:` comes back in the types that its trainer wants.

    Args:
        model: The stage's config class.
        path: The YAML file.
        overrides: `a.b=value`, applied in order before the check; the value is read as YAML.

    Raises:
        ConfigError: Names the file, the key, its value and the nearest known key.
    """
    stage = load_config(model, path, overrides)
    module, _, name = model.trainer_class.partition(":")
    trainer_class = getattr(
        import_module(module), name
    )  # seconds; a misspelt key above should not wait for it
    trainer = check_trainer(stage.trainer, trainer_class, str(path), model.owned)
    return stage.model_copy(update={"trainer": trainer})


def check_trainer(
    values: Mapping[str, Any], trainer_class: type[Any], place: str, owned: Mapping[str, str] = OWNED
) -> dict[str, Any]:
    """Check trainer arguments against the fields of TRL's config class; return them in its types.

    Args:
        values: Name → value.
        trainer_class: TRL's config class.
        place: Of the section, for errors.
        owned: Names that the stage sets itself → where to say it instead.

    Raises:
        ConfigError: An unknown name, one that the stage sets itself, or a value of the wrong type or out of range.
    """
    fields = {field.name for field in dataclasses.fields(trainer_class) if field.init}
    hints = typing.get_type_hints(trainer_class)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        at = f"{place}: trainer.{name}"
        remedy = owned.get(name) or (_UPLOAD if str(name).startswith("hub_") else None)
        if remedy is not None and name in fields:
            raise ConfigError("the stage sets this itself", place=at, remedy=remedy)
        if name not in fields:
            guess = nearest(str(name), fields - owned.keys())
            raise ConfigError(
                f"{trainer_class.__name__} of {_library(trainer_class)} has no argument {name!r}",
                place=at,
                remedy=f"did you mean {guess!r}?"
                if guess
                else f"see {_library(trainer_class)}'s documentation",
            )
        checked[name] = _typed(value, hints[name], at)
        check_range(trainer_class.__name__, name, checked[name], at)
    return checked


def _library(trainer_class: type[Any]) -> str:
    return "TRL" if trainer_class.__module__.startswith("trl") else "transformers"


def _typed(value: Any, hint: Any, place: str) -> Any:
    """Return a value in the type that an argument wants; only numbers may come as text."""
    adapter = TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    if isinstance(value, str) and float in _members(hint) and str not in _members(hint):
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(f"expected a number, got {value!r}", place=place) from None
    if value is False and str in _members(hint) and bool not in _members(hint):
        value = "no"
    words = [word.value for member in _members(hint) if _is_enum(member) for word in member]
    if words and isinstance(value, str):
        expect_word(value, words, place)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        wanted = " or ".join(sorted({_name(member) for member in _members(hint)} - {"Any"}))
        raise ConfigError(f"expected {wanted}, got {value!r}", place=place) from error


def _is_enum(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, enum.Enum)


def _members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _name(hint: Any) -> str:
    if hint is type(None):
        return "null"
    return str(getattr(typing.get_origin(hint) or hint, "__name__", hint))
