"""RMB: pairs, and lists of one best response and several worse ones, for helpfulness and harmlessness."""

from __future__ import annotations

from typing import Any

from reasrm.hashing import content_id
from reasrm.records import CandidateSet, Conversation, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.trl import make_pair

__all__ = ["BEST_OF_N", "PAIRS"]

_PAIR_KEYS = ("id", "pair_uid")
_BON_KEYS = ("id", "bon_uid")
_LICENCE = "none stated by its owner"
_URL = "https://github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark"
_REVISION = "2be3180, columns as RM-R1's harness reads them"


def _read_pair(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = _prompt(row, place)
    chosen, rejected = (_answer(row.get(key), key, place) for key in ("chosen", "reject"))
    own = fields.row_id(row, _PAIR_KEYS, place)
    models = {
        f"{name}_model": _model(row[key]) for name, key in (("chosen", "chosen"), ("rejected", "reject"))
    }
    meta = {name: model for name, model in models.items() if model is not None}
    base = {"subset": row.get("category_path"), "meta": meta, **row}
    return (make_pair(base if own is None else {**base, "id": own}, place, prompt, chosen, rejected),)


def _read_list(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = _prompt(row, place)
    losers = row.get("loser_list")
    if not isinstance(losers, list) or not losers:
        raise fields.wrong_type("loser_list", "a non-empty list", losers, place)
    responses = (
        _answer(row.get("bon_best"), "bon_best", place),
        *(_answer(loser, f"loser_list[{n}]", place) for n, loser in enumerate(losers)),
    )
    return (
        CandidateSet(
            id=fields.row_id(row, _BON_KEYS, place) or content_id(prompt, responses),
            prompt=prompt,
            responses=responses,
            label=0,
            **{"subset": fields.optional_text(row, "category_path", place), **fields.shared(row, place)},
        ),
    )


def _prompt(row: RowData, place: str) -> Conversation:
    return fields.conversation(row, "conversation_input", place)


def _answer(side: Any, key: str, place: str) -> str:
    if isinstance(side, dict):
        return fields.text(side, "answer", place)
    raise fields.wrong_type(key, "an object {llm_name, answer}", side, place)


def _model(side: Any) -> str | None:
    name = side.get("llm_name") if isinstance(side, dict) else None
    return name if isinstance(name, str) else None


PAIRS = Source(
    name="rmb",
    url=_URL,
    licence=_LICENCE,
    revision=_REVISION,
    label_rule="`chosen` is the better response, `reject` the worse; there are no ties.",
    example={
        "pair_uid": "9118",
        "conversation_input": [{"content": "Tip?", "language": "English", "role": "user"}],
        "chosen": {"llm_name": "model-a", "answer": "Sleep."},
        "reject": {"llm_name": "model-b", "answer": "No."},
        "category_path": "Pairwise_set/Helpfulness/Chat/Discussion",
    },
    recognises=lambda row: "conversation_input" in row and "reject" in row,
    read=_read_pair,
    id_keys=_PAIR_KEYS,
)
BEST_OF_N = Source(
    name="rmb-bon",
    url=_URL,
    licence=_LICENCE,
    revision=_REVISION,
    label_rule="`bon_best` is better than each of `loser_list`; it is the response with index 0.",
    example={
        "bon_uid": "1941",
        "conversation_input": [{"content": "Tip?", "language": "English", "role": "user"}],
        "bon_best": {"llm_name": "model-a", "answer": "Sleep."},
        "loser_list": [{"llm_name": "model-b", "answer": "No."}, {"llm_name": "model-c", "answer": "?"}],
        "category_path": "BoN_set/Helpfulness/Chat/Discussion",
    },
    recognises=lambda row: "bon_best" in row and "loser_list" in row,
    read=_read_list,
    id_keys=_BON_KEYS,
)
