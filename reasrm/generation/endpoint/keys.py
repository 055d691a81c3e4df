"""What must not be told and what must be known: keys, header values, and the address that they are sent to.

A key is read once, checked before anything is sent, and from then on every text that leaves this package (errors,
notes, answers) goes through `Secrets.clean`, which knows the spellings in which a server or a library may hand one
back.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html.entities import html5
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from reasrm.errors import ConfigError
from reasrm.generation.endpoint.encodings import encodings, without_encoded

__all__ = [
    "NO_KEY",
    "Address",
    "Secrets",
    "check_extra_body",
    "check_headers",
    "find_key",
    "find_proxy",
    "read_address",
]

NO_KEY = "no-key-needed"
_OPENAI = "https://api.openai.com/v1"
_LONGEST_SHOWN = 24
_LONG = 8  # characters from which on parts of a secret are looked for, too
_SECRET_NAME = re.compile(
    r"key|token|secret|sig(?:nature)?$|passw|pwd|auth|credential|^code$|^sas$", re.IGNORECASE
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})
_OWN_FIELDS = {
    "temperature": "--temperature",
    "top_p": "--top-p",
    "max_tokens": "--max-tokens",
    "max_completion_tokens": "--max-tokens",
    "seed": "--seed",
    "model": "openai:MODEL@BASE_URL",
    "messages": "the rows",
    "n": "--votes",
    "stream": None,
}


class Secrets:
    """Texts that nobody may read, and their removal from whatever is said or written.

    Placeholders such as `EMPTY`, which servers without keys are given, are words and no secrets: letters alone are
    looked for from twelve on, anything else from four on; in answers, which are data, only what cannot stand there by
    chance. What has eight characters is looked for in base64 (alone, or inside of a longer text such as Basic
    credentials), hex and bytes as numbers, too.

    Args:
        values: Key, header values, passwords. Parts of one that are secrets of their own are found by themselves.
    """

    def __init__(self, values: Iterable[str]) -> None:
        found = sorted({part for value in values for part in _parts(value)}, key=len, reverse=True)
        long = [v for v in found if len(v) >= _LONG]
        self._told = _pattern([v for v in found if len(v) >= (12 if v.isalpha() else 4)])
        self._sure = _pattern([v for v in found if _is_no_chance(v)])
        self._told_encoded = [form for v in long for form in encodings(v)]
        self._sure_encoded = [form for v in long if _is_no_chance(v) for form in encodings(v)]
        self._heads = [*long, *(form.core for form in self._told_encoded)]

    def clean(self, text: str) -> str:
        """Return a message without any secret, however it is spelt: plain, repr, URL, JSON, HTML, mail, folded, cut."""
        text = text if self._told is None else self._told.sub("[key]", text)
        text = without_encoded(text, self._told_encoded)
        return self._without_heads(text) if "\N{HORIZONTAL ELLIPSIS}" in text else text

    def clean_answer(self, text: str) -> str:
        """Return what a model wrote, likewise."""
        text = text if self._sure is None else self._sure.sub("[key]", text)
        return without_encoded(text, self._sure_encoded)

    def _without_heads(self, text: str) -> str:
        """Return a message without the beginning of a secret that was left where the message was cut."""
        pieces = text.split("\N{HORIZONTAL ELLIPSIS}")
        for secret in self._heads:
            for n, piece in enumerate(pieces[:-1]):
                head = next(
                    (k for k in range(len(secret), 3, -1) if piece[-k:].casefold() == secret[:k].casefold()),
                    0,
                )
                pieces[n] = f"{piece[:-head]}[key]" if head else piece
        return "\N{HORIZONTAL ELLIPSIS}".join(pieces)


def _parts(value: str) -> Iterator[str]:
    """Yield a secret, and what in it is one by itself: the token behind `Bearer`, a cookie's value, a password."""
    yield value
    for piece in re.split(r"[\s;,]+", value):
        for part in (piece, piece.partition("=")[2]):
            yield from filter(_is_no_chance, {part, part.strip("'\"")})
    scheme, _, encoded = value.partition(" ")
    if scheme.casefold() == "basic":
        with suppress(ValueError):
            pair = b64decode(encoded.strip(), validate=True).decode()
            yield from (pair, pair.partition(":")[2])


def _is_no_chance(secret: str) -> bool:
    mixed = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
    return len(secret) >= (8 if mixed else 20)


def _pattern(secrets: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(_any_spelling, secrets)), re.IGNORECASE) if secrets else None


def _any_spelling(secret: str) -> str:
    fold = r"\s*" if len(secret) >= _LONG else ""  # mark-up and line ends come back as spaces
    return fold.join(map(_character, secret))


def _character(character: str) -> str:
    code = f"{ord(character):02x}"
    spellings = [
        rf"\\{{0,3}}{re.escape(character)}",
        f"%(?:25)*{code}",
        f"={code}",
        rf"\\{{1,2}}0?{ord(character):03o}",
        rf"\\{{1,2}}u00{code}",
        rf"\\{{1,2}}x{code}",
        f"&#x0*{code};",
        f"&#0*{ord(character)};",
    ]
    spellings += (f"&{name}" for name, text in html5.items() if text == character and name.endswith(";"))
    if character == " ":
        spellings.append(r"\+")
    return f"(?:{'|'.join(spellings)})"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is.

    Args:
        base: Up to `/v1`, without query.
        query: Sent with every call, as Azure's `api-version`.
    """

    base: str
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host's name."""
        return urlsplit(self.base).hostname or ""

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Scheme, host and port: what must be equal for a key to be sent along."""
        url = urlsplit(self.base)
        return url.scheme, self.host, url.port or {"http": 80, "https": 443}.get(url.scheme)

    @property
    def shown(self) -> str:
        """The address as results and messages name it; a long value of the query is cut."""
        query = {name: value if len(value) <= _LONGEST_SHOWN else "…" for name, value in self.query.items()}
        return self.base + (f"?{urlencode(query, safe='…')}" if query else "")


def read_address(text: str | None) -> Address:
    """Read a base URL, by default `OPENAI_BASE_URL`, else OpenAI's own.

    Raises:
        ConfigError: It is no http address, or holds a password or a key; neither is shown.
    """
    given = (text or os.environ.get("OPENAI_BASE_URL") or _OPENAI).strip()
    try:
        url = urlsplit(given)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if usable and (url.username is not None or url.password is not None):
        raise ConfigError(
            "the base URL holds credentials, which would end up in results",
            remedy="put the key into OPENAI_API_KEY",
        )
    if not usable or not given.isprintable() or " " in given or url.fragment:
        raise ConfigError(
            f"the base URL {_masked(given)!r} is not an http address",
            remedy="write it like http://localhost:8000/v1",
        )
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for name in query:
        if _SECRET_NAME.search(name):
            raise ConfigError(
                f"the base URL's query holds {name!r}, which would end up in results",
                remedy=f"put the key into OPENAI_API_KEY, or pass it as a header: --header {name}=…",
            )
    path = url.path.rstrip("/").removesuffix("/chat/completions")
    return Address(urlunsplit((url.scheme, url.netloc, path, "", "")), query)


def _masked(url: str) -> str:
    """Return an unusable address without what may be secret in it: credentials and values of the query."""
    plain = re.sub(r"[^/@\s]*@", "", url.partition("#")[0])
    return re.sub(r"=[^&]*", "=…", plain)


def find_key(address: Address) -> str:
    """Return the key of `OPENAI_API_KEY`, or a placeholder for servers that want none.

    Raises:
        ConfigError: It holds what no header can hold, or is missing and OpenAI is asked. The key is not shown.
    """
    key = _checked(os.environ.get("OPENAI_API_KEY") or "", "OPENAI_API_KEY")
    if not key and address.host == "api.openai.com":
        raise ConfigError("OPENAI_API_KEY is not set", place=address.shown, remedy="export OPENAI_API_KEY=…")
    return key or NO_KEY


def check_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return extra headers, checked; a value `env:NAME` is read from the environment.

    Raises:
        ConfigError: A name or value cannot be sent. The value is not shown.
    """
    if not isinstance(headers, Mapping):
        raise ConfigError("the extra headers are no mapping", remedy="write NAME: VALUE, one a line")
    checked = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise ConfigError(
                f"{str(name)[:60]!r} cannot be the name of an extra header", remedy="write NAME=VALUE"
            )
        if not isinstance(value, str):
            raise ConfigError(f"the value of the header {name!r} is not a text", remedy="put it into quotes")
        source = f"the header {name!r}"
        if value.startswith("env:"):
            source = value.removeprefix("env:")
            if source not in os.environ:
                raise ConfigError(
                    f"{source[:60]!r}, named by the header {name!r}, is not set", remedy="export it"
                )
            value = os.environ[source]
        checked[name] = _checked(value, source)
    return checked


def _checked(value: str, source: str) -> str:
    value = value.strip(" \t\r\n")
    for place, character in enumerate(value, 1):
        if not " " <= character <= "~":
            raise ConfigError(
                f"{source} holds U+{ord(character):04X} as character {place} of {len(value)}, "
                "which cannot be sent in a header",
                remedy="set it again, without quotes, line ends or invisible characters (its value is not shown here)",
            )
    return value


def check_extra_body(extra: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields that every request gets besides ours.

    Raises:
        ConfigError: They are no JSON object, or hold what has a flag of its own.
    """
    if isinstance(extra, str):
        try:
            extra = orjson.loads(extra)
        except orjson.JSONDecodeError as error:
            raise ConfigError(
                f"the extra body is not JSON: {error}", remedy='write {"key": value}'
            ) from error
    if extra is None:
        return {}
    if not isinstance(extra, Mapping):
        raise ConfigError("the extra body is no JSON object", remedy='write {"key": value}')
    for name in extra:
        if name in _OWN_FIELDS:
            where = _OWN_FIELDS[name]
            raise ConfigError(
                f"the extra body holds {name!r}, which is set by {where or 'the program'}",
                remedy="leave it out" if where is None else f"leave it out and use {where}",
            )
    return dict(extra)


def find_proxy(address: Address) -> tuple[str, str] | None:
    """Return the proxy that the environment names for an address, as it may be shown, and its password."""
    scheme, host, _ = address.origin
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    try:
        password = urlsplit(proxy).password or ""
    except ValueError:
        password = ""
    return _masked(proxy), password
