"""The nouns of preference judging: rows, comparisons, rubrics, critiques, verdicts, judgments.

A row enters as a `PreferencePair` (winner known, no order), a `Comparison` (two responses in the row's own order) or a
`CandidateSet` (one or several responses). Which response is shown first is decided in one place,
`PreferencePair.present`, from the row's id and a seed and never from the label. All records are immutable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol, Self, TypeVar

from reasrm.rubric import Criterion, Rubric

__all__ = [
    "CandidateSet",
    "Comparison",
    "Conversation",
    "CoreArgument",
    "Credited",
    "Criterion",
    "Critique",
    "Judgment",
    "Message",
    "Order",
    "ParseStatus",
    "PreferencePair",
    "Recorded",
    "Row",
    "RowStatus",
    "Rubric",
    "Side",
    "Verdict",
    "Winner",
    "as_comparison",
]

Side = Literal["A", "B"]
Winner = Literal["A", "B", "tie"]
Credited = Literal["A", "B", "tie", "none"]
"""What a suite's own script took a recorded judgment for, in the order shown; `none` where it found no verdict."""
_SWAPPED: dict[Winner, Winner] = {"A": "B", "B": "A", "tie": "tie"}


class ParseStatus(StrEnum):
    """How reading one judgment ended. Only `OK` carries a verdict."""

    OK = "ok"
    NO_VERDICT = "no_verdict"
    AMBIGUOUS = "ambiguous"
    OFF_MENU = "off_menu"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    ERROR = "error"


class RowStatus(StrEnum):
    """How judging one row ended: a parse status, or what only a whole row can be."""

    OK = "ok"
    NO_VERDICT = "no_verdict"
    AMBIGUOUS = "ambiguous"
    OFF_MENU = "off_menu"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    ERROR = "error"
    SPLIT = "split"
    IDENTICAL = "identical"
    DEGENERATE = "degenerate"


class _Swappable(Protocol):
    """What speaks of two responses by their places."""

    def swap(self) -> Self: ...


SwappableT = TypeVar("SwappableT", bound=_Swappable)


class Order(StrEnum):
    """Which of the row's own responses was shown first: `AB` as in the row, `BA` the other way round."""

    AB = "AB"
    BA = "BA"

    def swap(self) -> Self:
        """Return the other order."""
        return type(self)("BA" if self is Order.AB else "AB")

    def seen(self, thing: SwappableT) -> SwappableT:
        """Return what is said of a row's own responses as it is said of the responses shown; or back again."""
        return thing if self is Order.AB else thing.swap()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pairwise judge decided.

    Args:
        winner: The better response, or `tie`.
        strength: 2 much better, 1 slightly better, 0 equal, for grammars that say so (five levels); else None.
    """

    winner: Winner
    strength: int | None = None

    def swap(self) -> Self:
        """Return the same opinion about the responses in the other order."""
        return replace(self, winner=_SWAPPED[self.winner])


@dataclass(frozen=True, slots=True)
class CoreArgument:
    """One reason strong enough to decide: about which response, for or against it."""

    about: Side
    stance: Literal["for", "against"]
    text: str
    fatal: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the argument as files hold it."""
        return asdict(self)

    def swap(self) -> Self:
        """Return the same argument with the responses in the other order."""
        return replace(self, about="B" if self.about == "A" else "A")


@dataclass(frozen=True, slots=True)
class Critique:
    """A written comparison: its core arguments, its text, or both."""

    arguments: tuple[CoreArgument, ...] = ()
    text: str | None = None

    def swap(self) -> Self:
        """Map the arguments to the other order. Free text names the responses itself and cannot be mapped."""
        return replace(self, arguments=tuple(argument.swap() for argument in self.arguments))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What some judge once said about a row, for the `replay` backend.

    Exactly one of `text` (a completion), `decision` (its verdict; None with `kind="decision"` means unreadable) and
    `scores` (one number per response, in the order shown) is meant, named by `kind`. Decisions and scores speak of
    the order that was shown. `shown` is the order of a list: the row's response at each position. `thinking_open` says
    that the prompt had opened the thinking in which the text begins, `credited` what the suite's own script took the
    record for.
    """

    kind: Literal["text", "decision", "score"]
    text: str = ""
    decision: Verdict | None = None
    scores: tuple[float, ...] = ()
    shown: tuple[int, ...] = ()
    finish_reason: str = "stop"
    thinking_open: bool = False
    credited: Credited | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every kind of row may carry.

    Args:
        id: Unique in its file and independent of the file's order.
        prompt: The conversation that the responses answer.
        rubric: Criteria to judge by.
        principle: A natural-language principle to judge by.
        reference: A reference answer.
        critique: A human (gold) critique; arguments speak of the row's own order.
        subset: Benchmark subset or category.
        group: Rows that belong together (the nine cells of an RM-Bench item).
        language: Language tag.
        meta: Anything else; never shown to a judge.
        recorded: Earlier completions by shown order, one entry per vote, for the `replay` backend.
    """

    id: str
    prompt: Conversation
    rubric: Rubric | None = None
    principle: str | None = None
    reference: str | None = None
    critique: Critique | None = None
    subset: str | None = None
    group: str | None = None
    language: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[Order, Sequence[Recorded]] = field(default_factory=dict)

    def shared_fields(self) -> dict[str, Any]:
        """Return what any kind of row carries, to build another kind from it."""
        return {name: getattr(self, name) for name in Row.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Row):
    """Two responses as shown: A first, then B, with the verdict a right judge gives, where it is known.

    `order` says how the shown order relates to the row's own fields.
    """

    response_a: str
    response_b: str
    target: Verdict | None = None
    order: Order = Order.AB

    def swap(self) -> Self:
        """Return the comparison with the responses exchanged and the target and critique mapped along."""
        return replace(
            self,
            response_a=self.response_b,
            response_b=self.response_a,
            target=None if self.target is None else self.target.swap(),
            critique=None if self.critique is None else self.critique.swap(),
            order=self.order.swap(),
        )

    def present(self, seed: int) -> Self:
        """Return the comparison in the order that `id` and `seed` draw, whatever order the row came in."""
        lesser_first = _lesser_first(self.id, seed)
        return self if (self.response_a <= self.response_b) is lesser_first else self.swap()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair(Row):
    """A prompt with a preferred and a rejected response. It has no order until it is presented."""

    chosen: str
    rejected: str

    def compare(self) -> Comparison:
        """Return the pair as a comparison in its own field order, A = chosen; for metrics, never for prompts."""
        return Comparison(
            **self.shared_fields(), response_a=self.chosen, response_b=self.rejected, target=Verdict("A")
        )

    def present(self, seed: int) -> Comparison:
        """Decide which response is shown first.

        The draw hashes `id` and `seed` and picks between the two texts in sorted order, so exchanging the labels of
        a pair changes nothing that a judge can see. Both orders are equally likely.
        """
        return self.compare().present(seed)


def _draw(key: str, seed: int) -> bytes:
    """The only randomness of presentation: a hash of a stable key and a seed."""
    return hashlib.sha256(f"{seed}\x00{key}".encode("utf-8", "surrogatepass")).digest()


def _lesser_first(row_id: str, seed: int) -> bool:
    """The coin of `present`: whether the response that sorts first is shown first."""
    return _draw(row_id, seed)[0] & 1 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSet(Row):
    """One response to score, or several to score or rank.

    Args:
        responses: The candidates.
        label: Index of the best response, or the ranking as indices best first, or the gold score of a single
            response; None where unknown.
    """

    responses: tuple[str, ...]
    label: int | float | tuple[int, ...] | None = None

    def present(self, seed: int) -> tuple[int, ...]:
        """Decide the order of showing: position k holds response `present(seed)[k]`.

        The draw hashes `id`, `seed` and each text, so it does not depend on the order or the labels of the row.
        """
        keys = [_draw(f"{self.id}\x00{text}", seed) for text in self.responses]
        return tuple(sorted(range(len(self.responses)), key=lambda n: (keys[n], n)))

    def reorder(self, order: Sequence[int]) -> Self:
        """Return the set with its responses in another order; the label is dropped, it spoke of the old one."""
        return replace(self, responses=tuple(self.responses[n] for n in order), label=None)


@dataclass(frozen=True, slots=True)
class Judgment:
    """One completion, read. `verdict`, `score` and `ranking` are None unless `status` is `OK`.

    Args:
        status: How reading ended.
        verdict: Pairwise opinion, in the order shown until `swap` maps it to the row's own order.
        score: Pointwise score.
        scores: Listwise scores, by response index.
        ranking: Listwise ranking, response indices best first.
        critique: The text of the judge's evaluation, if its grammar marks one.
        rubric: The rubric the judge wrote, if its grammar marks one.
        text: The whole completion.
        reasoning: Thinking that an endpoint returned apart from the text; never read for a verdict.
        detail: Why the status is not `OK`.
        order: The order shown.
        vote: Which of several samples this is.
        response: Which response a pointwise judgment is about.
        shown: Of a listwise judgment, the row's response at each position shown.
        num_tokens: Generated tokens, where the backend counts them.
        finish_reason: As the backend said.
        thinking_open: Whether the prompt had opened the thinking in which the text begins.
        credited: What the script of a recorded text's own suite took it for.
        prompt_hash: Of the messages that the judge was asked with; None where a recording answered.
    """

    status: ParseStatus
    verdict: Verdict | None = None
    score: float | None = None
    scores: tuple[float, ...] | None = None
    ranking: tuple[int, ...] | None = None
    critique: str | None = None
    rubric: str | None = None
    text: str = ""
    reasoning: str | None = None
    detail: str | None = None
    order: Order = Order.AB
    vote: int = 0
    response: int = 0
    shown: tuple[int, ...] = ()
    num_tokens: int | None = None
    finish_reason: str | None = None
    thinking_open: bool = False
    credited: Credited | None = None
    prompt_hash: str | None = None

    @property
    def winner(self) -> Winner | None:
        """Who won, by the verdict; None without one."""
        return None if self.verdict is None else self.verdict.winner

    def swap(self) -> Self:
        """Return the judgment with its verdict and scores mapped to the other order."""
        return replace(
            self,
            order=self.order.swap(),
            verdict=None if self.verdict is None else self.verdict.swap(),
            scores=None if self.scores is None else self.scores[::-1],
        )


def as_comparison(row: Row) -> Comparison | None:
    """Return a pair of responses in its own order, None of what is none."""
    if isinstance(row, PreferencePair):
        return row.compare()
    return row if isinstance(row, Comparison) else None
