"""Files that people write: YAML or JSON into pydantic models, with errors that name the key and the nearest known one.

JSON is read as JSON: YAML would take an escaped surrogate pair for two characters and refuse tabs.
YAML is read with the safe loader only, so tags such as `!!python/object` are refused and never run, and expansion by
aliases is capped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import orjson
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from reasrm.errors import ConfigError
from reasrm.registry import names

__all__ = [
    "ANSWERED_ALIKE",
    "Config",
    "EndpointSection",
    "EngineName",
    "OneOrMany",
    "load_config",
    "nearest",
    "parse_config",
    "read_settings",
    "read_yaml",
    "shipped_config",
    "shipped_configs",
]


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, refusing a key that is named twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is named twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _load_yaml(text: str) -> Any:
    loader = _UniqueKeyLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


_MAX_BYTES = 1_000_000
_MAX_NODES = 200_000
_MAX_BITS = 64


class Config(BaseModel):
    """Base of every configuration model: immutable; unknown keys, infinities, NaN, and yes for a number refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            kinds = _kinds(cls.model_fields[name].annotation) if name in cls.model_fields else set()
            if isinstance(value, bool) and {int, float} & kinds and not {bool, Any} & kinds:
                raise ValueError(f"{name} is a number, got {str(value).lower()}")
        return values


def _kinds(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of: itself, or those of a union or an `Annotated`."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType, Annotated) else ()
    return {kind for part in parts for kind in _kinds(part)} or {annotation}


class EndpointSection(Config):
    """How an endpoint is asked: keys of every section that names a model, which may be `openai:MODEL@BASE_URL`.

    Args:
        concurrency: Requests in flight, in each process.
        timeout_s: Most seconds for a whole answer, per attempt.
        attempts: Most calls per request.
        headers: Name → value, sent with every call and kept secret; `env:NAME` reads the environment.
        extra_body: Fields of every request besides ours.
        follow_redirects: Ask another host it redirects to, without key and headers.
    """

    concurrency: int = Field(default=16, gt=0)
    timeout_s: float = Field(default=600.0, gt=0)
    attempts: int = Field(default=5, gt=0)
    headers: Any = Field(default=None, exclude=True, repr=False)  # checked where no message shows a value
    extra_body: dict[str, Any] | None = None
    follow_redirects: bool = False

    def endpoint_options(self) -> dict[str, Any]:
        """Return what an endpoint is opened with."""
        return {name: getattr(self, name) for name in EndpointSection.model_fields}

    def unusual_options(self) -> list[str]:
        """Return the names of those that are not as they would be by default."""
        usual = EndpointSection()
        return [name for name, value in self.endpoint_options().items() if value != getattr(usual, name)]


if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[names("reasrm.generation.engines")]
"""What runs a model folder or hub id."""

ANSWERED_ALIKE = frozenset(EndpointSection.model_fields) - {"extra_body"}
"""Keys of an `EndpointSection` on which no answer depends: a run may go on with others."""


OneOrMany = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""Some texts, of which one alone may be written without brackets."""

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be, or None."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def read_yaml(path: Path) -> Any:
    """Read a YAML file, or a JSON file (`.json`), safely.

    Raises:
        ConfigError: The file is absent, too large, not UTF-8, not YAML or JSON, holds a tag, or expands
            without bound.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        remedy = (
            "name a file, or a config that reasrm configs lists"
            if isinstance(error, FileNotFoundError)
            else None
        )
        raise ConfigError(f"cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"is {len(raw)} bytes, more than {_MAX_BYTES}", place=str(path))
    try:
        text = raw.decode("utf-8-sig")
        value = orjson.loads(text) if path.suffix.lower() == ".json" else _load_yaml(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", place=str(path)) from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"is not JSON: {error.msg}", place=f"{path}:{error.lineno}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = str(path) if mark is None else f"{path}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"is not plain YAML: {problem}", place=place) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply", place=str(path)) from error
    except ValueError as error:  # numbers and dates that Python cannot hold
        raise ConfigError(
            f"holds a value that cannot be read: {error}", place=str(path), remedy=_QUOTE
        ) from error
    _check_values(value, str(path))
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTE = "correct it, or put it in quotation marks"


def _check_values(value: Any, place: str) -> None:
    """Refuse alias bombs (walking the expanded value must end within a budget), and what no file or name can hold.

    That is an integer beyond 64 bits, and text with a NUL character or half of a surrogate pair.
    """
    stack, seen = [("", value)], 0
    while stack:
        name, item = stack.pop()
        seen += 1
        if seen > _MAX_NODES:
            raise ConfigError(f"expands to more than {_MAX_NODES} values", place=place)
        if isinstance(item, dict):
            stack.extend((f"{name}.{key}", child) for key, child in item.items())
        elif isinstance(item, list):
            stack.extend((f"{name}[{n}]", child) for n, child in enumerate(item))
        elif isinstance(item, int) and item.bit_length() > _MAX_BITS:
            raise ConfigError(
                f"{name.removeprefix('.')}: holds an integer of {item.bit_length()} bits",
                place=place,
                remedy=f"use at most {_MAX_BITS} bits",
            )
        elif isinstance(item, str) and ("\0" in item or (not item.isascii() and _SURROGATE.search(item))):
            raise ConfigError(
                "holds a NUL character or half a character",
                place=f"{place}: {name[1:]}" if name else place,
                remedy="leave it out",
            )


def shipped_configs() -> dict[str, Path]:
    """Return the files of configuration in the package, by their name below `configs/`."""
    folder = Path(__file__).with_name("configs")
    files = (path for path in folder.rglob("*") if path.suffix in (".yaml", ".json"))
    return {path.relative_to(folder).as_posix(): path for path in sorted(files)}


def shipped_config(name: str) -> Path | None:
    """Return a config of the package by its name: `sandbox/sft`, `sandbox/sft.yaml` or `configs/sandbox/sft.yaml`."""
    known, wanted = shipped_configs(), name.removeprefix("configs/")
    return known.get(wanted) or known.get(f"{wanted}.yaml")


def parse_config(model: type[ConfigT], value: Any, place: str) -> ConfigT:
    """Validate a value as `model`.

    Raises:
        ConfigError: Names the first offending key, its value, what was expected, and the nearest known key.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _explain(error, model, place) from error


def load_config(model: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a file and validate it as `model`, after `overrides`; see `read_settings`."""
    return parse_config(model, read_settings(path, overrides), str(path))


def read_settings(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a file of keys and values, not validated yet.

    Args:
        path: YAML or JSON; where there is no such file, the name of a config that ships: `sandbox/sft`.
        overrides: `a.b=value`, applied in order; the value is read as YAML.

    Raises:
        ConfigError: The file holds something else, or an override cannot be applied.
    """
    if not path.exists():
        path = shipped_config(str(path)) or path
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError("the config is not a mapping of keys to values", place=str(path))
    for override in overrides:
        _override(raw, override)
    return raw


def _override(raw: dict[str, Any], text: str) -> None:
    """Set one key from `a.b=value`; sections that are absent or null are made."""
    key, equals, value = text.partition("=")
    place = f"--set {text if len(text) <= 200 else text[:200] + '…'}"
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError("expected a.b=value", place=place)
    section = raw
    for name in names[:-1]:
        inner = section.get(name)
        if inner is None:
            inner = section[name] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{name!r} is {inner!r}, not a section", place=place)
        section = inner
    try:
        section[names[-1]] = _load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError("the value is not plain YAML", place=place) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"the value cannot be read: {error}", place=f"--set {key}", remedy=_QUOTE
        ) from error
    _check_values(section[names[-1]], f"--set {key}")


def _explain(error: ValidationError, model: type[BaseModel], place: str) -> ConfigError:
    errors = error.errors(include_url=False)
    wrong = next((e for e in errors if e["loc"] == ("stage",) and e["type"] == "literal_error"), None)
    if wrong is not None:
        said = f"key 'stage': the config is for {wrong['input']!r}, not for {wrong['ctx']['expected']}"
        return ConfigError(said, place=place, remedy="use the command of that stage, or another file")
    # A misspelt key is also a missing one: name the misspelling.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "(top level)"
    prefix = "" if not first["loc"] and first["type"] == "value_error" else f"key {key!r}: "
    more = "" if error.error_count() == 1 else f" (and {error.error_count() - 1} more)"
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, first["loc"][:-1])
        guess = nearest(str(first["loc"][-1]), known)
        remedy = f"did you mean {guess!r}?" if guess else f"known keys: {', '.join(sorted(known))}"
        return ConfigError(f"unknown key {key!r}{more}", place=place, remedy=remedy)
    if first["type"] == "union_tag_invalid":
        kind, tag = first["ctx"]["discriminator"].strip("'"), first["ctx"]["tag"]
        remedy = _one_of(tag, first["ctx"]["expected_tags"])
        return ConfigError(f"key '{key}.{kind}': no such value: {tag!r}{more}", place=place, remedy=remedy)
    value = first.get("input")
    if first["type"] == "literal_error" and isinstance(value, str):
        remedy = _one_of(value, first["ctx"]["expected"])
        return ConfigError(f"{prefix}no such value: {value!r}{more}", place=place, remedy=remedy)
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(value, dict | list):
        return ConfigError(f"{prefix}{said}{more}", place=place)  # it names what of the section is wrong
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
    return ConfigError(f"{prefix}{said}, got {shown}{more}", place=place)


def _one_of(word: str, quoted: str) -> str:
    """Return what to write instead of `word`: the nearest of the words in quotation marks, or all of them."""
    known = re.findall(r"'([^']*)'", quoted)
    guess = nearest(word, known)
    return f"did you mean {guess!r}?" if guess else f"use one of {', '.join(known)}"


def _known_keys(model: type[BaseModel], section: Sequence[str | int]) -> set[str]:
    """Collect the field names of the models that a section may be."""
    models = {model}
    for part in section:
        inner = [m.model_fields[str(part)].annotation for m in models if str(part) in m.model_fields]
        # A part that is no field is a name in a mapping, an index of a list, or the tag of a union.
        models = {found for annotation in inner for found in _models_in(annotation)} or models
    return {name for known in models for name in known.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    """Return the models that an annotation holds: `list[A]`, `dict[str, A | B]`, `A | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for inner in get_args(annotation) for found in _models_in(inner)}
