"""Rows in our own words: two responses, several, or one, with an optional label."""

from __future__ import annotations

from typing import Any

from reasrm.hashing import content_id, pair_content_id
from reasrm.records import CandidateSet, Comparison, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.prompts import read_prompt


def _recognises(row: RowData) -> bool:
    return (
        "response_a" in row
        or "response_b" in row
        or ("prompt" in row and ("responses" in row or "response" in row))
    )


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    if "response_a" in row or "response_b" in row:
        return (_pairwise(row, place),)
    if "responses" in row:
        return (_listwise(row, place),)
    return (_pointwise(row, place),)


def _pairwise(row: RowData, place: str) -> Comparison:
    prompt = read_prompt(row, place, ("response_a", "response_b"))
    first = fields.response(row, "response_a", place)
    second = fields.response(row, "response_b", place)
    labelled = row.get("label") is not None
    return Comparison(
        id=fields.row_id(row, ("id",), place) or pair_content_id(prompt, first, second),
        prompt=prompt,
        response_a=first,
        response_b=second,
        target=fields.choice(row, "label", place, fields.WINNERS) if labelled else None,
        **fields.shared(row, place),
    )


def _listwise(row: RowData, place: str) -> CandidateSet:
    prompt = read_prompt(row, place, ("responses",))
    value = row["responses"]
    if not isinstance(value, list) or not value:
        raise fields.wrong_type("responses", "a non-empty list of strings", value, place)
    for n, item in enumerate(value):
        if not isinstance(item, str):
            raise fields.wrong_type(f"responses[{n}]", "a string", item, place)
    return CandidateSet(
        id=fields.row_id(row, ("id",), place) or content_id(prompt, value),
        prompt=prompt,
        responses=tuple(value),
        label=_best_or_ranking(row.get("label"), len(value), place),
        **fields.shared(row, place),
    )


def _best_or_ranking(label: Any, n: int, place: str) -> int | tuple[int, ...] | None:
    if label is None:
        return None
    if type(label) is int and 0 <= label < n:
        return label
    if isinstance(label, list) and all(type(i) is int for i in label) and sorted(label) == list(range(n)):
        return tuple(label)
    accepted = f"the index of the best of {n} responses, from 0, or all indices, best first"
    raise fields.bad_label("label", label, accepted, place)


def _pointwise(row: RowData, place: str) -> CandidateSet:
    prompt = read_prompt(row, place, ("response",))
    answer = fields.response(row, "response", place)
    label = row.get("label")
    if label is not None and type(label) not in (int, float):
        raise fields.bad_label("label", label, "a number: the gold score", place)
    return CandidateSet(
        id=fields.row_id(row, ("id",), place) or content_id(prompt, (answer,)),
        prompt=prompt,
        responses=(answer,),
        label=label,
        **fields.shared(row, place),
    )


SOURCE = Source(
    name="rows",
    url="docs/judging.md",
    licence="the user's own data",
    revision="1",
    label_rule=(
        'With response_a and response_b, label is "A", "B" or "tie"; with responses, the index of the best '
        "(from 0) or all indices best first; with response, a number."
    ),
    becomes="`response_a`/`response_b` pairs, `responses` lists, single `response`",
    generic=2,
    example={
        "id": "q17",
        "prompt": "Name a prime above ten.",
        "response_a": "Eleven.",
        "response_b": "Twelve.",
        "label": "A",
    },
    recognises=_recognises,
    read=_read,
    text_keys=("prompt", "response_a", "response_b", "response"),
)
