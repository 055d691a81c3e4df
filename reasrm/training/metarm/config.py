"""What the MetaRM's cold start is told: judgments to learn from, what they are worth, what the model is.

The judgments are files that `reasrm judge` wrote. Configs that had them drawn, by a section `rollouts`, are refused
with the command that draws them.

`trainer:` takes the arguments of transformers' `TrainingArguments` by their own names. Where the user says nothing the
numbers of RM-NLHF (arXiv 2601.07349, released cold-start script) hold; `docs/metarm.md` has the table.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from reasrm.config import Config, OneOrMany
from reasrm.metarm.card import Form, Readout, Target
from reasrm.rewards.config import RewardSection
from reasrm.rewards.parts.critique import CritiquePart
from reasrm.rewards.parts.critique_format import CritiqueFormatPart
from reasrm.rewards.parts.outcome import OutcomePart
from reasrm.scorers.config import CritiqueSection
from reasrm.tables import ColumnMap
from reasrm.training.stage.config import OWNED, Stage, load_stage

__all__ = ["CritiqueDataSection", "MetaRMStage", "MetaSection", "load_metarm_stage"]

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
    """Which comparisons and which judgments of them.

    Args:
        train: Files of labelled pairs or comparisons with critiques, of any schema that `reasrm judge` reads. Rows
            without a critique are left out and counted.
        judgments: Files that `reasrm judge` wrote about these rows. Those of other rows are ignored.
        columns: Field → the column, or path into one, that holds it in the files of `train`.
        limit: Read at most this many rows.
        holdout: Share of rows, by a hash of their ids, that is measured on and not learned from.
    """

    train: OneOrMany = Field(min_length=1)
    judgments: OneOrMany = Field(min_length=1)
    columns: ColumnMap = Field(default_factory=dict)
    limit: PositiveInt | None = None
    holdout: float = Field(default=0.05, ge=0, lt=1)


_FLAGS = {
    "policy": "--judge",
    "per_row": "--votes",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "max_tokens": "--max-tokens",
    "seed": "--seed",
}
"""Key of the section `rollouts` that configs had → what `reasrm judge` calls it."""


def _drawn_before(config: Mapping[str, Any]) -> str | None:
    """Return what to do about a config that names no judgments, or says how they are drawn; None if it is fine."""
    found = (config.get(name) for name in ("data", "model", "rollouts"))
    data, model, section = (dict(value) if isinstance(value, Mapping) else {} for value in found)
    if data.get("judgments") and "rollouts" not in config and "orders" not in data:
        return None
    if data.get("judgments") or section.get("judgments"):
        return "leave rollouts and data.orders out; the files that reasrm judge wrote are data.judgments"
    drawn = {
        "policy": model.get("path"),
        "per_row": 4,
        "temperature": 0.7,
        "seed": config.get("seed"),
    } | section
    words = [
        f"{flag} {shlex.quote(str(drawn[name]))}"
        for name, flag in _FLAGS.items()
        if drawn.get(name) is not None
    ]
    words += [f"--spec {config.get('spec')}", f"--orders {data.get('orders', 'random')}"]
    return (
        f"a MetaRM learns from judgments that are there: leave rollouts and data.orders out, run `reasrm judge "
        f"{' '.join(words)} --input ROWS --output JUDGED`, and set data.judgments: JUDGED"
    )


class MetaRMStage(Stage):
    """The cold start of a MetaRM: regression on the rewards of judgments whose rows have human critiques.

    Args:
        stage: `metarm`.
        data: The comparisons.
        metarm: What the model is.
        rewards: What they are worth: an outcome part, a critique part, perhaps a `critique_format` part.
        critique: How critiques are compared with the rows' own.
    """

    trainer_class: ClassVar[str] = "transformers:TrainingArguments"
    owned: ClassVar[Mapping[str, str]] = METARM_OWNED

    stage: Literal["metarm"]
    data: CritiqueDataSection
    metarm: MetaSection = MetaSection()
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

    @model_validator(mode="before")
    @classmethod
    def _judgments_are_there(cls, value: Any) -> Any:
        problem = _drawn_before(value) if isinstance(value, Mapping) else None
        if problem is not None:
            raise ValueError(problem)
        return value

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


load_metarm_stage = partial(load_stage, MetaRMStage)
