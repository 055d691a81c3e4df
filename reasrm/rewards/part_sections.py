"""The parts of a reward as a config names them: one model per kind, with its own parameters and its weight.

Every default that a paper published is the default here; a number that no source gives is marked "ours".
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from reasrm.config import Config
from reasrm.records import ParseStatus

__all__ = [
    "BleuPart",
    "CompletenessPart",
    "ConsistencyLadderPart",
    "CosineLengthPart",
    "FormatAnswerPart",
    "LengthPart",
    "ListwiseSection",
    "OutcomePart",
    "OverlongPart",
    "PairConsistencyPart",
    "RepetitionPart",
    "RougePart",
    "RubricFormatPart",
    "WeightedPart",
]

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class WeightedPart(Config):
    """What every part has."""

    weight: FiniteFloat = 1.0


class OutcomePart(WeightedPart):
    """Whether the verdict equals the target (RM-R1 §2.3.2: +1, else −1).

    Args:
        right: Value of the right verdict.
        wrong: Value of the wrong verdict.
        unparsed: Value of a judgment without a readable verdict; −1 as published, where it equals wrong.
        predicted_tie: Value of a tie where the target is A or B; None: as wrong.
        gold_tie: Where the target is a tie: `score` (a tie is right, A or B wrong) or `abstain`.
        statuses: Values by parse status, before `unparsed`; null abstains. Unless named here, `error` and `too_long`
            abstain, because the policy wrote nothing.
    """

    kind: Literal["outcome"] = "outcome"
    right: FiniteFloat = 1.0
    wrong: FiniteFloat = -1.0
    unparsed: FiniteFloat = -1.0
    predicted_tie: FiniteFloat | None = None
    gold_tie: Literal["score", "abstain"] = "score"
    statuses: dict[ParseStatus, FiniteFloat | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _right_is_best(self) -> Self:
        if ParseStatus.OK in self.statuses:
            raise ValueError("statuses names 'ok', whose values are right, wrong and predicted_tie")
        others = {"wrong": self.wrong, "unparsed": self.unparsed, "predicted_tie": self.predicted_tie}
        others |= {f"statuses.{status.value}": value for status, value in self.statuses.items()}
        for name, value in others.items():
            if value is not None and value >= self.right:
                raise ValueError(f"{name} is {value:g}, and right {self.right:g}; right must earn more")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value it can give."""
        values = [self.right, self.wrong, self.unparsed, self.predicted_tie, *self.statuses.values()]
        known = [value for value in values if value is not None]
        return min(known), max(known)


class _Tagged(WeightedPart):
    """Tags that a well-formed judgment has.

    Args:
        tags: Each stands exactly once, closed, not empty, in this order; `a|b` means exactly one of the two.
        after: Reading begins after the last of these literals.
    """

    tags: tuple[str, ...] = ()
    after: str = "</think>"

    @model_validator(mode="after")
    def _names(self) -> Self:
        for tag in self.tags:
            if not all(name.isidentifier() for name in tag.split("|")):
                raise ValueError(f"tag {tag!r} is no name; write it without brackets, alternatives as a|b")
        return self


class FormatAnswerPart(_Tagged):
    """Cold start (RM-R1 App. I eq. 11): format 0/1 + answer 0/1. Format: a readable verdict and all `tags`."""

    kind: Literal["format_answer"] = "format_answer"


class RubricFormatPart(_Tagged):
    """Cold start whose format asks for the rubric (or own solution) and the evaluation before the answer."""

    kind: Literal["rubric_format"] = "rubric_format"
    tags: tuple[str, ...] = Field(default=("rubric|solution", "eval", "answer"), min_length=1)


class ConsistencyLadderPart(WeightedPart):
    """R1-Reward: 0.5·format + acc·(1 + 0.5·c), c ∈ {+1, 0, −1} from a referee.

    Args:
        layout: The completion is exactly these tags, once each, in this order, with nothing between.
        prefilled: Whether the prompt may already hold the first opening tag.
        format_weight: 0.5 as released.
        consistency_weight: 0.5 as released.
        lines: How many of the last lines before the answer the referee sees; 3 as released.
        answer_marker: Literal that opens the answer.
        on_error: A referee's error: `abstain`, or `zero` (c = 0, no bonus). Never a success.
    """

    kind: Literal["consistency_ladder"] = "consistency_ladder"
    layout: tuple[str, ...] = Field(default=("think", "answer"), min_length=1)
    prefilled: bool = False
    format_weight: NonNegative = 0.5
    consistency_weight: NonNegative = 0.5
    lines: PositiveInt = 3
    answer_marker: str = Field(default="<answer>", min_length=1)
    on_error: Literal["abstain", "zero"] = "abstain"


class CompletenessPart(WeightedPart):
    """Rubric-ARM's format reward: every criterion addressed and explained, a justification, a decision.

    The paper names the four and gives no numbers: all values here are ours.

    Args:
        criteria: Value of addressing every criterion (by share).
        explanations: Value of explaining every criterion (by share).
        justification: Value of an overall justification.
        decision: Value of a readable verdict.
        justification_marker: Literal that opens the overall justification.
        overlap: A line addresses a criterion by its number or by this share of its content words.
        min_words: Fewest words of an explanation and of the justification.
    """

    kind: Literal["completeness"] = "completeness"
    criteria: NonNegative = 0.25
    explanations: NonNegative = 0.25
    justification: NonNegative = 0.25
    decision: NonNegative = 0.25
    justification_marker: str = Field(default="Justification:", min_length=1)
    overlap: Share = 0.5
    min_words: PositiveInt = 5


class LengthPart(WeightedPart):
    """Ours: −per_token for every token beyond the soft limit, at most `most`."""

    kind: Literal["length"] = "length"
    soft_limit: Annotated[int, Field(ge=0)]
    per_token: NonNegative = 0.001
    most: NonNegative = 1.0


class OverlongPart(WeightedPart):
    """DAPO eq. 13: 0, then linear to −1 over the last `buffer_tokens` before `max_tokens`, then −1."""

    kind: Literal["overlong"] = "overlong"
    max_tokens: PositiveInt
    buffer_tokens: PositiveInt

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.buffer_tokens > self.max_tokens:
            raise ValueError(f"buffer_tokens {self.buffer_tokens} is more than max_tokens {self.max_tokens}")
        return self


class CosineLengthPart(WeightedPart):
    """An outcome that depends on length by a half cosine (arXiv 2502.03373). The end values are ours (±1 scale).

    Args:
        max_tokens: Length at which the second value is reached.
        right: Values of a right verdict at length 0 and at `max_tokens`.
        wrong: Values of a wrong or unreadable verdict at length 0 and at `max_tokens`.
        exceeded: Value beyond `max_tokens`.
    """

    kind: Literal["cosine_length"] = "cosine_length"
    max_tokens: PositiveInt
    right: tuple[FiniteFloat, FiniteFloat] = (1.0, 0.5)
    wrong: tuple[FiniteFloat, FiniteFloat] = (-1.0, -0.5)
    exceeded: FiniteFloat = -1.0

    @model_validator(mode="after")
    def _right_is_best(self) -> Self:
        if any(wrong >= right for right, wrong in zip(self.right, self.wrong, strict=True)):
            raise ValueError(f"wrong {self.wrong} is not below right {self.right}; right must earn more")
        return self


class RepetitionPart(WeightedPart):
    """Ours, after R^3's share of unique trigrams: −penalty·(1 − distinct / all) n-grams of the completion."""

    kind: Literal["repetition"] = "repetition"
    ngram: PositiveInt = 3
    penalty: NonNegative = 1.0


class _Overlap(WeightedPart):
    """Overlap of the judge's words with a reference text.

    Args:
        against: `critique` (the row's human critique) or `reference` (its reference answer).
        read: What of the judgment is compared: `critique` (its evaluation section) or `text` (after thinking).
        other_order: A critique in free text names the responses in the row's own order. Where the other order was
            shown: `abstain`, or `use` it all the same.
        after: With `read: text`, reading begins after the last of these literals.
    """

    against: Literal["critique", "reference"] = "critique"
    read: Literal["critique", "text"] = "critique"
    other_order: Literal["abstain", "use"] = "abstain"
    after: str = "</think>"


class BleuPart(_Overlap):
    """BLEUBERI: smoothed sentence BLEU in [0, 1] by sacrebleu."""

    kind: Literal["bleu"] = "bleu"
    smoothing: Literal["exp", "floor", "add-k", "none"] = "exp"


class RougePart(_Overlap):
    """F-measure of ROUGE in [0, 1] by rouge-score."""

    kind: Literal["rouge"] = "rouge"
    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stem: bool = False


class PairConsistencyPart(WeightedPart):
    """Ours: share of the other order's readable verdicts that name the same response; 0 if unreadable.

    Args:
        absent: Where the batch holds no readable verdict of the other order: `abstain` or `zero`.
    """

    kind: Literal["pair_consistency"] = "pair_consistency"
    absent: Literal["abstain", "zero"] = "abstain"


class ListwiseSection(Config):
    """RewardAnything: 0.15·format + 0.85·agreement. The four weights inside agreement are ours.

    Not a part: a `Rollout` is about a pair. `listwise_reward` takes it for judgments of lists.

    Args:
        format_weight: 0.15 as noted of the paper.
        agreement_weight: 0.85 as noted of the paper.
        pairs: Weight of the weighted pair part (its formula is released).
        distribution: Weight of the match of the sorted scores.
        near: Weight of partial credit for near scores.
        rank: Weight of Kendall's tau and the top k.
        top_k: How many of the best are compared.
        minimum: Smallest score.
        maximum: Largest score.
    """

    format_weight: NonNegative = 0.15
    agreement_weight: NonNegative = 0.85
    pairs: NonNegative = 0.4
    distribution: NonNegative = 0.2
    near: NonNegative = 0.2
    rank: NonNegative = 0.2
    top_k: PositiveInt = 1
    minimum: FiniteFloat = 1.0
    maximum: FiniteFloat = 5.0

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is not below maximum {self.maximum:g}")
        if self.pairs + self.rank == 0:
            raise ValueError("pairs and rank are both 0; gold rankings without scores need one of them")
        return self
