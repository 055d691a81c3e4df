"""UltraFeedback: four completions with ratings by aspect, and the pairs that were made of them.

The original's `overall_score` had a defect that its owner fixed only later, so it is not read: a completion's score
is the mean of its aspect ratings, over the aspects that every rated completion of the row has ("N/A" is no rating).
By default the best is compared with the worst; `pairs=all` compares each with each. The binarized rows picked their
`rejected` at random, so both scores can be equal: that is a tie, unless `equal=keep` trusts the columns.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from reasrm.errors import RowError
from reasrm.hashing import digest
from reasrm.records import Comparison, Conversation, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison, exchange_names, of_both_sides, side_meta, verdict_of
from reasrm.sources.sets.trl import split_conversations

_Scored = tuple[int, RowData, float]


def _read_best_worst(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "instruction", place)
    scored = _scored(row, place)
    best = max(scored, key=lambda each: each[2])
    worst = min(reversed(scored), key=lambda each: each[2])
    if best is worst:  # all are equal
        best, worst = scored[:2]
    return (_pair(row, place, prompt, best, worst, None),)


def _read_all(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "instruction", place)
    scored = _scored(row, place)
    texts = [fields.text(completion, "response", place) for _, completion, _ in scored]
    item = fields.row_id(row, ("id",), place) or digest([[[m.role, m.content] for m in prompt], texts])
    return tuple(_pair(row, place, prompt, a, b, item) for a, b in combinations(scored, 2))


def _pair(
    row: RowData, place: str, prompt: Conversation, a: _Scored, b: _Scored, item: str | None
) -> Comparison:
    target = verdict_of(a[2], b[2])
    models, critiques = (
        [fields.optional_text(each[1], key, place) for each in (a, b)] for key in ("model", "critique")
    )
    return comparison(
        row,
        place,
        prompt,
        (fields.text(a[1], "response", place), fields.text(b[1], "response", place)),
        target,
        row_id=None if item is None else f"{item}/{a[0]}-{b[0]}",
        meta={
            "margin": abs(a[2] - b[2]),
            **side_meta(target, model=(models[0], models[1]), score=(a[2], b[2])),
        },
        subset=fields.optional_text(row, "source", place),
        group=item,
        critique=of_both_sides(critiques[0], critiques[1]),
    )


def _scored(row: RowData, place: str) -> list[_Scored]:
    """Return position, completion and score of each completion that has ratings."""
    completions = fields.required(row, "completions", place)
    if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
        raise fields.wrong_type("completions", "a list of objects", completions, place)
    ratings = [_ratings(each, f"completions[{n}].annotations", place) for n, each in enumerate(completions)]
    rated = [(n, each) for n, each in enumerate(ratings) if each]
    common = set.intersection(*(set(each) for _, each in rated)) if len(rated) > 1 else set()
    if not common:
        raise RowError(
            f"of {len(completions)} completions {len(rated)} have ratings, and fewer than two share an aspect",
            code="no_label",
            place=place,
        )
    return [(n, completions[n], sum(each[k] for k in sorted(common)) / len(common)) for n, each in rated]


def _ratings(completion: RowData, where: str, place: str) -> dict[str, float]:
    annotations = completion.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict):
        raise fields.wrong_type(where, "an object", annotations, place)
    rated = {aspect: _rating(value) for aspect, value in annotations.items()}
    return {aspect: rating for aspect, rating in rated.items() if rating is not None}


def _rating(annotation: Any) -> float | None:
    value = annotation.get("Rating") if isinstance(annotation, dict) else None
    known = str(value).strip() if type(value) in (str, int) else ""
    return float(known) if known in {"1", "2", "3", "4", "5"} else None


def _read_binarized(row: RowData, place: str) -> tuple[Row, ...]:
    return (_binarized(row, place, None),)


def _read_binarized_as_labelled(row: RowData, place: str) -> tuple[Row, ...]:
    return (_binarized(row, place, Verdict("A")),)


def _binarized(row: RowData, place: str, target: Verdict | None) -> Comparison:
    prompt, chosen, rejected = split_conversations(row, "chosen", "rejected", place)
    scores = _score(row, "score_chosen", place), _score(row, "score_rejected", place)
    if scores[0] < scores[1]:
        raise fields.bad_label("score_chosen", scores[0], f"at least score_rejected, {scores[1]}", place)
    target = target or verdict_of(*scores)
    prompt_id = fields.optional_text(row, "prompt_id", place)
    meta = {"margin": scores[0] - scores[1], **side_meta(target, score=scores)}
    return comparison(row, place, prompt, (chosen, rejected), target, meta=meta, group=prompt_id)


def _score(row: RowData, key: str, place: str) -> float:
    value = fields.required(row, key, place)
    if type(value) in (int, float):
        return float(value)
    raise fields.wrong_type(key, "a number", value, place)


ORIGINAL = Source(
    name="ultrafeedback",
    url="https://huggingface.co/datasets/openbmb/UltraFeedback",
    licence="MIT, stated on the Hugging Face card",
    revision="arXiv 2310.01377; no commit recorded",
    label_rule="The completion with the higher mean of its aspect ratings is better; equal means are a tie.",
    becomes="the best of the completions against the worst; `--option pairs=all` compares each with each",
    example={
        "source": "sharegpt",
        "instruction": "Name a river.",
        "models": ["model-a", "model-b", "model-c"],
        "completions": [
            {
                "model": "model-a",
                "response": "A mountain.",
                "annotations": {"helpfulness": {"Rating": "1"}, "honesty": {"Rating": "3"}},
                "critique": "Not a river.",
            },
            {
                "model": "model-b",
                "response": "The Danube.",
                "annotations": {"helpfulness": {"Rating": "5"}, "honesty": {"Rating": "5"}},
                "critique": "Right.",
            },
            {
                "model": "model-c",
                "response": "Some river.",
                "annotations": {"helpfulness": {"Rating": "2"}, "honesty": {"Rating": "4"}},
                "critique": "Names none.",
            },
        ],
    },
    recognises=lambda row: "completions" in row and "instruction" in row,
    read=_read_best_worst,
    text_keys=("instruction",),
    options={"pairs": {"best_worst": {}, "all": {"read": _read_all}}},
    exchange=exchange_names,
)

BINARIZED = Source(
    name="ultrafeedback-binarized",
    url="https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized",
    licence="MIT, stated on the Hugging Face card",
    revision="the card's splits train_prefs and test_prefs; no commit recorded",
    label_rule="`chosen` ends with the better reply; equal scores are a tie, unless equal=keep.",
    becomes="pairs; equal scores are ties, `--option equal=keep` trusts the columns",
    example={
        "prompt": "Name a fruit.",
        "prompt_id": "9f2c",
        "chosen": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Plum."}],
        "rejected": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Car."}],
        "messages": [{"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Plum."}],
        "score_chosen": 8.5,
        "score_rejected": 2.0,
    },
    recognises=lambda row: "score_chosen" in row and "score_rejected" in row,
    read=_read_binarized,
    options={"equal": {"tie": {}, "keep": {"read": _read_binarized_as_labelled}}},
)
