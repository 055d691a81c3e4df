"""Everything that code can find wrong with a rubric before a judge is asked: its grammar, leaks, repeats, conflicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from reasrm.config import Config
from reasrm.criteria.alike import ALIKE, Texts, Word, relations
from reasrm.criteria.leaks import leaks
from reasrm.rubric import Criterion, Rubric

__all__ = ["ChecksSection", "Fault", "Lean", "check_rubric", "lean"]

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
        reason: `no_criteria`, `too_many`, `too_long`, one of `leaks.LEAKS`, `duplicate` or `conflict`.
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
