"""What the MetaRM's cold start is told: judgments to learn from, what they are worth, what the model is.

`trainer:` takes the arguments of transformers' `TrainingArguments` by their own names. Where the user says nothing the
numbers of RM-NLHF (arXiv 2601.07349, released cold-start script) hold; `docs/metarm.md` has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from reasrm.config import Config, EndpointSection
from reasrm.metarm.card import Form, Readout, Target
from reasrm.rewards.config import RewardSection
from reasrm.rewards.parts.critique import CritiquePart
from reasrm.rewards.parts.critique_format import CritiqueFormatPart
from reasrm.rewards.parts.outcome import OutcomePart
from reasrm.scorers.config import CritiqueSection
from reasrm.tables import ColumnMap
from reasrm.training.config import OWNED, Stage, check_trainer, load_stage

__all__ = [
    "CritiqueDataSection",
    "JudgmentSection",
    "MetaRMStage",
    "MetaSection",
    "load_metarm_stage",
]

_MEASURED = (
    "leave it out: the numbers of docs/metarm.md are measured on data.holdout, and the least mse is the best"
)
_NEVER = "leave it out: rows come encoded by the MetaRM's own encoder, and each carries its own weight"
METARM_OWNED: dict[str, str] = {
    name: _NEVER
    if name in ("remove_unused_columns", "label_names", "do_train", "do_eval", "do_predict")
    else remedy
    for name, remedy in OWNED.items()
} | dict.fromkeys(
    (
        *("metric_for_best_model", "greater_is_better", "prediction_loss_only", "batch_eval_metrics"),
        *("include_for_metrics", "eval_do_concat_batches", "label_smoothing_factor"),
    ),
    _MEASURED,
)
"""Arguments of `TrainingArguments` that the stage sets itself, and where to say it instead."""


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class MetaSection(Config):
    """What the MetaRM is; see `reasrm.metarm.card`.

    Args:
        form: `judge`: it reads what the judge reads, then the critique; `plain`: RM-NLHF's tags without a chat
            template, the form for encoders.
        readout: `last_token`: sequence classification with one output (RM-NLHF); `likelihood`: ours, for models made
            from the policy.
        target: `reward`: right + weight · p (RM-NLHF: 0, 1, 1.5); `process`: p of right verdicts (ours).
        members: Independent models, each with rows weighted at random.
        max_tokens: Longest input. A longer one is left out and counted, never cut.
        weight: Of p in the target; null: that of the critique part in `rewards`.
    """

    form: Form = "judge"
    readout: Readout = "last_token"
    target: Target = "reward"
    members: PositiveInt = 1
    max_tokens: PositiveInt = 10_240
    weight: PositiveFloat | None = None


class CritiqueDataSection(Config):
    """Which comparisons are judged.

    Args:
        train: Files of labelled pairs or comparisons with critiques, of any schema that `reasrm judge` reads. Rows
            without a critique are left out and counted.
        columns: Field → the column, or path into one, that holds it in these files.
        orders: `random`: one order per row, drawn from its id and the seed; `both`: both.
        limit: Read at most this many rows.
        holdout: Share of rows, by a hash of their ids, that is measured on and not learned from.
    """

    train: tuple[str, ...] = Field(min_length=1)
    columns: ColumnMap = Field(default_factory=dict)
    orders: Literal["random", "both"] = "random"
    limit: PositiveInt | None = None
    holdout: float = Field(default=0.05, ge=0, lt=1)

    _one_or_many = field_validator("train", mode="before")(_many)


class JudgmentSection(EndpointSection):
    """Whose judgments the MetaRM learns from: drawn from a policy, or read from files.

    Args:
        judgments: Files that `reasrm judge` wrote about the rows of `data.train`. Then nothing is drawn, and nothing
            else of this section may be said.
        policy: Judge folder, model folder, run folder, hub id or `openai:MODEL@URL`; null: the stage's own model.
        per_row: Judgments of each order shown.
        temperature: Of sampling.
        top_p: Of sampling.
        max_tokens: Most tokens of a judgment; null: as the spec says.
        seed: Of the draws; null: the stage's.
        backend: What runs a model folder or hub id.
        batch_size: Prompts per forward pass (`hf`).
    """

    judgments: tuple[str, ...] = ()
    policy: str | None = Field(default=None, min_length=1)
    per_row: PositiveInt = 4
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: PositiveInt | None = None
    seed: int | None = Field(default=None, ge=0)
    backend: Literal["hf", "vllm"] = "hf"
    batch_size: PositiveInt = 8

    _one_or_many = field_validator("judgments", mode="before")(_many)

    @model_validator(mode="after")
    def _fits_together(self) -> JudgmentSection:
        said = sorted(self.model_fields_set - {"judgments"})
        if self.judgments and said and self.model_dump(include=set(said)) != _drawing(said):
            raise ValueError(
                f"judgments are read from files, so {said[0]} has no meaning; drop one of the two"
            )
        if not self.judgments and self.temperature == 0 and self.per_row > 1:
            raise ValueError(
                f"{self.per_row} judgments per row at temperature 0 are the same one; raise temperature"
            )
        return self


def _drawing(names: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of some fields: a config written out in full may be read again."""
    return {name: JudgmentSection.model_fields[name].default for name in names}


class MetaRMStage(Stage):
    """The cold start of a MetaRM: regression on the rewards of judgments whose rows have human critiques.

    Args:
        stage: `metarm`.
        data: The comparisons.
        metarm: What the model is.
        rollouts: The judgments.
        rewards: What they are worth: an outcome part, a critique part, perhaps a `critique_format` part.
        critique: How critiques are compared with the rows' own.
    """

    stage: Literal["metarm"]
    data: CritiqueDataSection
    metarm: MetaSection = MetaSection()
    rollouts: JudgmentSection = JudgmentSection()
    rewards: RewardSection
    critique: CritiqueSection = CritiqueSection()

    @property
    def process(self) -> tuple[str, CritiquePart]:
        """Name and section of the critique part."""
        return next((n, p) for n, p in self.rewards.parts.items() if isinstance(p, CritiquePart))

    @property
    def format(self) -> str | None:
        """Name of the part whose 0 means a bad format, or None."""
        return next((n for n, p in self.rewards.parts.items() if isinstance(p, CritiqueFormatPart)), None)

    @property
    def weight(self) -> float:
        """Weight of p in the target."""
        return self.process[1].weight if self.metarm.weight is None else self.metarm.weight

    @model_validator(mode="after")
    def _parts_of_the_target(self) -> MetaRMStage:
        wanted = {OutcomePart: "outcome", CritiquePart: "critique", CritiqueFormatPart: "critique_format"}
        count = dict.fromkeys(wanted, 0)
        for name, part in self.rewards.parts.items():
            if type(part) not in count:
                raise ValueError(
                    f"rewards.parts.{name} is of kind {part.kind!r}, which is not in the target; a MetaRM learns from "
                    "outcome, critique and critique_format"
                )
            count[type(part)] += 1
        for kind, name in wanted.items():
            if count[kind] > 1 or (count[kind] == 0 and kind is not CritiqueFormatPart):
                most = "at most one part" if kind is CritiqueFormatPart else "exactly one part"
                raise ValueError(f"rewards.parts needs {most} of kind {name}, not {count[kind]}")
        if self.weight <= 0:
            raise ValueError(f"rewards.parts.{self.process[0]}.weight is {self.weight:g}; it must be above 0")
        if self.metarm.form == "plain" and self.metarm.readout == "likelihood":
            raise ValueError(
                "metarm.readout: likelihood asks how probable the judge's critique is; use form: judge"
            )
        return self


def load_metarm_stage(path: Path, overrides: Sequence[str] = ()) -> MetaRMStage:
    """Read and check the config of a MetaRM stage; `trainer:` comes back in the types that transformers wants.

    Args:
        path: The YAML file.
        overrides: `a.b=value`, applied in order before the check; the value is read as YAML.

    Raises:
        ConfigError: Names the file, the key, its value and the nearest known key.
    """
    stage = load_stage(MetaRMStage, path, overrides)
    from transformers import TrainingArguments  # seconds; a misspelt key above should not wait for it

    trainer = check_trainer(stage.trainer, TrainingArguments, str(path), METARM_OWNED)
    return stage.model_copy(update={"trainer": trainer})
