"""RM-Bench: three right and three wrong responses to one prompt, in three styles, compared in all nine ways.

Every prompt becomes nine pairs `c{i}r{j}` of one group, styles 0 concise, 1 detailed, 2 detailed with
markdown; `meta.cell` is `[i, j]`. The published whole has a `domain`; the per-domain files have none, so it
is taken from the names of their subsets, both safety halves together as the benchmark scores them.
"""

from __future__ import annotations

from typing import Any

from reasrm.errors import RowError
from reasrm.hashing import digest
from reasrm.records import Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import make_pair

_STYLES = 3
_DOMAINS = {"alpacaeval": "chat", "refusals": "safety", "xstest": "safety", "hep": "code", "math": "math"}


def _recognises(row: RowData) -> bool:
    chosen = row.get("chosen")
    return type(chosen) is list and bool(chosen) and type(chosen[0]) is str and "num_correct" not in row


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "prompt", place)
    chosen = _styles(row, "chosen", place)
    rejected = _styles(row, "rejected", place)
    domain = _domain(row, place)
    number = fields.row_id(row, ("id",), place)
    item = number or digest([[[m.role, m.content] for m in prompt], sorted((*chosen, *rejected))])
    group = item if domain is None else f"{domain}/{item}"
    common = {**row, "subset": domain, "group": group}
    meta: dict[str, Any] = {"subset": row["subset"]} if row.get("subset") is not None else {}
    return tuple(
        make_pair(
            {**common, "id": f"{group}/c{i}r{j}", "meta": {**meta, "cell": [i, j]}},
            place,
            prompt,
            chosen[i],
            rejected[j],
        )
        for i in range(_STYLES)
        for j in range(_STYLES)
    )


def _styles(row: RowData, key: str, place: str) -> list[str]:
    value = fields.required(row, key, place)
    if not isinstance(value, list):
        raise fields.wrong_type(key, "a list of three strings", value, place)
    for n, item in enumerate(value):
        if not isinstance(item, str):
            raise fields.wrong_type(f"{key}[{n}]", "a string", item, place)
    if len(value) != _STYLES:
        raise RowError(
            f"field {key!r} has {len(value)} responses, expected 3", code="wrong_count", place=place
        )
    return value


def _domain(row: RowData, place: str) -> str | None:
    named = fields.optional_text(row, "domain", place)
    if named is not None:
        return "safety" if named.startswith("safety") else named
    subset = fields.optional_text(row, "subset", place)
    return None if subset is None else _DOMAINS.get(subset.partition("-")[0], subset)


SOURCE = Source(
    name="rm-bench",
    url="https://github.com/THU-KEG/RM-Bench",
    licence="ODC-BY 1.0, stated on the Hugging Face card of the data",
    revision="73c52d7b27b361621361ec959ac6c0eb9bb7a689",
    label_rule="Each of the three `chosen` is better than each of the three `rejected`; no ties.",
    becomes="nine pairs per item (three chosen × three rejected styles)",
    example={
        "id": 8,
        "prompt": "How many legs has a spider?",
        "subset": "alpacaeval",
        "chosen": ["Eight.", "A spider has eight legs.", "A spider has **eight** legs."],
        "rejected": ["Six.", "A spider has six legs.", "A spider has **six** legs."],
    },
    recognises=_recognises,
    read=_read,
    text_keys=("prompt",),
)
