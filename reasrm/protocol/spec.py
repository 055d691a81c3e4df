"""`JudgeSpec`: everything about how a judge is asked and how its answer is read, in one hashed, immutable object.

The spec travels unchanged from data generation through training into the exported judge folder. Two judges with the
same weights and different specs are different judges; `JudgeSpec.hash` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictStr,
    field_validator,
    model_serializer,
    model_validator,
)

from reasrm.config import Config, load_config, nearest, parse_config, read_yaml
from reasrm.errors import ConfigError, InputError
from reasrm.hashing import digest
from reasrm.protocol.clock import CODES
from reasrm.protocol.grammar import (
    Grammar,
    MarkedGrammar,
    PhraseGrammar,
    RankingGrammar,
    RubricGrammar,
    ScoreGrammar,
)
from reasrm.requests import TemplateOption
from reasrm.rubric import TAGS

__all__ = ["JudgeSpec", "MessageTemplate", "SamplingDefaults", "builtin_specs", "load_spec"]

Protocol = Literal["pairwise", "pointwise", "listwise", "rubric"]
_OptionValue = StrictBool | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)] | StrictStr
# What `apply_chat_template` and the renderer below it call their own.
_TAKEN = frozenset(
    (
        *(
            "self",
            "conversation",
            "conversations",
            "messages",
            "tools",
            "documents",
            "chat_template",
            "tokenize",
        ),
        *("add_generation_prompt", "continue_final_message", "sanitize_control_tokens", "tokenizer_kwargs"),
        *(
            "padding",
            "truncation",
            "max_length",
            "return_tensors",
            "return_dict",
            "return_assistant_tokens_mask",
        ),
        *("raise_exception", "strftime_now", CODES),
    )
)
_MOST_SCORES = 100  # a spec file may name any range; its structural literals stay few


class MessageTemplate(Config):
    """One message of the prompt: a role and a Jinja template (see `reasrm.protocol.prompts` for its variables)."""

    role: Literal["system", "user"]
    text: str = Field(min_length=1, pattern="^[^\ue000\ue001]*$")


class SamplingDefaults(Config):
    """How the judge samples unless told otherwise."""

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=4096, gt=0)


class JudgeSpec(Config):
    """A judge protocol.

    Args:
        name: Short name, `[a-z0-9-]`.
        description: One sentence for people; not part of the hash.
        source: Where the structure, tags and grammar come from; not part of the hash.
        protocol: `pairwise`, `pointwise` or `listwise`; or `rubric`, for a writer of rubrics, which judges nothing.
        messages: The prompt.
        grammar: Where the verdict stands and what it may be.
        allowed_verdicts: Verdicts that count for a pairwise judge; others on the menu become `off_menu`.
        requires: Optional row fields that this spec cannot do without.
        sampling: Defaults of generation.
        template_options: Variables that the model's chat template takes, such as `enable_thinking`. `date_string`
            is also the day that a template is told when it asks for today's.
        codes: How the code in section markers is made: 2 covers all that a prompt shows, with 128 bits; 1 is what
            older specs have, 32 bits that leave out rubric, principle and reference; 0 says that there is none on
            purpose, for texts that nobody hostile wrote.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str = ""
    source: str = ""
    protocol: Protocol
    messages: tuple[MessageTemplate, ...] = Field(min_length=1)
    grammar: Grammar
    allowed_verdicts: tuple[Literal["A", "B", "tie"], ...] = ("A", "B", "tie")
    requires: tuple[Literal["rubric", "principle", "reference"], ...] = ()
    sampling: SamplingDefaults = SamplingDefaults()
    template_options: dict[str, _OptionValue] = Field(default_factory=dict)
    codes: Literal[0, 1, 2] = 1

    @model_serializer(mode="wrap")
    def _without_younger_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the key out where it says nothing new, so that hashes and configs of older specs stay."""
        dumped: dict[str, Any] = handler(self)
        if self.codes == 1:
            dumped.pop("codes", None)
        return dumped

    @field_validator("template_options")
    @classmethod
    def _free_names(cls, options: dict[str, TemplateOption]) -> dict[str, TemplateOption]:
        for name in options:
            # A variable named after a special token would replace that token.
            if not (name.isascii() and name.isidentifier()):
                raise ValueError(f"{name!r} cannot be the name of a template variable")
            if name in _TAKEN or name.endswith(("_token", "_tokens")):
                raise ValueError(f"{name!r} is set by the tokenizer and cannot be an option")
        return options

    @model_validator(mode="after")
    def _fits(self) -> JudgeSpec:
        wanted: dict[str, tuple[type, ...]] = {
            "pairwise": (MarkedGrammar, PhraseGrammar),
            "pointwise": (ScoreGrammar,),
            "listwise": (RankingGrammar,),
            "rubric": (RubricGrammar,),
        }
        if not isinstance(self.grammar, wanted[self.protocol]):
            kinds = " or ".join(t.model_fields["kind"].default for t in wanted[self.protocol])  # type: ignore[attr-defined]
            raise ValueError(f"protocol {self.protocol!r} needs a grammar of kind {kinds}")
        if self.protocol == "rubric" and self.requires:
            raise ValueError(
                f"a rubric writer sees request and responses, and cannot require {self.requires[0]}"
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with fields replaced. What was computed from the old fields does not come along."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("hash", "structural"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits that change when anything changes that a judge's behaviour depends on."""
        ignored = {"name", "description", "source"}
        if not self.template_options:  # younger than the published hashes
            ignored.add("template_options")
        if self.codes < 2:
            ignored.add("codes")
        return digest(self.model_dump(mode="json", exclude=ignored))

    @cached_property
    def structural(self) -> tuple[str, ...]:
        """Literals that mean something in this protocol, which candidate text must not be able to speak."""
        grammar = self.grammar
        tags = [*grammar.sections]
        if isinstance(grammar, MarkedGrammar) and grammar.tag:
            tags.append(grammar.tag)
        words = [f"<{tag}>" for tag in tags] + [f"</{tag}>" for tag in tags]
        words += [*grammar.thinking_start, *grammar.thinking_end]
        if isinstance(grammar, MarkedGrammar):
            closing = "" if grammar.close == "\n" else grammar.close
            gap = " " if grammar.close == "\n" else ""
            words += [f"{grammar.open}{gap}{word}{closing}" for word in grammar.menu]
            words += [grammar.heading] if grammar.heading else []
        elif isinstance(grammar, PhraseGrammar):
            words += [*grammar.phrases]
        elif isinstance(grammar, RubricGrammar):
            words += [f"[{TAGS[kind]}]" for kind in grammar.kinds]
        elif isinstance(grammar, ScoreGrammar):
            low, high = int(grammar.minimum), int(min(grammar.maximum, grammar.minimum + _MOST_SCORES))
            closing, gap = ("", " ") if grammar.close == "\n" else (grammar.close, "")
            words += [f"{grammar.open}{gap}{n}{closing}" for n in range(low, high + 1)]
        return tuple(dict.fromkeys(words))


def builtin_specs() -> tuple[str, ...]:
    """Return the names of the specs that ship with the package, sorted."""
    folder = resources.files("reasrm.protocol").joinpath("specs")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_spec(name_or_path: str, *, allow_changed: bool = False) -> JudgeSpec:
    """Load a built-in spec by name, a spec file (YAML or JSON), or the `judge.json` of a judge folder.

    Args:
        name_or_path: Which.
        allow_changed: Take the spec of a judge folder also where it is not the one that was exported.

    Raises:
        ConfigError: No such spec (with the nearest name), or the file is not a valid spec.
        InputError: The spec of a judge folder was edited: its hash is not the one that the folder says.
    """
    path = Path(name_or_path)
    if name_or_path in builtin_specs():
        resource = resources.files("reasrm.protocol").joinpath("specs", f"{name_or_path}.yaml")
        with resources.as_file(resource) as file:
            return load_config(JudgeSpec, file)
    if path.is_dir():
        path = path / "judge.json"
    if path.is_file():
        value, expected = read_yaml(path), None
        if isinstance(value, dict) and isinstance(value.get("spec"), dict):
            value, expected = value["spec"], value.get("spec_hash")
        spec = parse_config(JudgeSpec, value, str(path))
        if expected not in (None, spec.hash) and not allow_changed:
            raise InputError(
                f"the spec was edited: its hash is {spec.hash}, the judge's is {expected}",
                place=f"{path}: spec",
                remedy="give back what was there or export again; --allow-changed takes it as it is and says so",
            )
        return spec
    if path.suffix or len(path.parts) > 1:
        raise ConfigError("there is no such spec file", place=name_or_path)
    guess = nearest(name_or_path, builtin_specs())
    known = ", ".join(builtin_specs())
    raise ConfigError(
        f"no judge spec {name_or_path!r}",
        remedy=f"did you mean {guess!r}?" if guess else f"give a file or one of: {known}",
    )
