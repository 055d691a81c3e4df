"""HelpSteer2: pairs with a strength from people, and single responses with five ratings.

The critique of a pair is its statement and elaboration. `meta.votes` holds the strengths of all annotators, positive
where they agree with the label; a raw strength of -100 ("neither is usable") is null there. The ratings file is said to
hold the two responses to a prompt in neighbouring rows (not confirmed on the file): read alone they are scored
responses, and the option `pairs=helpfulness` compares those neighbours that do share their prompt. In the file of
disagreements every rating is a list, one number per annotator, and is read as their mean.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from reasrm.hashing import content_id
from reasrm.records import CandidateSet, Critique, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import by_sign, comparison, exchange_names, join_neighbours

_NEITHER = -100
_ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def _read_preference(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    responses = fields.text(row, "response_1", place), fields.text(row, "response_2", place)
    target, strength = by_sign(row, "preference_strength", place)
    said = [fields.optional_text(row, f"preference_{part}", place) for part in ("statement", "elaboration")]
    critique = " ".join(part for part in said if part)
    meta: dict[str, Any] = {"strength": strength}
    if row.get("split") is not None:
        meta["split"] = row["split"]
    votes = _votes(row, place)
    if votes:
        meta["votes"] = [vote and (-vote if target.winner == "A" else vote) for vote in votes]
    return (
        comparison(
            row,
            place,
            prompt,
            responses,
            target,
            meta=meta,
            critique=Critique(text=critique) if critique else None,
        ),
    )


def _votes(row: RowData, place: str) -> list[int | None]:
    """Return each annotator's strength, None for who found neither response usable."""
    key = "all_preferences_unprocessed"
    votes = row.get(key)
    if votes is None:
        return []
    if not isinstance(votes, list) or not all(isinstance(vote, dict) for vote in votes):
        raise fields.wrong_type(key, "a list of {strength, justification}", votes, place)
    strengths = [vote.get("strength") for vote in votes]
    for strength in strengths:
        if type(strength) is not int:
            raise fields.wrong_type(f"{key}.strength", "an integer", strength, place)
        if strength != _NEITHER and not -3 <= strength <= 3:
            raise fields.bad_label(f"{key}.strength", strength, f"-3 … 3, or {_NEITHER}: neither", place)
    return [None if strength == _NEITHER else strength for strength in strengths]


def _read_ratings(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    answer = fields.response(row, "response", place)
    ratings = {key: _rating(row, key, place) for key in _ASPECTS if key == "helpfulness" or key in row}
    extra = fields.shared(row, place)
    return (
        CandidateSet(
            **{**extra, "meta": {"ratings": ratings, **extra.get("meta", {})}},
            id=fields.row_id(row, ("id",), place) or content_id(prompt, (answer,)),
            prompt=prompt,
            responses=(answer,),
            label=ratings["helpfulness"],
        ),
    )


def _rating(row: RowData, key: str, place: str) -> int | float:
    value = fields.required(row, key, place)
    votes = value if isinstance(value, list) and value else [value]
    for vote in votes:
        if type(vote) is not int:
            raise fields.wrong_type(key, "an integer or a list of integers", value, place)
        if not 0 <= vote <= 4:
            raise fields.bad_label(key, value, "0 (worst) to 4 (best)", place)
    return fmean(votes) if isinstance(value, list) else int(votes[0])


PREFERENCE = Source(
    name="helpsteer2-preference",
    url="https://huggingface.co/datasets/nvidia/HelpSteer2",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2410.01257, file preference/preference.jsonl.gz; no commit recorded",
    label_rule="`preference_strength` below 0 means response_1 is better, above 0 response_2; 0 is a tie.",
    becomes="pairs with strength, votes and a critique; strength 0 is a tie",
    example={
        "split": "train",
        "prompt": "Define a comet.",
        "response_1": "A star with a tail.",
        "response_2": "A small icy body whose gas glows near the sun.",
        "preference_strength": 2,
        "preference_statement": "@Response 2 is better than @Response 1.",
        "preference_elaboration": "A comet is no star.",
        "all_preferences_unprocessed": [
            {"strength": 2, "justification": "A comet is no star."},
            {"strength": -100, "justification": "Both are too short."},
        ],
    },
    recognises=lambda row: "preference_strength" in row,
    read=_read_preference,
    text_keys=("prompt", "response_1", "response_2"),
    exchange=exchange_names,
)

RATINGS = Source(
    name="helpsteer2-ratings",
    url="https://huggingface.co/datasets/nvidia/HelpSteer2",
    licence="CC-BY-4.0, stated on the Hugging Face card",
    revision="arXiv 2410.01257, files train, validation and disagreements; no commit recorded",
    label_rule="The gold score is `helpfulness`, 0 to 4; pairs=helpfulness prefers the higher of two neighbours.",
    becomes="scored responses; `--option pairs=helpfulness` compares neighbouring rows of one prompt",
    example={
        "prompt": "Name a noble gas.",
        "response": "Argon.",
        "helpfulness": 4,
        "correctness": 4,
        "coherence": 4,
        "complexity": 0,
        "verbosity": 0,
    },
    recognises=lambda row: "helpfulness" in row and "correctness" in row and "response" in row,
    read=_read_ratings,
    text_keys=("prompt", "response"),
    options={"pairs": {"none": {}, "helpfulness": {"join": join_neighbours}}},
)
