"""Tokenizers made of a tokenizer's own description: one that only finds control tokens, one that cannot speak them.

Both serve `reasrm.protocol.encoder`, which says why. The description is the JSON of a `tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from tokenizers import Tokenizer

from reasrm.protocol.escaping import looks_like_control

__all__ = [
    "Control",
    "build_copy",
    "build_scanner",
    "is_space",
    "undeclared_controls",
    "unknown_id",
    "vocabulary_entries",
]

_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False}
# Cuts `<0x0A>`, written out, inside; with byte fallback it could else become the byte's own entry.
_BYTE_GUARD = {
    "type": "Split",
    "pattern": {"Regex": "<0(?=x[0-9A-Fa-f]{2}>)"},
    "behavior": "MergedWithPrevious",
    "invert": False,
}


@dataclass(frozen=True, slots=True)
class Control:
    """A control token: its id, what stands for it in the copy, whether it swallows white space beside it."""

    id: int
    alias: str
    lstrip: bool
    rstrip: bool


def is_space(content: str) -> bool:
    """Tell whether an added token is white space only, also as SentencePiece writes it."""
    return not content.replace("▁", " ").strip()


def vocabulary_entries(model: dict[str, Any]) -> dict[str, int]:
    """Return entry → id of the model's own vocabulary."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        return vocabulary
    return {entry: number for number, (entry, _) in enumerate(vocabulary)}


def undeclared_controls(spec: dict[str, Any], entries: dict[str, int]) -> list[dict[str, Any]]:
    """Return, in the form of added tokens, control strings that are vocabulary entries only."""
    declared = {token["content"] for token in spec["added_tokens"]}
    return [
        {**_FLAGS, "id": number, "content": entry, "normalized": True, "special": False}
        for entry, number in entries.items()
        if looks_like_control(entry) and entry not in declared
    ]


def unknown_id(spec: dict[str, Any], entries: dict[str, int]) -> int | None:
    """Return the id of the model's unknown token."""
    number: int | None = spec["model"].get("unk_id")
    return entries.get(spec["model"].get("unk_token", "")) if number is None else number


def build_scanner(spec: dict[str, Any], undeclared: list[dict[str, Any]], nonce: str) -> Tokenizer:
    """Return a tokenizer that does nothing but find control tokens, the way the given one does."""
    model = {"type": "WordLevel", "vocab": {nonce: 0}, "unk_token": nonce}
    added = [*spec["added_tokens"], *undeclared]
    return _tokenizer(spec, model=model, added_tokens=added, pre_tokenizer=None)


def build_copy(spec: dict[str, Any], controls: dict[str, Control], start: str) -> Tokenizer:
    """Return the tokenizer with every control string renamed, and an added token `start`."""
    aliases = {content: control.alias for content, control in controls.items()}
    added = [
        {**token, "content": aliases.get(token["content"], token["content"]), "single_word": False}
        for token in spec["added_tokens"]
    ]
    model = dict(spec["model"])
    if isinstance(model["vocab"], dict):
        # Naming the added tokens here as well keeps their ids.
        ids = {aliases.get(entry, entry): number for entry, number in model["vocab"].items()}
        ids |= {token["content"]: token["id"] for token in added}
        model["vocab"] = ids | {start: max(ids.values(), default=-1) + 1}
    else:
        model["vocab"] = [[aliases.get(entry, entry), score] for entry, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = aliases.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = _merges_without(aliases, model)
    declared = {token["content"] for token in added}
    added += [
        {**_FLAGS, "id": 0, "content": alias, "normalized": False, "special": True}
        for alias in (*aliases.values(), start)
        if alias not in declared
    ]
    guards = [_BYTE_GUARD] if model.get("byte_fallback") else []
    steps = [step for step in (spec["pre_tokenizer"], *guards) if step is not None]
    pre_tokenizer = {"type": "Sequence", "pretokenizers": steps} if steps else None
    return _tokenizer(spec, model=model, added_tokens=added, pre_tokenizer=pre_tokenizer)


def _merges_without(controls: Iterable[str], model: dict[str, Any]) -> list[Any]:
    """Return the merges of a BPE model that neither take nor make a control string."""
    removed = set(controls)
    skipped = len(model.get("continuing_subword_prefix") or "")
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return [
        [left, right] for left, right in merges if removed.isdisjoint((left, right, left + right[skipped:]))
    ]


def _tokenizer(spec: dict[str, Any], **changes: Any) -> Tokenizer:
    bare = {"truncation": None, "padding": None, "post_processor": None, "decoder": None}
    return Tokenizer.from_str(orjson.dumps({**spec, **bare, **changes}).decode())
