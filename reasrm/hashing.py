"""Stable identities: canonical JSON, content hashes, row ids and the seeds derived from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from reasrm.records import Conversation

if TYPE_CHECKING:
    from reasrm.requests import PromptMessage

__all__ = [
    "canonical_json",
    "content_id",
    "derive_seed",
    "digest",
    "pair_content_id",
    "prompt_hash",
    "request_hash",
    "section_code",
]


def canonical_json(value: Any) -> bytes:
    """Return JSON bytes that depend on the value only: sorted keys, no spaces, UTF-8, dataclasses as objects."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:length]


def prompt_hash(messages: Sequence[PromptMessage]) -> str:
    """Return 32 hex digits of what a prompt says, roles included; not of how an endpoint or a template wraps it."""
    said = hashlib.sha256()
    for message in messages:
        for part in (message.role, message.text):
            data = part.encode("utf-8", "surrogatepass")
            said.update(len(data).to_bytes(8, "big") + data)
    return said.hexdigest()[:32]


def section_code(*texts: str) -> str:
    """Return the code of the markers around somebody's texts: 128 bits made of them, so that none can hold it."""
    joined = "\x00".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:32]


def request_hash(prompt: Conversation) -> str:
    """Return the name of a request: 16 hex digits of its roles and texts, whatever the responses and labels."""
    return digest([[m.role, m.content] for m in prompt])


def content_id(prompt: Conversation, responses: Sequence[str]) -> str:
    """Return the id of a row that has none, from what a judge would see of it, responses in order."""
    return digest([[[m.role, m.content] for m in prompt], list(responses)])


def pair_content_id(prompt: Conversation, first: str, second: str) -> str:
    """Return the id of a preference pair that has none. Exchanging the labels does not change it."""
    return content_id(prompt, sorted((first, second)))


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on all parts: `derive_seed(seed, row_id, order, vote)`."""
    joined = "\x00".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], "big") >> 1


def joined_digest(*parts: bytes) -> bytes:
    """Return the 8 bytes of a row that is read from several lines, from the 8 bytes of each."""
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest()
