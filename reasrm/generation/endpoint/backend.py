"""The pool of calls: requests pulled when there is room, completions as they come, the end of what cannot go on."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urljoin, urlsplit

from reasrm.errors import ConfigError, EnvironmentProblem, ReasrmError
from reasrm.generation.endpoint.call import PendingRequest, RequestEnd
from reasrm.generation.endpoint.client import Client
from reasrm.generation.endpoint.keys import (
    NO_KEY,
    Secrets,
    check_extra_body,
    check_headers,
    find_key,
    find_proxy,
    read_address,
)
from reasrm.generation.endpoint.patience import Patience
from reasrm.generation.endpoint.terms import Terms
from reasrm.hashing import canonical_json
from reasrm.requests import Completion, Request

__all__ = ["EndpointBackend"]

_LOG = logging.getLogger("reasrm")
_DRAIN_S = 30.0
_GRACE_S = 10.0
_FEWEST = 6  # requests of three rows in both orders: two bad rows at the beginning stop no run
_REMEDIES = {
    401: "the key is not accepted; set OPENAI_API_KEY",
    402: "the account has no money left; pay",
    403: "the key may not use this model; set another OPENAI_API_KEY",
    404: "check the model's name and the base URL (it usually ends in /v1)",
    405: "check the base URL (it usually ends in /v1)",
    407: "put user and password into the proxy's address in HTTP_PROXY",
    429: "the quota is used up; raise it, or wait for it",
}
_CONFIGURED = frozenset({401, 403, 404, 405, 410})  # before any answer: the user's own settings are wrong
_AGAIN = "then run the same command again"


class EndpointBackend:
    """A model behind a chat completions endpoint.

    Args:
        model: The model's name at the endpoint.
        base_url: Address up to `/v1`, a query such as `?api-version=…` included; by default `OPENAI_BASE_URL`, else
            OpenAI's own.
        concurrency: Requests in flight.
        timeout_s: Most seconds for a whole answer, per attempt.
        attempts: Most calls per request, besides those that find out which parameters the endpoint takes.
        headers: Sent with every call; a value `env:NAME` is read from the environment. Values are kept secret.
        extra_body: Fields of every request besides ours, a mapping or JSON. Not secret.
        follow_redirects: Whether another host that the endpoint redirects to is asked, without key and headers.

    Raises:
        ConfigError: If the address, key, a header or the body is not usable, or OpenAI is asked without a key.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        concurrency: int = 16,
        timeout_s: float = 600.0,
        attempts: int = 5,
        headers: Mapping[str, str] | None = None,
        extra_body: str | Mapping[str, Any] | None = None,
        follow_redirects: bool = False,
    ) -> None:
        if concurrency < 1 or attempts < 1 or not 0 < timeout_s < float("inf"):
            raise ConfigError(
                f"concurrency is {concurrency}, attempts {attempts}, timeout_s {timeout_s}",
                remedy="all three must be positive",
            )
        address = read_address(base_url)
        self.name, self.timeout_s, self.attempts = model, timeout_s, attempts
        self._key, self._headers = find_key(address), check_headers(headers or {})
        self.extra_body = check_extra_body(extra_body)
        proxy = find_proxy(address)
        known = [] if self._key == NO_KEY else [self._key]
        self.secrets = Secrets([*known, *self._headers.values(), *(() if proxy is None else (proxy[1],))])
        self.base_url = address.shown
        kept = {"base URL": self.base_url, "model's name": model, "extra body": self._shown_body()}
        for what, text in kept.items():
            if self.secrets.clean_answer(text) != text:
                raise ConfigError(
                    f"the {what} holds the key, which would end up in results", remedy="leave it out"
                )
        self.terms = Terms(model, address)
        self._address, self._concurrency, self._follow_redirects = address, concurrency, follow_redirects
        self._patience = Patience(self.base_url, max(2 * concurrency, _FEWEST), self._reason_to_stop)
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._old_clients: list[Client] = []

    @property
    def identity(self) -> dict[str, str]:
        """The model's name and what is sent beside it. The address and what serves there is kept by `attach`."""
        extra = {"extra_body": self._shown_body()} if self.extra_body else {}
        return {"model": self.name, "engine": "endpoint", **extra}

    @property
    def client(self) -> Client:
        """The connections, opened when first needed."""
        with self._lock:
            if self._client is None:
                self._client = Client(self._address, self._key, self._headers, self.timeout_s)
            return self._client

    @property
    def has_answered(self) -> bool:
        """Whether any request was answered."""
        return self._patience.has_answered

    @property
    def is_halted(self) -> bool:
        """Whether a run is ending, so that nothing is sent again."""
        return self._halt.is_set()

    def attach(
        self,
        recorded: Mapping[str, Any],
        note: Callable[[Mapping[str, Any]], None],
        *,
        resumed: bool,
        allow_other: bool = False,
    ) -> list[str]:
        """Keep address, served model and refused parameters with a run; see `Terms.attach`."""
        said = self.terms.attach(recorded, note, resumed=resumed, allow_other=allow_other)
        self._patience.answered_before = resumed and bool(recorded.get("served_models"))
        return said

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions as they arrive, pulling requests only when there is room in flight.

        Failures that may be the endpoint's are held back until it is known (`Patience`). When the run cannot go on,
        answers under way are still yielded, for up to half a minute, before the error is raised. Closing the iterator
        drops what has not been sent; answers still under way are abandoned.

        Raises:
            ConfigError: If the endpoint refuses key or model before it ever gave an answer, or is not the one that an
                earlier run asked.
            EnvironmentProblem: If no row can be answered any more: key or quota refused, nobody there, or the first
                requests, twice the concurrency, all fail in the same way.
        """
        self._halt.clear()
        pool = _Pool(self)
        source = iter(requests)
        try:
            while True:
                while len(pool.in_flight) < self._concurrency and (request := next(source, None)) is not None:
                    pool.start(request)
                if not pool.in_flight:
                    break
                outcome = pool.wait()
                self.terms.pass_on()
                if outcome.kind == "stop":
                    raise _Stopped(self._reason_to_stop(outcome))
                try:
                    released = self._patience.take(outcome)
                except ReasrmError as error:
                    raise _Stopped(error) from None
                yield from released
            yield from self._patience.end()
        except _Stopped as stopped:
            self._halt.set()
            yield from pool.drain(_DRAIN_S)
            raise stopped.error from None
        finally:
            pool.dismiss()

    def close(self) -> None:
        """Close the connections. A later request opens them again."""
        with self._lock:
            clients, self._old_clients = [*self._old_clients, self._client], []
            self._client = None
        for client in clients:
            if client is not None:
                client.close()

    def redirect(self, location: str, *, is_loop: bool) -> ReasrmError | None:
        """Move to the address that the endpoint names; return why not.

        The key and the extra headers go along only within one server, from http to https at most.
        """
        old = self.client
        try:
            location = urljoin(f"{old.address.base}/chat/completions", location)
            target = read_address(location)
            is_chat = urlsplit(location).path.rstrip("/").endswith("/chat/completions")
        except ValueError:
            target, is_chat = None, False
        if target is None or not is_chat or is_loop:
            shown = "an unusable address" if target is None else self.secrets.clean(target.shown)
            return EnvironmentProblem(
                f"the endpoint redirects to {shown}{' again and again' if is_loop else ''}, which answers no chat",
                place=self.base_url,
                remedy="check the base URL (it usually ends in /v1), and whether a login page is in between",
            )
        target = replace(target, query=target.query or old.address.query)
        if target == old.address:
            return None  # another thread has moved already
        secured = ("https", old.address.host, 443)
        same = target.origin in (old.address.origin, secured)
        if not same and not self._follow_redirects:
            return EnvironmentProblem(
                f"the endpoint redirects to another server, {self.secrets.clean(target.shown)}",
                place=self.base_url,
                remedy="name that address if you trust it, or pass --follow-redirects to ask it without the key",
            )
        key, headers = (self._key, self._headers) if same else (NO_KEY, {})
        with self._lock:
            if self._client is old:
                self._client = Client(target, key, headers, self.timeout_s)
                self._old_clients.append(old)
                _LOG.warning("warning: %s redirects to %s", self.base_url, self.secrets.clean(target.shown))
        return None

    def _shown_body(self) -> str:
        return canonical_json(self.extra_body).decode()

    def _reason_to_stop(self, outcome: RequestEnd) -> ReasrmError:
        if outcome.error is not None:
            return outcome.error
        status = 0 if outcome.refusal is None else outcome.refusal.status
        kind = ConfigError if status in _CONFIGURED and not self.has_answered else EnvironmentProblem
        return kind(
            f"the endpoint refuses the model {self.name!r}: {outcome.completion.error}",
            place=self.base_url,
            remedy=f"{_REMEDIES.get(status, 'mend what the reason names')}, {_AGAIN}",
        )


class _Stopped(Exception):
    """The run cannot go on."""

    def __init__(self, error: ReasrmError) -> None:
        super().__init__(str(error))
        self.error = error


class _Pool:
    """Daemon threads that make calls. Used by the thread that consumes the completions.

    Daemons, not an executor: an abandoned call must not hold up the interpreter's exit.
    """

    def __init__(self, backend: EndpointBackend) -> None:
        self.in_flight: set[PendingRequest] = set()
        self._backend = backend
        self._waiting: SimpleQueue[PendingRequest | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[PendingRequest, RequestEnd]] = SimpleQueue()
        self._num_threads = 0
        self._patience_s = backend.timeout_s + min(backend.timeout_s, _GRACE_S)

    def start(self, request: Request) -> None:
        """Send a request."""
        call = PendingRequest(self._backend, request)
        self.in_flight.add(call)
        self._waiting.put(call)
        if len(self.in_flight) > self._num_threads:
            threading.Thread(target=self._work, daemon=True).start()
            self._num_threads += 1

    def wait(self, longest_s: float = float("inf")) -> RequestEnd:
        """Return the next outcome, by force where a call is not over long after its time.

        Raises:
            Empty: Nothing came for `longest_s`.
        """
        until = time.monotonic() + longest_s
        while True:
            now = time.monotonic()
            over = next((call for call in self.in_flight if now - call.started > self._patience_s), None)
            if over is not None:
                return self._abandon(over)
            if now >= until:
                raise Empty
            with contextlib.suppress(Empty):
                call, outcome = self._done.get(timeout=min(1.0, self._patience_s / 4, until - now))
                if call in self.in_flight:
                    self.in_flight.discard(call)
                    return outcome

    def drain(self, longest_s: float) -> Generator[Completion, None, None]:
        """Yield the answers that are still under way, and no failure."""
        self._forget_waiting()
        until = time.monotonic() + longest_s
        with contextlib.suppress(Empty):
            while self.in_flight:
                outcome = self.wait(max(0.0, until - time.monotonic()))
                if outcome.kind == "answer":
                    yield outcome.completion

    def dismiss(self) -> None:
        """Let the threads end."""
        self._forget_waiting()
        for _ in range(self._num_threads):
            self._waiting.put(None)

    def _forget_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while (call := self._waiting.get_nowait()) is not None:
                self.in_flight.discard(call)

    def _abandon(self, call: PendingRequest) -> RequestEnd:
        call.abandon()
        self.in_flight.discard(call)
        self._num_threads -= 1  # its thread ends when the call does
        return call.give_up("down", f"no whole answer within {self._backend.timeout_s:g} s")

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            call.started = time.monotonic()
            try:
                outcome = call.run()
            except ReasrmError as error:
                outcome = RequestEnd("stop", Completion(call.request.id, finish_reason="error"), error=error)
            except Exception as error:
                outcome = call.give_up("own", f"{type(error).__name__}: {error}")
            if call.is_abandoned:
                return
            self._done.put((call, outcome))
