"""Where a verdict stands in a completion and what it may be: the data half of the parser.

A grammar is plain data (literals and menus, no regular expressions, no code), so it can be hashed, written into a
judge folder and read from a stranger's spec file without risk.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from reasrm.config import Config
from reasrm.records import Verdict
from reasrm.requests import THINKING_START
from reasrm.rubric import Layout

__all__ = [
    "Grammar",
    "MarkedGrammar",
    "MenuEntry",
    "PhraseGrammar",
    "RankingGrammar",
    "RubricGrammar",
    "ScoreGrammar",
    "fold_word",
]

UpstreamRule = Literal[
    "first_listed", "first_anywhere", "unique_anywhere", "last_anywhere", "last_position_else_anywhere"
]


def fold_word(word: str) -> str:
    """Return a menu word as it is compared: without case, spaces and Markdown emphasis."""
    return re.sub(r"[\s*_`]+", "", word).casefold()


class MenuEntry(Config):
    """What one verdict literal means."""

    winner: Literal["A", "B", "tie"]
    strength: int | None = Field(default=None, ge=0, le=2)

    def verdict(self) -> Verdict:
        """Return the verdict as a record."""
        return Verdict(self.winner, self.strength)


class _Sectioned(Config):
    """What all grammars share.

    Args:
        sections: Tags whose content cannot speak a verdict: the judge's rubric, solution, evaluation and quotes.
        critique: The tag or heading that holds the critique, if the grammar marks one.
        rubric: The tag that holds the rubric the judge wrote, if the grammar marks one.
        thinking_end: Strings that end private thinking; what comes before is not read, see `thinking`.
        thinking_start: Strings that open thinking, at the end of the prompt or at the beginning of the completion.
    """

    sections: tuple[str, ...] = ()
    critique: str | None = None
    rubric: str | None = None
    thinking_start: tuple[str, ...] = THINKING_START
    thinking_end: tuple[str, ...] = (
        "</think>",
        "</thinking>",
        "[/THINK]",
        "<|channel|>final<|message|>",
    )

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        """Refuse literals that no text can equal once it is normalised, and menus with a word twice."""
        for name, value in self:
            literals = [value] if isinstance(value, str) else value if isinstance(value, tuple | dict) else ()
            for literal in literals:
                folded = unicodedata.normalize("NFKC", literal)
                if folded != literal or any(unicodedata.category(char) == "Cf" for char in literal):
                    raise ValueError(f"{name} {literal!r} is compared after NFKC; write it as {folded!r}")
            if isinstance(value, dict) and len({fold_word(word) for word in value}) < len(value):
                raise ValueError(f"{name} holds a word twice; case, spaces and emphasis do not count")
        return self


class MarkedGrammar(_Sectioned):
    """A menu word between two literals: `[[A]]`, `<answer>[[B]]</answer>`, `Winner: Response A`, `[RESULT] B`.

    Args:
        open: Literal before the menu word.
        close: Literal after it; a newline stands for the end of the line.
        menu: Menu word → meaning. Case, surrounding space and Markdown emphasis do not matter.
        tag: If given, the verdict counts only inside `<tag>…</tag>`.
        heading: If given, only what follows the last line holding this heading counts.
        line_start: The open literal counts only at the start of a line.
        upstream: How the suite's own script reads, for `--verdict-policy upstream`.
    """

    kind: Literal["marked"] = "marked"
    open: str = Field(min_length=1)
    close: str = Field(min_length=1)
    menu: dict[str, MenuEntry] = Field(min_length=1)
    tag: str | None = None
    heading: str | None = None
    line_start: bool = False
    upstream: UpstreamRule | None = None


class PhraseGrammar(_Sectioned):
    """Whole phrases: `Output (a) is better`.

    Args:
        phrases: Phrase → meaning, as a clause of its own after thinking, see `clauses`.
        whole: Phrase → meaning, counting only when it is the whole answer.
        upstream: How the suite's own script reads.
    """

    kind: Literal["phrase"] = "phrase"
    phrases: dict[str, MenuEntry] = Field(min_length=1)
    whole: dict[str, MenuEntry] = Field(default_factory=dict)
    upstream: UpstreamRule | None = None


class ScoreGrammar(_Sectioned):
    """A number between two literals: `[[7]]`, `[RESULT] 4`.

    Args:
        open: Literal before the number.
        close: Literal after it; a newline stands for the end of the line.
        minimum: Smallest allowed score.
        maximum: Largest allowed score.
        integer: Whether fractions are off the menu.
        line_start: The open literal counts only at the start of a line.
        upstream: How the suite's own script reads.
    """

    kind: Literal["score"] = "score"
    open: str = Field(min_length=1)
    close: str = Field(min_length=1)
    minimum: float
    maximum: float
    integer: bool = True
    line_start: bool = False
    upstream: UpstreamRule | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ScoreGrammar:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is not below maximum {self.maximum:g}")
        return self


class RankingGrammar(_Sectioned):
    """One JSON object with a score per candidate and the ranking, best first (RewardAnything's output contract).

    Args:
        scores_key: Key of the object of scores by candidate name.
        ranking_key: Key of the list of names, best first.
        minimum: Smallest allowed score.
        maximum: Largest allowed score.
    """

    kind: Literal["ranking"] = "ranking"
    scores_key: str = "scores"
    ranking_key: str = "best-to-worst"
    minimum: float = 1
    maximum: float = 5


class RubricGrammar(_Sectioned):
    """One list of criteria, as `Rubric.read` knows them: what a rubric writer answers.

    Args:
        minimum: Fewest criteria.
        maximum: Most criteria.
        longest: Most words of a criterion.
        kinds: Kinds that a criterion may have.
        layout: How a writer learns to write it, see `Rubric.render`. Any of them is read.
    """

    kind: Literal["rubric"] = "rubric"
    minimum: int = Field(default=1, ge=1)
    maximum: int = Field(default=12, ge=1)
    longest: int = Field(default=40, ge=1)
    kinds: tuple[Literal["hard_rule", "principle"], ...] = Field(
        default=("hard_rule", "principle"), min_length=1
    )
    layout: Layout = "tagged"

    @model_serializer(mode="wrap")
    def _without_younger_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the key out where it says nothing new, so that hashes of older specs stay."""
        dumped: dict[str, Any] = handler(self)
        if self.layout == "tagged":
            dumped.pop("layout", None)
        return dumped

    @model_validator(mode="after")
    def _ordered(self) -> RubricGrammar:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


Grammar = Annotated[
    MarkedGrammar | PhraseGrammar | ScoreGrammar | RankingGrammar | RubricGrammar,
    Field(discriminator="kind"),
]
