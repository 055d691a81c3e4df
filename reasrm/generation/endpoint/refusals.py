"""Why a server refuses a request: its reason in words, and what kind of reason it is, from a body of any shape.

Servers agree on the status and on little else: `error` is a text or an object, `detail` a text or FastAPI's list,
`message` may be an object, the whole may be a list, HTML or a sentence. Words are looked for only in what the server
says, not in what it repeats of the request (the field `input`, passages of the prompt).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reasrm.generation.endpoint.bodies import excerpt, one_line, read_json

__all__ = ["ADAPTABLE", "Refusal", "read_refusal", "refusal_in"]

ADAPTABLE = frozenset({400, 404, 422})
"""Statuses with which servers refuse a parameter."""
_SPOKEN = (
    "message",
    "error",
    "errors",
    "detail",
    "details",
    "msg",
    "error_msg",
    "error_message",
    "status_msg",
)
_SPOKEN_TOO = ("error_description", "description", "reason", "title")
_CODES = (
    "code",
    "type",
    "status",
    "status_code",
    "error_type",
    "error_code",
    "innererror",
    "reason",
    "category",
)
_PLACES = ("param", "loc", "path", "field")
_QUOTED = 20  # characters in a row that also stand in the prompt are quoted from it
_REPEATED = frozenset({"input", "body", "request", "ctx", "flagged_input", "messages"})

_TOO_LONG_CODES = re.compile(
    r"context_?(?:length|window|size)|tokens_limit|exceed_context|(?:prompt|input|request)_?too_?(?:long|large)"
    r"|max_(?:prompt_)?tokens_exceeded|string_above_max_length|^1261$"
)
_TOO_LONG = re.compile(
    r"context.{0,3}(?:length|window|size|limit)|context_length|max_model_len|max_input_len|max_seq_len|model max length"
    r"|maximum (?:model|input|prompt|context|sequence) length|model token limit|too many (?:input )?tokens"
    r"|reduce the length|range of input length|input tokens? (?:count )?(?:\([^)]*\) )?exceed"
    r"|token count .{0,30}exceeds|tokens? limit exceeded|prompt exceeds"
    r"|(?:input|prompt|inputs|request|request body|request entity|payload|content|messages?|conversation)\b.{0,60}"
    r"(?:too (?:long|large|big)\b|longer than|must be <=?|must have less than|超长)",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE_FOR_A_MINUTE = re.compile(r"request too large", re.IGNORECASE)
_FILTER_CODES = re.compile(
    r"content_?(?:filter|policy|block|safety|moderation|flagged)|responsibleaipolicy|data_?inspection"
    r"|moderation|prohibited_content|prompt_blocked|^invalid_prompt$|^safety$|^1301$"
)
_FILTER = re.compile(
    r"content (?:management |usage )?polic|content filter|contentfilter|inappropriate content|content exists risk"
    r"|flagged|high[- ]risk|safety (?:system|filter|polic)|moderation|usage polic|prohibited (?:use|content)"
    r"|new_sensitive",
    re.IGNORECASE,
)
_QUOTA_CODES = re.compile(
    r"insufficient_?(?:quota|balance|credits?|funds)|billing|credit_balance|arrearage|payment_required"
    r"|exceeded_current_quota|quota_exhausted|account_(?:deactivated|suspended)"
)
_QUOTA = re.compile(
    r"insufficient (?:account )?(?:balance|credits?|funds|quota)|credit balance is too low|out of credits"
    r"|(?:no|not enough|more) credits|payment required|billing hard limit|account .{0,40}(?:suspended|overdue|arrears)",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"\b(?:less|greater|smaller|larger|higher|lower|at most|at least|between|range|minimum|maximum|exceeds?|too"
    r"|above|below|positive|negative)\b|[<>≤≥]|_(?:max|min)_value|less_than|greater_than",
    re.IGNORECASE,
)
_SAMPLING = re.compile(r"\bsampling param|\b(?:generation|decoding) param", re.IGNORECASE)
_ONE_OF_BOTH = re.compile(
    r"\bboth\b|together|simultaneous|at the same time|only one|either|mutually|alongside|combin",
    re.IGNORECASE,
)
_SYSTEM = re.compile(
    r"\b(?:system|developer)\b.{0,60}(?:role|message|prompt|instruction|not|unsupported)"
    r"|role.{0,80}\b(?:system|developer)\b|roles? must alternate|only user and (?:assistant|model) roles",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not answered.

    Args:
        status: The HTTP status, or what a body with status 200 says.
        reason: What the server says, one line, cut; never empty.
        codes: Its machine-readable words, lower case.
        places: Fields of the request that it names apart from its words.
    """

    status: int
    reason: str
    codes: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()

    def without(self, prompt: str) -> Refusal:
        """Return it without what it repeats of the prompt, so that a row cannot speak for the server."""
        prompt, said = " ".join(prompt.split()), self.reason
        kept = bytearray(b"\1" * len(said))
        for start in range(len(said) - _QUOTED + 1):
            if said[start : start + _QUOTED] in prompt:
                kept[start : start + _QUOTED] = b"\0" * _QUOTED
        own = "".join(character for character, keep in zip(said, kept, strict=True) if keep)
        return replace(self, reason=own)

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt does not fit."""
        if self.status in (401, 402, 403):
            return False
        if self.status == 429:
            return _TOO_LARGE_FOR_A_MINUTE.search(self.reason) is not None
        return self.status == 413 or self._has(_TOO_LONG_CODES) or _TOO_LONG.search(self.reason) is not None

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter withheld the answer or took offence at the prompt."""
        if self.status not in (200, 400, 403, 422, 451):
            return False
        if self._has(_FILTER_CODES):
            return True
        about_input = self.status != 403 or "input" in self.reason.casefold()
        return about_input and _FILTER.search(self.reason) is not None

    @property
    def is_out_of_quota(self) -> bool:
        """Whether money or a quota is used up, which waiting does not mend."""
        if self.status == 400 and "credit balance is too low" in self.reason:
            return True
        return self._has(_QUOTA_CODES) or (
            self.status in (200, 403, 429) and _QUOTA.search(self.reason) is not None
        )

    @property
    def signature(self) -> tuple[int, str]:
        """What is equal where the same reason is given for different rows."""
        return self.status, re.sub(r"\b[0-9a-f-]*\d[0-9a-f-]*\b", "#", self.reason)[:120]

    def names(self, parameter: str) -> bool:
        """Tell whether it speaks of a field of the request."""
        if self.places:
            return parameter in self.places
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), parameter)
        word = rf"(?<![A-Za-z0-9])(?:{parameter}|{camel})(?![A-Za-z0-9]|_\w)"
        return re.search(word, self.reason, re.IGNORECASE) is not None

    def leave_out(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Return which of our parameters to try without: those named, unless only a value asked for is out of range.

        Args:
            body: What was sent.
        """
        named = {name for name in ("temperature", "top_p", "seed", "chat_template_kwargs") if name in body}
        spoken_of = {name for name in named if self.names(name)}
        if not spoken_of and _SAMPLING.search(self.reason):
            spoken_of = named & {"temperature", "top_p"}
        named = spoken_of
        if {"temperature", "top_p"} <= named and _ONE_OF_BOTH.search(self.reason):
            named.discard("temperature")
        if _RANGE.search(" ".join((self.reason, *self.codes))):
            named &= {"seed"} | ({"temperature"} if body.get("temperature") == 0 else set())
        if "max_tokens" in body and self._wants_other_limit():
            named.add("max_tokens")
        roles = [message["role"] for message in body["messages"]]
        at_role = any(place in ("role", "system", "messages") for place in self.places)
        if roles[:2] == ["system", "user"] and (at_role or not self.places) and _SYSTEM.search(self.reason):
            named.add("system")
        return frozenset(named)

    def _wants_other_limit(self) -> bool:
        if "max_completion_tokens" in self.reason:
            return True
        return self.names("max_tokens") and not _RANGE.search(self.reason)

    def _has(self, pattern: re.Pattern[str]) -> bool:
        return any(pattern.search(code) for code in self.codes)


def read_refusal(status: int, body: bytes) -> Refusal:
    """Read the body of an answer with an error's status."""
    try:
        value = read_json(body)
    except ValueError:
        text = one_line(body[:20_000].decode("utf-8", "replace"))
        return Refusal(status, text or "no reason given")
    return _refusal(status, value, body)


def refusal_in(payload: Mapping[str, Any]) -> Refusal | None:
    """Return the error that a body with status 200, or a choice in it, holds; None if there is none.

    Routers pass errors on so, also beside the text that came before: `error`, an object that is called one (vLLM),
    `error_msg` (Qianfan), or `base_resp` with a code (MiniMax). An error with code 0 or without content is none.
    """
    is_error = payload.get("object") == "error" or ("error_msg" in payload and not payload.get("choices"))
    error = payload.get("error") or (payload if is_error else payload.get("base_resp"))
    if not error or (isinstance(error, Mapping) and _says_nothing(error)):
        return None
    value = str(error.get("code", error.get("status"))) if isinstance(error, Mapping) else ""
    status = int(value) if re.fullmatch("[45][0-9][0-9]", value) else 200
    return _refusal(status, {"error": error}, b"")


def _says_nothing(error: Mapping[str, Any]) -> bool:
    code = error.get("code", error.get("status_code", error.get("error_code")))
    return str(code) == "0" or not any(error.values())


def _refusal(status: int, value: Any, body: bytes) -> Refusal:
    reason = one_line("; ".join(dict.fromkeys(_spoken(value))))
    codes, places = set[str](), set[str]()
    for name, child in _fields(value):
        if name in _CODES and isinstance(child, str | int) and not isinstance(child, bool):
            codes.add(one_line(str(child), 80).lower())
        elif name in _PLACES:
            places.update(_place(child))
    if not reason:
        reason = "; ".join(sorted(codes)) or (excerpt(body) if body.strip() else "no reason given")
    return Refusal(status, reason, frozenset(codes), frozenset(places))


def _spoken(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield what is said to people, outermost first."""
    if depth > 6:
        return
    if isinstance(value, str):
        if value.strip():
            yield value.strip()[:4000]
    elif isinstance(value, list):
        for child in value[:10]:
            yield from _spoken(child, depth + 1)
    elif isinstance(value, Mapping):
        said = False
        for names in (_SPOKEN, _SPOKEN_TOO):
            for name in names:
                if not said or name in ("error", "detail", "details"):
                    for text in _spoken(value.get(name), depth + 1):
                        said = True
                        yield _with_place(value, text)


def _with_place(value: Mapping[str, Any], text: str) -> str:
    """Put FastAPI's `loc`, a list of steps, in front of its message."""
    steps = value.get("loc")
    return f"{'.'.join(map(str, steps[:6]))}: {text}" if isinstance(steps, list) and steps else text


def _fields(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield all fields at any depth, but those that repeat the request."""
    if depth > 6:
        return
    if isinstance(value, list):
        for child in value[:10]:
            yield from _fields(child, depth + 1)
    elif isinstance(value, Mapping):
        for name, child in value.items():
            if name not in _REPEATED:
                yield str(name), child
                yield from _fields(child, depth + 1)


def _place(value: Any) -> Collection[str]:
    """Return the names in `messages[0].role` or `["body", "seed"]`."""
    steps = value if isinstance(value, list) else [value]
    words = (re.split(r"[.\[\]/]+", step) for step in steps if isinstance(step, str))
    return {word for step in words for word in step if word and word.lower() not in ("body", "none", "null")}
