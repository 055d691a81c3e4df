"""One HTTP call: the openai SDK's client with its retries off, a deadline for the whole answer and a cap on its size.

Key and extra headers are put on at the last moment, and headers of a reply that nobody reads are taken off at the first
one, so that no log of the SDK can hold a key, sent or sent back. Redirects are not followed by themselves: who asks
decides about the new address.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reasrm.errors import EnvironmentProblem
from reasrm.generation.endpoint.keys import NO_KEY, Address, find_proxy

__all__ = ["MOST_BYTES", "Client", "HttpReply", "LostError"]

MOST_BYTES = 32 << 20
"""Most bytes of a reply, unpacked; a long answer with its thinking has less than one million."""
_CONNECT_S = 10.0
_READ = frozenset(("content-type", "content-encoding", "content-length", "location", "retry-after"))


class LostError(Exception):
    """A call without a whole reply.

    Args:
        reason: Why.
        unreachable: Whether nobody was found at the address.
        again: Whether another call may end otherwise.
    """

    def __init__(self, reason: str, *, unreachable: bool = False, again: bool = True) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.again = again


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Client:
    """Connections to one address.

    Args:
        address: Where.
        key: Sent as the bearer token.
        headers: Sent with every call, over the SDK's own.
        timeout_s: Most seconds for a whole reply.

    Raises:
        EnvironmentProblem: The proxy that the environment names cannot be used.
    """

    def __init__(self, address: Address, key: str, headers: Mapping[str, str], timeout_s: float) -> None:
        import openai

        self.address = address
        self._key, self._headers, self._timeout_s = key, dict(headers), timeout_s
        self._proxy = find_proxy(address)
        try:
            transport = openai.DefaultHttpxClient(
                timeout=openai.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
                follow_redirects=False,
                event_hooks={"request": [self._prepare], "response": [self._guard]},
            )
        except (ValueError, ImportError) as error:
            raise EnvironmentProblem(
                f"the proxy {'' if self._proxy is None else self._proxy[0]!r} of the environment cannot be used: "
                f"{type(error).__name__}",
                place=address.shown,
                remedy="mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY",
            ) from None
        self._sdk = openai.OpenAI(
            api_key=NO_KEY,
            base_url=address.base,
            default_query=dict(address.query),
            max_retries=0,
            http_client=transport,
        )

    def post(self, model: str, body: Mapping[str, Any]) -> HttpReply:
        """Send a chat completion request.

        Raises:
            LostError: There is no whole reply.
        """
        import openai

        fields = {name: value for name, value in body.items() if name != "messages"}
        try:
            response = self._sdk.chat.completions.with_raw_response.create(
                model=model, messages=body["messages"], extra_body=fields
            ).http_response
        except openai.APIStatusError as error:
            response = error.response
        except openai.APIConnectionError as error:
            raise self._lost(error) from None
        return HttpReply(response.status_code, response.content, response.headers)

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def _prepare(self, request: Any) -> None:
        request.extensions["reasrm_deadline"] = time.monotonic() + self._timeout_s
        request.headers["authorization"] = f"Bearer {self._key}"
        for name, value in self._headers.items():
            request.headers[name] = value

    def _guard(self, response: Any) -> None:
        for name in set(response.headers) - _READ:
            del response.headers[name]
        response.iter_bytes = partial(self._limited, response.iter_bytes, response.request)

    def _limited(self, iter_bytes: Any, request: Any, chunk_size: int | None = None) -> Iterator[bytes]:
        num_bytes = 0
        for chunk in iter_bytes(chunk_size):
            num_bytes += len(chunk)
            if num_bytes > MOST_BYTES:
                raise LostError(f"the reply is larger than {MOST_BYTES >> 20} MiB", again=False)
            if time.monotonic() > request.extensions["reasrm_deadline"]:
                raise LostError(f"the reply was not complete after {self._timeout_s:g} s")
            yield chunk

    def _lost(self, error: Any) -> LostError:
        cause = error.__cause__
        kind = type(cause).__name__
        reason = str(error) if cause is None else f"{error} ({kind}: {cause})"
        if kind in ("ReadTimeout", "WriteTimeout"):
            reason = f"no answer within {self._timeout_s:g} s"
        if self._proxy is not None:
            reason += f", through the proxy {self._proxy[0]}"
        return LostError(reason, unreachable=kind in ("ConnectError", "ConnectTimeout", "ProxyError"))
