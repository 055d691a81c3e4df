"""What `reasrm data curate` is told: one section per stage, a stage without a section does not run.

Relative paths mean the working directory, not the file's folder.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from reasrm.config import Config, EngineName
from reasrm.tables import ColumnMap

__all__ = [
    "BalanceSection",
    "BenchmarkSection",
    "ConsistencySection",
    "CurationConfig",
    "DecontaminationSection",
    "DuplicatesSection",
    "JudgeSection",
    "LanguageSection",
    "LengthSection",
    "NearSection",
    "Range",
    "SplitsSection",
]

_SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RESERVED = {"curation", "dropped", "overlap", "judged", "pairs"}
_OpenShare = Annotated[float, Field(strict=True, gt=0, lt=1)]
Count = Annotated[int, Field(strict=True, ge=1)]


class Range(Config):
    """Bounds of a length, both included; null is no bound."""

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class LengthSection(Config):
    """Rows by length.

    Args:
        unit: What is counted: `characters`, `words`, or `tokens` of a tokenizer.
        tokenizer: A `tokenizer.json`, a folder that holds one, or a fetched model's name; for `tokens`.
        prompt: All turns of the prompt together.
        response: Each of the two responses.
        total: Prompt and both responses together.
    """

    unit: Literal["characters", "words", "tokens"] = "characters"
    tokenizer: str | None = None
    prompt: Range = Range()
    response: Range = Range()
    total: Range = Range()

    @model_validator(mode="after")
    def _tokens_need_a_tokenizer(self) -> LengthSection:
        if (self.unit == "tokens") is (self.tokenizer is None):
            raise ValueError("unit: tokens and tokenizer belong together")
        return self


class LanguageSection(Config):
    """Rows by language.

    Args:
        keep: Codes or English names: `en`, `english`, `zh`.
        untagged: Rows without a tag: by the `script` they are written in, or `keep`, or `drop`.
        min_share: Of the letters of an untagged row, how many must be of a script of a kept language.
    """

    keep: tuple[str, ...] = Field(min_length=1)
    untagged: Literal["script", "keep", "drop"] = "script"
    min_share: float = Field(default=0.7, gt=0, le=1)

    @field_validator("keep", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class BenchmarkSection(Config):
    """A benchmark whose prompts must not be trained on.

    Args:
        input: Its file.
        name: What reports call it; by default the file's name.
        source: Its schema.
        columns: Field → the column, or path into one, that holds it in this file.
    """

    input: str = Field(min_length=1)
    name: str | None = None
    source: str = "auto"
    columns: ColumnMap = Field(default_factory=dict)


class DecontaminationSection(Config):
    """Rows whose prompt is, or shares text with, a benchmark's prompt.

    Args:
        against: The benchmarks.
        ngram: Words of a run that two prompts must not share (13 in GPT-3's procedure, arXiv 2005.14165, appendix C).
        min_words: A benchmark prompt shorter than `ngram` is looked for as a whole; one shorter than this only by
            equality of whole prompts.
        min_share: Of the n-grams of a benchmark prompt, how many a row must hold to count; 0 means any.
        on_overlap: `refuse` ends the run; `drop` the rows; `keep` them and only report.
    """

    against: tuple[BenchmarkSection, ...] = Field(min_length=1)
    ngram: int = Field(default=13, ge=2, le=100)
    min_words: int = Field(default=6, ge=2)
    min_share: float = Field(default=0.0, ge=0, le=1)
    on_overlap: Literal["refuse", "drop", "keep"] = "refuse"

    @field_validator("against", mode="before")
    @classmethod
    def _paths_will_do(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str | dict) else value
        if isinstance(items, list):
            return [{"input": item} if isinstance(item, str) else item for item in items]
        return items


class NearSection(Config):
    """Near-duplicates: MinHash proposes, exact Jaccard similarity of the shingle sets decides.

    Args:
        threshold: Jaccard similarity from which two texts are one.
        ngram: Words of a shingle.
        num_perm: Hash functions of a signature; more find near-duplicates more surely and take longer.
    """

    threshold: float = Field(default=0.8, gt=0, le=1)
    ngram: int = Field(default=5, ge=1, le=50)
    num_perm: int = Field(default=128, ge=8, le=1024)


class DuplicatesSection(Config):
    """Rows that say the same.

    Args:
        unit: What is compared: the whole `pair` (prompt and both responses) or the `prompt` alone.
        exact: Whether rows of equal normal form become one.
        on_conflict: Equal pairs with opposite labels: `drop` all of them, or `keep` one of each label.
        near: Whether and how near-duplicates become one.
    """

    unit: Literal["pair", "prompt"] = "pair"
    exact: bool = True
    on_conflict: Literal["drop", "keep"] = "drop"
    near: NearSection | None = NearSection()


class JudgeSection(Config):
    """A judge to run; names and meanings are those of the flags of `reasrm judge`."""

    judge: str = Field(min_length=1)
    spec: str | None = None
    orders: Literal["both", "given", "random"] = "both"
    votes: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    backend: EngineName = "hf"
    batch_size: int = Field(default=8, ge=1)
    concurrency: int = Field(default=16, ge=1)
    timeout: float = Field(default=600.0, gt=0)
    dtype: str = "auto"
    device: str = "auto"
    tensor_parallel_size: int = Field(default=1, ge=1)
    revision: str | None = None
    max_context: int | None = Field(default=None, ge=1)
    rubrics_that_saw_labels: bool = False


class ConsistencySection(Config):
    """Labels that a judge confirms (Skywork-Reward-V2, arXiv 2507.01352).

    Args:
        judged: Files that `reasrm judge` wrote about these rows; a row may be in one of them only.
        run: Instead of files: a judge to run on the rows that are left.
        min_confidence: A verdict counts as one if a larger share of readable votes than this is for it.
        recycle: Flip pairs instead of dropping them where the judge is sure of the opposite.
        flip_confidence: The share of votes from which it is sure.
        undecided: Rows without a verdict that counts: `drop` or `keep`.
    """

    judged: tuple[str, ...] = ()
    run: JudgeSection | None = None
    min_confidence: float = Field(default=0.5, ge=0, lt=1)
    recycle: bool = False
    flip_confidence: float = Field(default=1.0, gt=0.5, le=1)
    undecided: Literal["drop", "keep"] = "drop"

    @field_validator("judged", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> ConsistencySection:
        if bool(self.judged) is (self.run is not None):
            raise ValueError("name files of judged rows (judged) or a judge to run (run), one of the two")
        return self


class BalanceSection(Config):
    """How often the chosen response may be the longer one.

    Args:
        longer: Lowest and highest share, among rows whose responses differ in length. Drawn rows of the commoner
            kind are dropped until the share is within.
    """

    longer: tuple[float, float]

    @field_validator("longer")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] < 1:
            raise ValueError("expected two shares between 0 and 1, the lower first")
        return value


class SplitsSection(Config):
    """Splits by prompt.

    Args:
        sizes: Name → a share (0.05), a number of rows (500), or `rest`, which one split may be.
        near: When two prompts count as one; null means only when they are equal.
    """

    sizes: dict[str, _OpenShare | Count | Literal["rest"]] = Field(min_length=1)
    near: NearSection | None = NearSection()

    @field_validator("sizes")
    @classmethod
    def _add_up(cls, value: dict[str, float | int | str]) -> dict[str, float | int | str]:
        for name in value:
            if not _SPLIT_NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"{name!r} cannot be the name of a split")
        rests = [name for name, size in value.items() if size == "rest"]
        total = sum(size for size in value.values() if isinstance(size, float))
        if len(rests) > 1 or total > 1 + 1e-9 or (not rests and abs(total - 1) > 1e-9):
            raise ValueError("one split must be 'rest', or shares must add up to 1")
        return value


class CurationConfig(Config):
    """A whole curation; the stages run in the order of the fields.

    Args:
        input: Files of preference pairs, in any schema that is read.
        source: Their schema; `auto` recognises it.
        columns: Field → the column, or path into one, that holds it in these files.
        output: The folder to make.
        length: Filter by length.
        language: Filter by language.
        decontaminate: Look for benchmark prompts.
        duplicates: Remove duplicates.
        consistency: Ask a judge about the labels.
        balance: Balance the sides.
        splits: Divide by prompt; without it all rows go to `pairs.jsonl`.
        swap: Also write each pair as two labelled comparisons, one per order.
        seed: Root of every draw.
    """

    input: tuple[str, ...] = Field(min_length=1)
    source: str = "auto"
    columns: ColumnMap = Field(default_factory=dict)
    output: str = Field(min_length=1)
    length: LengthSection | None = None
    language: LanguageSection | None = None
    decontaminate: DecontaminationSection | None = None
    duplicates: DuplicatesSection | None = None
    consistency: ConsistencySection | None = None
    balance: BalanceSection | None = None
    splits: SplitsSection | None = None
    swap: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
