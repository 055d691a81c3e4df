"""What `reasrm rubrics synthesize` is told. A YAML file into pydantic; relative paths mean the working directory."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from reasrm.config import Config
from reasrm.criteria.checks import ChecksSection
from reasrm.criteria.verify import Require
from reasrm.generation.budget import Budget, Price
from reasrm.generation.sections import AskedModelSection, PricePair
from reasrm.tables import ColumnMap

__all__ = [
    "AuthorSection",
    "Checks",
    "Method",
    "RelateSection",
    "SynthesisConfig",
    "VerifySection",
    "WriterSection",
]

Method = Literal["contrast", "profiles", "prompt_only", "self"]
_SEE_LABELS = ("contrast", "profiles")


def _refuse_recordings(judge: str) -> None:
    if judge == "replay" or judge.startswith("replay:"):
        raise ValueError("recorded judgments hold no rubrics and say nothing of criteria; name a model")


class AuthorSection(AskedModelSection):
    """Who writes rubrics: any model, or `scripted`, the author of the embedded world.

    Args:
        temperature: 0, as in OpenRubrics and CDRRM.
        max_tokens: Room for an answer, thinking included.
        samples: Most answers to one prompt; the next is asked for only where those before were rejected.
        price: Money per million prompt and completion tokens, as two numbers. Default: the synthesis's.
        scripted: Faults of the scripted author: `miss`, `invent`, `leak`, `shortcut`, `malformed`, `seed`.
    """

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, gt=0)
    samples: int = Field(default=1, ge=1)
    price: PricePair | None = None
    scripted: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> AuthorSection:
        if self.scripted and self.judge != "scripted":
            raise ValueError("'scripted' holds settings of 'judge: scripted' only")
        _refuse_recordings(self.judge)
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are the same answer; set a temperature"
            )
        return self


class RelateSection(AskedModelSection):
    """A model that is asked whether two criteria say the same or contradict each other, where words do not decide.

    Args:
        least: The least similarity of two criteria that it is asked about; those of `checks.alike` and more are decided
            by words. With 0 it is asked about all others.
        temperature: 0.
        max_tokens: Room for an answer of one word, thinking included.
        price: Money per million prompt and completion tokens, as two numbers. Default: the synthesis's.
    """

    least: Annotated[float, Field(ge=0, le=1)] = 0.3
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, gt=0)
    price: PricePair | None = None

    @field_validator("judge")
    @classmethod
    def _a_model(cls, judge: str) -> str:
        _refuse_recordings(judge)
        return judge


class Checks(ChecksSection):
    """What code lets pass.

    Args:
        relate: A model's word on duplicates and conflicts that words do not decide; null asks none.
        faulty: What becomes of a rubric with a faulty criterion: `reject` it, or `drop` the criterion and keep the
            rest. A rubric that is too long as a whole is rejected.
    """

    relate: RelateSection | None = None
    faulty: Literal["reject", "drop"] = "reject"


class VerifySection(AskedModelSection):
    """The judge that verifies rubrics, which is another than the author.

    Args:
        spec: How it is asked under a rubric: `rubric`, or any pairwise spec that shows one. A judge folder has its own.
        without_spec: How it is asked without one. Default: by `spec`, where that can do without.
        orders: Both orders of each pair, or a drawn one.
        votes: Samples per order.
        require: How many of a pair's judgments must be right.
        tau: The least share of the pairs that the request's responses induce which must come out right (OpenRubrics:
            0.5).
        gain: Keep a rubric only if the same judge, without it, was not right in all its judgments.
        allow_author: Let the author verify its own rubrics. The share that is kept then says little.
        price: Money per million prompt and completion tokens, as two numbers. Default: the synthesis's.
        seed: Of drawn orders and samples; another draw than the synthesis's, whatever the number.
    """

    spec: str | None = None
    without_spec: str | None = None
    orders: Literal["both", "random"] = "both"
    votes: int = Field(default=1, ge=1)
    require: Require = "both"
    tau: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    gain: bool = False
    allow_author: bool = False
    price: PricePair | None = None
    seed: int = Field(default=0, ge=0)


class WriterSection(Config):
    """Rows for training a writer.

    Args:
        spec: How the writer will be asked: `rubric-writer`, or any of protocol `rubric`.
        orders: In which order a writer that sees pairs is shown them: drawn, or the other way round.
        per_prompt: Most rubrics of one request; the first by id stay.
    """

    spec: str = "rubric-writer"
    orders: Literal["random", "swap"] = "random"
    per_prompt: int = Field(default=1, ge=1)


class SynthesisConfig(Config):
    """Synthesis of rubrics by an author.

    Args:
        stage: `rubrics`.
        input: Files of preference pairs, labelled comparisons, or ranked lists of responses.
        source: Their schema, or `auto`.
        columns: Field → the column, or path into one, that holds it in these files.
        limit: Read at most this many rows.
        output: Folder of everything that is written.
        method: `contrast`, `profiles`, `prompt_only` or `self`; see `prompts`.
        author: Who writes.
        checks: What code lets pass.
        verify: Who verifies, and what is kept; null keeps whatever passes the checks.
        writer: Rows for a writer's SFT; null for none.
        group_by: Which field of a row names its source, in ledger and quotas.
        quotas: Source → most rubrics kept; `*` for all other sources. Rows beyond what is needed are not asked about.
        seed: Of drawn places, sampling and the draw under quotas.
        price: Money per million prompt and completion tokens, as two numbers, of whoever has no price of its own.
        budget: Most money to spend on all that are asked together, earlier runs of this output included.
        budget_tokens: Most prompt and completion tokens, likewise.
    """

    stage: Literal["rubrics"]
    input: tuple[str, ...] = Field(min_length=1)
    source: str = "auto"
    columns: ColumnMap = Field(default_factory=dict)
    limit: int | None = Field(default=None, gt=0)
    output: str = Field(min_length=1)
    method: Method = "contrast"
    author: AuthorSection
    checks: Checks = Checks()
    verify: VerifySection | None = None
    writer: WriterSection | None = None
    group_by: Literal["source", "subset"] = "source"
    quotas: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    price: PricePair | None = None
    budget: float | None = Field(default=None, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def shows_labels(self) -> bool:
        """Whether the author is told which response is better."""
        return self.method in _SEE_LABELS

    @property
    def limits(self) -> Budget:
        """What asking author, judge and relator may cost together."""
        asked = {"author": self.author, "judge": self.verify, "relator": self.checks.relate}
        own = {name: None if section is None else section.price for name, section in asked.items()}
        prices = {name: Price(*price) for name, said in own.items() if (price := said or self.price)}
        return Budget(prices=prices, money=self.budget, tokens=self.budget_tokens)

    def quota(self, source: str) -> int | None:
        """Return the most rubrics kept of a source, or None for no limit."""
        return self.quotas.get(source, self.quotas.get("*"))
