"""Every knob of the English world."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from reasrm.config import Config
from reasrm.world.english.kinds import KINDS

__all__ = ["SPLITS", "EnglishConfig", "EnglishShortcut", "EnglishSplit"]

EnglishSplit = Literal["train", "tune", "iid", "hard", "topics", "kinds"]
SPLITS: tuple[EnglishSplit, ...] = ("train", "tune", "iid", "hard", "topics", "kinds")


class EnglishShortcut(Config):
    """Marks that go with the label without being its reason. One response of a row wears them all.

    Args:
        marks: `length`, it is the longer one; `polite`, it begins with "Sure!", where the request says nothing about
            the beginning.
        train: Share of training rows whose better response wears them (also of `tune` and `iid`).
        hard: The same on the hard split, where they contradict the label.
        held_out: The same on held-out topics and kinds.
    """

    marks: tuple[Literal["length", "polite"], ...] = ("length", "polite")
    train: float = Field(default=0.65, ge=0, le=1)
    hard: float = Field(default=0.0, ge=0, le=1)
    held_out: float = Field(default=0.5, ge=0, le=1)


class EnglishConfig(Config):
    """The English world.

    Args:
        seed: Of everything drawn.
        texts: JSONL of base texts, `{"topic": …, "text": …}`, such as a model's own samples; None is the file that
            ships. The world's rows depend on what it holds.
        held_out_topics: Share of the topics that training never sees; the split `topics` has nothing else.
        held_out_kinds: Kinds of demands that training never sees; the split `kinds` has nothing else.
        num_rules: Shares of requests with one, two and three demands.
        must_share: Share of requests with several demands that ask one of them above all (weight 2).
        num_sentences: Fewest and most sentences of a response before it is bent.
        skill: Chance that a response meets a demand.
        habit: Chance that a response shows what nobody asked for.
        rubric_share: Share of rows that carry the gold rubric: the demands with their weights.
        shortcut: The misleading marks.
    """

    seed: int = Field(default=0, ge=0)
    texts: Path | None = None
    held_out_topics: float = Field(default=0.2, gt=0, lt=1)
    held_out_kinds: tuple[str, ...] = ("end", "quote", "digit", "title")
    num_rules: tuple[float, float, float] = (0.5, 0.35, 0.15)
    must_share: float = Field(default=0.6, ge=0, le=1)
    num_sentences: tuple[int, int] = (2, 4)
    skill: float = Field(default=0.6, gt=0, lt=1)
    habit: float = Field(default=0.3, ge=0, le=1)
    rubric_share: float = Field(default=0.0, ge=0, le=1)
    shortcut: EnglishShortcut = EnglishShortcut()

    @model_validator(mode="after")
    def _check(self) -> Self:
        held = set(self.held_out_kinds)
        if held - set(KINDS) or len(held) < 3 or len(KINDS) - len(held) < 4:
            raise ValueError(
                f"held_out_kinds must be at least three of {', '.join(KINDS)} and leave four, "
                f"got {self.held_out_kinds}"
            )
        if min(self.num_rules) < 0 or abs(sum(self.num_rules) - 1) > 1e-6:
            raise ValueError(f"num_rules must be three shares of 1, got {self.num_rules}")
        fewest, most = self.num_sentences
        if not 1 <= fewest <= most <= 5:
            raise ValueError(f"num_sentences must rise within 1..5, got {self.num_sentences}")
        return self

    def kinds(self, split: EnglishSplit) -> tuple[str, ...]:
        """Return the kinds that a split's requests draw from."""
        return tuple(kind for kind in KINDS if (kind in self.held_out_kinds) is (split == "kinds"))

    def shortcut_share(self, split: EnglishSplit) -> float:
        """Return the share of a split's rows whose better response wears the shortcut."""
        if split in ("topics", "kinds"):
            return self.shortcut.held_out
        return self.shortcut.hard if split == "hard" else self.shortcut.train
