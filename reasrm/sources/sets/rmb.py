"""RMB: pairs, and lists of one best response and several worse ones, for helpfulness and harmlessness."""

from __future__ import annotations

from functools import partial
from typing import Any

from reasrm.hashing import content_id, pair_content_id
from reasrm.records import CandidateSet, PreferencePair, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData

_PAIR_KEYS = ("id", "pair_uid")
_BON_KEYS = ("id", "bon_uid")


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    """Read a pair, or a list whose first response is the best."""
    is_list = "bon_best" in row or "loser_list" in row
    losers = row.get("loser_list") if is_list else [row.get("reject")]
    if not isinstance(losers, list) or not losers:
        raise fields.wrong_type("loser_list", "a non-empty list", losers, place)
    best = "bon_best" if is_list else "chosen"
    sides = {best: row.get(best)}
    sides |= {f"loser_list[{n}]" if is_list else "reject": loser for n, loser in enumerate(losers)}
    prompt = fields.conversation(row, "conversation_input", place)
    responses = tuple(_answer(side, key, place) for key, side in sides.items())
    own = fields.row_id(row, _BON_KEYS if is_list else _PAIR_KEYS, place)
    shared = {"subset": fields.optional_text(row, "category_path", place), **fields.shared(row, place)}
    if is_list:
        own = own or content_id(prompt, responses)
        return (CandidateSet(id=own, prompt=prompt, responses=responses, label=0, **shared),)
    chosen, rejected = responses
    models = {
        f"{side}_model": _model(row[key]) for side, key in (("chosen", "chosen"), ("rejected", "reject"))
    }
    known = {name: model for name, model in models.items() if model is not None}
    return (
        PreferencePair(
            **{**shared, "meta": {**known, **shared.get("meta", {})}},
            id=own or pair_content_id(prompt, chosen, rejected),
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
        ),
    )


def _answer(side: Any, key: str, place: str) -> str:
    if isinstance(side, dict):
        return fields.text(side, "answer", place)
    raise fields.wrong_type(key, "an object {llm_name, answer}", side, place)


def _model(side: Any) -> str | None:
    name = side.get("llm_name") if isinstance(side, dict) else None
    return name if isinstance(name, str) else None


_source = partial(
    Source,
    url="https://github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark",
    licence="none stated by its owner",
    revision="2be3180, columns as RM-R1's harness reads them",
    read=_read,
)
PAIRS = _source(
    name="rmb",
    label_rule="`chosen` is the better response, `reject` the worse; there are no ties.",
    becomes="pairs",
    example={
        "pair_uid": "9118",
        "conversation_input": [{"content": "Tip?", "language": "English", "role": "user"}],
        "chosen": {"llm_name": "model-a", "answer": "Sleep."},
        "reject": {"llm_name": "model-b", "answer": "No."},
        "category_path": "Pairwise_set/Helpfulness/Chat/Discussion",
    },
    recognises=lambda row: "conversation_input" in row and "reject" in row,
    id_keys=_PAIR_KEYS,
)
BEST_OF_N = _source(
    name="rmb-bon",
    label_rule="`bon_best` is better than each of `loser_list`; it is the response with index 0.",
    becomes="lists whose first response is the best",
    example={
        "bon_uid": "1941",
        "conversation_input": [{"content": "Tip?", "language": "English", "role": "user"}],
        "bon_best": {"llm_name": "model-a", "answer": "Sleep."},
        "loser_list": [{"llm_name": "model-b", "answer": "No."}, {"llm_name": "model-c", "answer": "?"}],
        "category_path": "BoN_set/Helpfulness/Chat/Discussion",
    },
    recognises=lambda row: "bon_best" in row and "loser_list" in row,
    id_keys=_BON_KEYS,
)
