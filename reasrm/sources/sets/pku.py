"""PKU-SafeRLHF: pairs with two labels, of help and of harm; BeaverTails: single responses, safe or not.

The labels of PKU-SafeRLHF answer different questions. By default a row counts where they agree and is an error where
they do not; `label=better` takes the more helpful response and `label=safer` the safer one. Column names come from
cards and users' code; the files were not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reasrm.errors import RowError
from reasrm.hashing import content_id
from reasrm.records import CandidateSet, Row, Verdict
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.pairing import comparison, side_meta

_LABELS: Mapping[int | str, Verdict] = {0: Verdict("A"), 1: Verdict("B")}
_BETTER, _SAFER = "better_response_id", "safer_response_id"
_TEXTS = ("prompt", "response_0", "response_1")


def _reader(*keys: str) -> Callable[[RowData, str], tuple[Row, ...]]:
    """Return the reader that takes the label of these columns, which must agree."""

    def read(row: RowData, place: str) -> tuple[Row, ...]:
        prompt = fields.conversation(row, "prompt", place)
        responses = fields.text(row, "response_0", place), fields.text(row, "response_1", place)
        target, *others = [fields.choice(row, key, place, _LABELS) for key in keys]
        if any(other != target for other in others):
            raise RowError(
                f"{_BETTER} and {_SAFER} name different responses",
                code="labels_disagree",
                place=place,
                remedy="pass --source pku-saferlhf with --option label=better or --option label=safer",
            )
        safe = row.get("is_response_0_safe"), row.get("is_response_1_safe")
        severity = row.get("response_0_severity_level"), row.get("response_1_severity_level")
        meta = {"label_from": list(keys), **side_meta(target, is_safe=safe, severity_level=severity)}
        subset = fields.optional_text(row, "prompt_source", place)
        return (comparison(row, place, prompt, responses, target, meta=meta, subset=subset),)

    return read


def _read_single(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    answer = fields.response(row, "response", place)
    safe = fields.required(row, "is_safe", place)
    if type(safe) is not bool:
        raise fields.wrong_type("is_safe", "a boolean", safe, place)
    harms = row.get("category")
    if harms is not None and not isinstance(harms, dict):
        raise fields.wrong_type("category", "an object of booleans", harms, place)
    extra = fields.shared(row, place)
    meta = {"harms": [name for name, found in harms.items() if found is True]} if harms is not None else {}
    return (
        CandidateSet(
            **{**extra, "meta": {**meta, **extra.get("meta", {})}},
            id=fields.row_id(row, ("id",), place) or content_id(prompt, (answer,)),
            prompt=prompt,
            responses=(answer,),
            label=int(safe),
        ),
    )


SAFE_RLHF = Source(
    name="pku-saferlhf",
    url="https://huggingface.co/datasets/PKU-Alignment/PKU-SafeRLHF",
    licence="CC-BY-NC-4.0, stated on the Hugging Face card; contains harmful text",
    revision="columns as the card lists them; the files were not seen",
    label_rule="0 means response_0, 1 response_1: more helpful in `better_response_id`, safer in "
    "`safer_response_id`; by default both must agree, label=better or label=safer takes one.",
    becomes="pairs where both labels agree; `--option label=better` or `label=safer` takes one",
    example={
        "prompt": "How do I open a lock?",
        "response_0": "Call a locksmith.",
        "response_1": "Break the window.",
        "prompt_source": "some-set",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
        "response_0_severity_level": 0,
        "response_1_severity_level": 2,
        _BETTER: 0,
        _SAFER: 0,
    },
    recognises=lambda row: "response_0" in row and "response_1" in row and (_BETTER in row or _SAFER in row),
    read=_reader(_BETTER, _SAFER),
    text_keys=_TEXTS,
    options={
        "label": {
            "agreed": {},
            "better": {"read": _reader(_BETTER), "assumed": (*_TEXTS, _BETTER)},
            "safer": {"read": _reader(_SAFER), "assumed": (*_TEXTS, _SAFER)},
        }
    },
    assumed=(*_TEXTS, _BETTER, _SAFER),
)

BEAVERTAILS = Source(
    name="beavertails",
    url="https://huggingface.co/datasets/PKU-Alignment/BeaverTails",
    licence="CC-BY-NC-4.0, stated on the Hugging Face card; contains harmful text",
    revision="columns from general knowledge; the files were not seen",
    label_rule="The gold score is 1 where `is_safe` is true, else 0.",
    becomes="single responses, 1 safe, 0 not",
    example={
        "prompt": "Tell a joke.",
        "response": "Knock, knock.",
        "category": {"animal_abuse": False, "violence": False},
        "is_safe": True,
    },
    recognises=lambda row: "is_safe" in row and "response" in row and "prompt" in row,
    read=_read_single,
    text_keys=("prompt", "response"),
    assumed=("prompt", "response", "is_safe"),
)
