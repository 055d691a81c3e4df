"""Lines of `pairs.jsonl` made into others: labels exchanged, or shown in both orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["comparisons", "flip"]

_SIDE = {"A": "B", "B": "A"}
_LABEL = {"chosen": "rejected", "rejected": "chosen"}


def flip(line: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """Return a pair with its labels exchanged; `meta.flipped` is the judge's confidence.

    What `meta` knows of one side (`chosen_score`, `rejected_model`) goes with its response.
    """
    flipped = {**line, "chosen": line["rejected"], "rejected": line["chosen"]}
    meta = {_of_other_side(key): value for key, value in line["meta"].items()}
    return _swap_critique({**flipped, "meta": {**meta, "flipped": round(confidence, 4)}})


def _of_other_side(key: str) -> str:
    side, mark, fact = key.partition("_")
    return f"{_LABEL[side]}_{fact}" if mark and side in _LABEL else key


def comparisons(line: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a pair as two labelled rows, `ID|AB` with the chosen response first and `ID|BA` with it second.

    Both carry the pair's id as `group`, unless the pair is in a group already.
    """
    shared = {key: value for key, value in line.items() if key not in ("chosen", "rejected")}
    chosen, rejected = line["chosen"][0]["content"], line["rejected"][0]["content"]
    shared.setdefault("group", line["id"])
    first = {
        **shared,
        "id": f"{line['id']}|AB",
        "response_a": chosen,
        "response_b": rejected,
        "label": "A",
    }
    second = {
        **shared,
        "id": f"{line['id']}|BA",
        "response_a": rejected,
        "response_b": chosen,
        "label": "B",
    }
    return first, _swap_critique(second)


def _swap_critique(line: dict[str, Any]) -> dict[str, Any]:
    """Map a critique's arguments to the other order. Its text names the sides itself, so it moves to `meta`."""
    critique = line.pop("critique", None)
    if critique is None:
        return line
    text = critique if isinstance(critique, str) else critique.get("text")
    if text is not None:
        line["meta"] = {**line["meta"], "critique_text_of_swapped": text}
    if not isinstance(critique, str):
        line["critique"] = {
            "arguments": [{**item, "about": _SIDE[item["about"]]} for item in critique["arguments"]]
        }
    return line
