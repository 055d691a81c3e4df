"""Everything that code can find wrong with a rubric before a judge is asked: its grammar, leaks, repeats, conflicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from reasrm.config import Config
from reasrm.criteria.alike import ALIKE, Texts, Word, relations
from reasrm.criteria.leaks import LEAKS, leaks
from reasrm.rubric import Criterion, Rubric

__all__ = ["FAULTS", "ChecksSection", "Fault", "Lean", "check_marks", "check_rubric", "lean"]

FAULTS = (
    "no_criteria",
    "too_many",
    "too_long",
    *LEAKS,
    "duplicate",
    "conflict",
    "misaligned",
    "not_discriminative",
)
"""Reasons: those of `check_rubric` in the order in which it finds them, then those of `check_marks`."""
Lean: TypeAlias = int
"""Which response of a pair a criterion prefers: 1 the better one, -1 the worse one, 0 neither."""


class ChecksSection(Config):
    """What a rubric may hold, as a section of a config file.

    Args:
        most: Criteria of one rubric.
        longest_words: Words of one criterion.
        leak_ngram: Words in a row that it may not share with a response alone.
        alike: The least similarity of two criteria that repeat or contradict each other.
    """

    most: Annotated[int, Field(ge=1)] = 12
    longest_words: Annotated[int, Field(ge=1)] = 40
    leak_ngram: Annotated[int, Field(ge=2)] = 4
    alike: Annotated[float, Field(gt=0, le=1)] = ALIKE


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Args:
        reason: One of `FAULTS`.
        criterion: Which criterion, from 0; None for the rubric as a whole.
        found: The words or the count that show it.
    """

    reason: str
    criterion: int | None
    found: str


def check_rubric(
    rubric: Rubric,
    request: str,
    responses: Sequence[str] = (),
    section: ChecksSection | None = None,
    said: Mapping[Texts, Word] | None = None,
) -> tuple[Fault, ...]:
    """Return all faults of a rubric, those of the whole first, then by criterion.

    Args:
        rubric: Free text has no criteria, which is a fault.
        request: All texts of the request.
        responses: What its author saw.
        section: Limits.
        said: A model's word on texts that words do not decide about, see `relations`.
    """
    limits = section or ChecksSection()
    if not rubric.criteria:
        return (Fault("no_criteria", None, (rubric.text or "")[:80]),)
    return tuple(_faults(rubric, request, responses, limits, said))


def check_marks(
    rubric: Rubric, chosen: Sequence[float | None], rejected: Sequence[float | None]
) -> tuple[Fault, ...]:
    """Return the criteria that prefer the worse response (`misaligned`, as in RRD) or neither (`not_discriminative`).

    Args:
        rubric: Whose criteria the marks are for.
        chosen: What the better response got on each, higher where it has what the criterion names; None where nobody
            could tell, and then nothing is said of the criterion.
        rejected: What the worse response got.
    """
    reasons = {-1: "misaligned", 0: "not_discriminative"}
    marked = zip(rubric.criteria, chosen, rejected, strict=True)
    return tuple(
        Fault(reasons[found], n, f"{good:g} for the better response, {bad:g} for the worse")
        for n, (criterion, good, bad) in enumerate(marked)
        if (found := lean(good, bad, criterion.weight)) in reasons and good is not None and bad is not None
    )


def lean(chosen: float | None, rejected: float | None, weight: float | None = None) -> Lean | None:
    """Return which response a criterion prefers by its marks; None if one is missing.

    A negative criterion prefers the response that lacks what it names.
    """
    if chosen is None or rejected is None:
        return None
    found = (chosen > rejected) - (chosen < rejected)
    return -found if (weight or 0) < 0 else found


def _shown(criterion: Criterion) -> str:
    """Return every text of a criterion that a judge would read."""
    return " | ".join(
        text for text in (criterion.text, criterion.name, criterion.category, *criterion.choices) if text
    )


def _faults(
    rubric: Rubric,
    request: str,
    responses: Sequence[str],
    limits: ChecksSection,
    said: Mapping[Texts, Word] | None,
) -> Iterator[Fault]:
    texts = [criterion.text for criterion in rubric.criteria]
    if len(texts) > limits.most:
        yield Fault("too_many", None, str(len(texts)))
    leaky = leaks(
        [_shown(criterion) for criterion in rubric.criteria], request, responses, ngram=limits.leak_ngram
    )
    alike = relations(rubric.criteria[: limits.most], alike=limits.alike, said=said)
    for n, text in enumerate(texts):
        length = len(text.split())
        if length > limits.longest_words:
            yield Fault("too_long", n, str(length))
        yield from (Fault(leak.reason, n, leak.found) for leak in leaky[n])
        yield from (Fault(one.kind, n, texts[one.first]) for one in alike if one.second == n)
