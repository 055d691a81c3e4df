"""Every knob of the world."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from reasrm.config import Config
from reasrm.world.language import AUDIENCES, HELD_OUT_TOPICS, TOPICS

__all__ = ["SPLITS", "ResponseWriter", "Shortcut", "Split", "SplitConfig", "WorldConfig"]

Split = Literal["train", "tune", "iid", "hard", "ood"]
SPLITS: tuple[Split, ...] = ("train", "tune", "iid", "hard", "ood")
Probability = Field(ge=0, le=1)
_SPLITS: dict[str, dict[str, Any]] = {
    "train": {},
    "tune": {},
    "iid": {},
    "hard": {"num_rules": (3, 3), "margin": 1},
    "ood": {"held_out": True},
}


class ResponseWriter(Config):
    """One author of responses.

    Args:
        name: How rows name it.
        skill: Chance that it meets a rule.
        joiner: Its habit: the word before the last item.
    """

    name: str
    skill: float = Probability
    joiner: Literal["and", "plus", "then", "also"] = "and"


class Shortcut(Config):
    """A mark that goes with the label without being its reason.

    Args:
        kind: A polite opening, or a long one.
        train: Share of training rows whose better response wears it (also of `tune` and `iid`).
        hard: The same on the hard split, where it misleads.
        ood: The same on the held-out domain.
    """

    kind: Literal["polite", "length"] = "polite"
    train: float = Field(default=0.65, ge=0, le=1)
    hard: float = Field(default=0.30, ge=0, le=1)
    ood: float = Field(default=0.50, ge=0, le=1)


class SplitConfig(Config):
    """What is drawn differently from split to split.

    Args:
        held_out: Whether topics come from the held-out domain.
        num_rules: Fewest and most stated rules.
        margin: If set, the exact difference of weights between the two responses.
    """

    held_out: bool = False
    num_rules: tuple[int, int] = (2, 3)
    margin: int | None = Field(default=None, ge=1)


class WorldConfig(Config):
    """The world.

    Args:
        seed: Of everything drawn.
        held_out_topics: Topics that training never judges; `ood` has nothing else.
        must_share: Chance that one stated rule of a prompt is a must (weight 2).
        principle_share: Chance that a prompt names an audience, whose principle then counts.
        rubric_share: Share of rows that carry a rubric, with a principle drawn for the row, whatever the audience.
        tastes: Audience → the principle that it values instead of its usual one. No text of the world says so: it shows
            in which response is preferred, and in nothing else.
        writers: Who writes the responses; each pair draws two, with replacement.
        shortcut: The misleading mark.
        splits: What differs from split to split.
    """

    seed: int = Field(default=0, ge=0)
    held_out_topics: tuple[str, ...] = HELD_OUT_TOPICS
    must_share: float = Field(default=0.6, ge=0, le=1)
    principle_share: float = Field(default=0.5, ge=0, le=1)
    rubric_share: float = Field(default=0.0, ge=0, le=1)
    tastes: dict[str, str] = Field(default_factory=dict)
    writers: tuple[ResponseWriter, ...] = Field(
        default=(
            ResponseWriter(name="novice", skill=0.45, joiner="also"),
            ResponseWriter(name="clerk", skill=0.55, joiner="then"),
            ResponseWriter(name="editor", skill=0.65, joiner="plus"),
            ResponseWriter(name="master", skill=0.75, joiner="and"),
        ),
        min_length=1,
    )
    shortcut: Shortcut = Shortcut()
    splits: dict[Split, SplitConfig] = Field(default_factory=dict, validate_default=True)

    @field_validator("splits", mode="before")
    @classmethod
    def _merge(cls, value: Any) -> Any:
        """Let a file name only the splits and knobs that it changes."""
        if not isinstance(value, dict):
            return value
        changed = {name: split if isinstance(split, dict) else dict(split) for name, split in value.items()}
        return {name: {**_SPLITS.get(name, {}), **changed.get(name, {})} for name in {**_SPLITS, **changed}}

    @field_validator("tastes")
    @classmethod
    def _known(cls, tastes: dict[str, str]) -> dict[str, str]:
        for audience, principle in tastes.items():
            for word, menu in ((audience, AUDIENCES), (principle, AUDIENCES.values())):
                if word not in menu:
                    raise ValueError(f"{word!r} is none of {', '.join(menu)}")
        return tastes

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = set(self.held_out_topics) - set(TOPICS)
        if unknown or len(TOPICS) - len(self.held_out_topics) < 2 or len(self.held_out_topics) < 2:
            raise ValueError(
                f"held_out_topics must be at least two of {', '.join(TOPICS)} and leave two, "
                f"got {self.held_out_topics}"
            )
        for name, split in self.splits.items():
            fewest, most = split.num_rules
            if not 1 <= fewest <= most <= 4:
                raise ValueError(f"splits.{name}.num_rules must rise within 1..4, got {split.num_rules}")
        return self

    def topics(self, split: Split) -> tuple[str, ...]:
        """Return the topics that a split draws from, in its prompts and in its rules."""
        return tuple(t for t in TOPICS if (t in self.held_out_topics) is self.splits[split].held_out)

    def taste(self, audience: str) -> str:
        """Return the principle that an audience values."""
        return self.tastes.get(audience, AUDIENCES[audience])

    def shortcut_share(self, split: Split) -> float:
        """Return the share of a split's rows whose better response wears the shortcut."""
        return {"hard": self.shortcut.hard, "ood": self.shortcut.ood}.get(split, self.shortcut.train)
