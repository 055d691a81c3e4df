"""What the readers of labelled pairs share: building a comparison, and what its critique and margin say.

The text of a critique names the responses `Response 1` and `Response 2`, or A and B, in the order of its row.
`exchange_names` rewrites it for the other order; a text that also counts on positions ("the former"), shares a
name ("Responses 1 and 2") or shortens it ("Response A is brief, B is not") cannot be rewritten, and the import
sets it apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reasrm.hashing import pair_content_id
from reasrm.records import CandidateSet, Comparison, Conversation, Critique, Verdict
from reasrm.sources import fields
from reasrm.sources.base import SourceRow
from reasrm.sources.fields import RowData

__all__ = [
    "by_sign",
    "comparison",
    "exchange_names",
    "join_neighbours",
    "of_both_sides",
    "side_meta",
    "verdict_of",
]

_NAME = re.compile(r"\b([Rr]esponse|RESPONSE|[Aa]ssistant|[Aa]nswer)([ _]?)([12AB])\b")
_VERBS = "is|was|has|does|gives|provides|contains|fails|uses|makes|wins"
# Positions instead of names, and one name for two responses ("Responses 1 and 2").
_POSITION = re.compile(
    rf"\b(?:former|latter|(?:first|second|1st|2nd)\s+(?:response|answer|assistant|one|{_VERBS})"
    r"|[12AB]\s*(?:and|or|vs\.?|&|/|,)\s*[12AB])\b",
    re.I,
)
# A letter that stands for a response without saying so: any B, and an A that is no article.
_LETTER = re.compile(rf"\b(?:B|A(?!\s+[a-z])|A(?=\s+(?:{_VERBS}|and|or|but)\b))\b")
_OTHER = {"1": "2", "2": "1", "A": "B", "B": "A"}
_STRENGTHS = range(-3, 4)


def comparison(
    row: RowData,
    place: str,
    prompt: Conversation,
    responses: tuple[str, str],
    target: Verdict | None,
    *,
    id_keys: Sequence[str] = ("id",),
    row_id: str | None = None,
    meta: Mapping[str, Any] | None = None,
    **known: Any,
) -> Comparison:
    """Return two labelled responses with the optional fields that the row or, else, its dataset gives.

    Args:
        row: The foreign row; its own `subset`, `critique` … win over `known`.
        place: For errors.
        prompt: What both responses answer.
        responses: In the row's order.
        target: Which is better, where that is known.
        id_keys: Fields that identify the row.
        row_id: An id of the reader's own; None takes the row's, or one from the content.
        meta: Of the dataset.
        known: Fields of `Row`; None is left out.
    """
    extra = fields.shared(row, place)
    for key, value in known.items():
        if value is not None:
            extra.setdefault(key, value)
    return Comparison(
        **{**extra, "meta": {**(meta or {}), **extra.get("meta", {})}},
        id=row_id or fields.row_id(row, id_keys, place) or pair_content_id(prompt, *responses),
        prompt=prompt,
        response_a=responses[0],
        response_b=responses[1],
        target=target,
    )


def verdict_of(first: float, second: float) -> Verdict:
    """Return the verdict of two scores: the higher wins, equal ones tie."""
    return Verdict("tie" if first == second else "A" if first > second else "B")


def by_sign(row: RowData, key: str, place: str) -> tuple[Verdict, int]:
    """Return the verdict and strength of a preference from -3 (the first is much better) to 3 (the second)."""
    value = fields.integer(row, key, place)
    if value not in _STRENGTHS:
        raise fields.bad_label(key, value, "-3 the first is much better … 0 equal … 3 the second", place)
    return verdict_of(-value, 0), abs(value)


def side_meta(target: Verdict | None, **of_sides: tuple[Any, Any]) -> dict[str, Any]:
    """Return `chosen_NAME` and `rejected_NAME` for each fact known of both sides; nothing without a winner."""
    if target is None or target.winner == "tie":
        return {}
    found: dict[str, Any] = {}
    for name, (first, second) in of_sides.items():
        chosen, rejected = (first, second) if target.winner == "A" else (second, first)
        if chosen is not None and rejected is not None:
            found |= {f"chosen_{name}": chosen, f"rejected_{name}": rejected}
    return found


def of_both_sides(first: str | None, second: str | None) -> Critique | None:
    """Return two critiques of one response each as one, under the responses' names; None if one is absent."""
    if not first or not second:
        return None
    return Critique(text=f"Response 1: {first}\n\nResponse 2: {second}")


def exchange_names(text: str) -> str | None:
    """Return a critique's text for exchanged responses; None where it names them by position or a bare letter."""
    named = {match[3] for match in _NAME.finditer(text)}
    in_letters = not named or named & {"A", "B"}
    if _POSITION.search(text) or (in_letters and _LETTER.search(_NAME.sub("", text))):
        return None
    return _NAME.sub(lambda match: match[1] + match[2] + _OTHER[match[3]], text)


def join_neighbours(items: Iterable[SourceRow]) -> Iterator[SourceRow]:
    """Make a comparison of every two neighbouring scored responses to one prompt.

    Each row stays one item: the first of a pair becomes none, the second the pair. A response whose neighbour
    answers something else stays as it is.
    """
    waiting: SourceRow | None = None
    for item in items:
        pair = None if waiting is None else _join(waiting, item)
        if waiting is not None and pair is not None:
            yield waiting._replace(rows=())
            yield item._replace(rows=(pair,), id_is_derived=True)
            waiting = None
            continue
        if waiting is not None:
            yield waiting
        waiting = item if item.rows else None
        if waiting is None:
            yield item
    if waiting is not None:
        yield waiting


def _join(first: SourceRow, second: SourceRow) -> Comparison | None:
    if len(first.rows) != 1 or len(second.rows) != 1:
        return None
    a, b = first.rows[0], second.rows[0]
    if not isinstance(a, CandidateSet) or not isinstance(b, CandidateSet) or a.prompt != b.prompt:
        return None
    scores = a.label, b.label
    if not isinstance(scores[0], int | float) or not isinstance(scores[1], int | float):
        return None
    target = verdict_of(scores[0], scores[1])
    meta = side_meta(target, score=scores, ratings=(a.meta.get("ratings"), b.meta.get("ratings")))
    shared = a.shared_fields() | {"meta": {"margin": abs(scores[0] - scores[1]), **meta}}
    responses = a.responses[0], b.responses[0]
    return Comparison(
        **{**shared, "id": pair_content_id(a.prompt, *responses)},
        response_a=responses[0],
        response_b=responses[1],
        target=target,
    )
