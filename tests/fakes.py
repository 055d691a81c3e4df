"""Hand-written stand-ins: a chat endpoint on loopback that misbehaves on schedule, and a backend."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from reasrm.requests import Completion, PromptMessage, Request, SamplingParams, Span

Fault = Literal["429", "500", "timeout", "reset", "half_closed", "malformed"]
FAULTS: tuple[Fault, ...] = ("429", "500", "timeout", "reset", "half_closed", "malformed")
RETRY_AFTER_S = 0.05


def ask(request_id: str, text: str | None = None, **sampling: Any) -> Request:
    """Return a request with one user message (its id, unless a text is given), all of it untrusted."""
    message = PromptMessage("user", (Span(request_id if text is None else text, trusted=False),))
    return Request(request_id, (message,), SamplingParams(**sampling))


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: dict[str, Any] | bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def chat(text: str | None, *, finish_reason: str | None = "stop", **message: Any) -> Reply:
    """Return a chat completion as servers send it."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Reply(body={"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})


def refuse(status: int, message: str, **headers: str) -> Reply:
    """Return an error as servers send it."""
    return Reply(status, {"error": {"message": message, "type": "invalid_request_error"}}, headers)


def echo(payload: dict[str, Any]) -> Reply:
    """Answer with the last message's text."""
    return chat(f"echo {payload['messages'][-1]['content']}")


class Endpoint:
    """A chat endpoint at `/v1/chat/completions`, to be used in a `with` statement.

    Whether a call goes wrong, and how, depends on the seed and on the order of arrival only.

    Args:
        answer: From a request's JSON to the reply of a call that does not go wrong.
        fault_rate: Share of calls that go wrong, each kind of fault as likely as another.
        faults: The kinds.
        hang_s: How long a `timeout` fault says nothing; longer than the client waits.
        seed: Of the schedule.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Reply] = echo,
        *,
        fault_rate: float = 0.0,
        faults: Sequence[Fault] = FAULTS,
        hang_s: float = 2.0,
        seed: int = 0,
    ) -> None:
        self.answer = answer
        self.hang_s = hang_s
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.injected: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._fault_rate = fault_rate
        self._faults = faults
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def arrive(self, payload: dict[str, Any], headers: dict[str, str]) -> Fault | None:
        """Note a call and draw its fault."""
        with self._lock:
            self.calls.append(payload)
            self.headers.append(headers)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            if self._random.random() >= self._fault_rate:
                return None
            fault = self._random.choice(self._faults)
            self.injected[fault] += 1
            return fault

    def leave(self) -> None:
        """Note that a call is over."""
        with self._lock:
            self._at_once -= 1

    def hang(self) -> None:
        """Say nothing for a while, or until the endpoint closes."""
        self._closing.wait(self.hang_s)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what is tested."""


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = endpoint.arrive(payload, {name.lower(): value for name, value in self.headers.items()})
            try:
                endpoint.paths.append(self.path)
                if self.path.partition("?")[0] != "/v1/chat/completions":
                    self._send(refuse(404, "no such path"))
                elif fault is None:
                    self._send(endpoint.answer(payload))
                else:
                    self._misbehave(fault)
            finally:
                endpoint.leave()

        def _misbehave(self, fault: Fault) -> None:
            if fault == "429":
                self._send(refuse(429, "slow down", **{"Retry-After": str(RETRY_AFTER_S)}))
            elif fault == "500":
                self._send(refuse(500, "oops"))
            elif fault == "malformed":
                self._send(Reply(body=b'{"choices": ['))
            elif fault == "timeout":
                endpoint.hang()
                self.close_connection = True
            elif fault == "half_closed":
                self._send(chat("cut"), missing=5)
                self.close_connection = True
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._send(chat("cut"), missing=40)
                self.wfile.flush()
                self.connection.close()  # with a zero linger: a reset, in the middle of the body
                self.close_connection = True

        def _send(self, reply: Reply, missing: int = 0) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - missing])

    return Handler


class FakeBackend:
    """Answers with a verdict that depends on the request's id alone.

    Args:
        text: From a request to its completion text; by default half the ids get `[[A]]`, half `[[B]]`.
        delay_s: Time per request.
        poison: Ids that come back as errors.
        too_long: Ids that come back as too long.
        dies_at: Id at which `generate` itself raises `OSError`, as when nothing can go on.
    """

    name = "fake"

    def __init__(
        self,
        text: Callable[[Request], str] | None = None,
        *,
        delay_s: float = 0.0,
        poison: Collection[str] = (),
        too_long: Collection[str] = (),
        dies_at: str | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.is_closed = False
        self._text = text or fake_verdict
        self._delay_s = delay_s
        self._poison = poison
        self._too_long = too_long
        self._dies_at = dies_at

    @property
    def identity(self) -> dict[str, str]:
        """Constant."""
        return {"model": "fake"}

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield one completion per request, in order."""
        for request in requests:
            self.requests.append(request)
            if self._delay_s:
                time.sleep(self._delay_s)
            if request.id == self._dies_at:
                raise OSError("the fake backend died as planned")
            if request.id in self._poison:
                yield Completion(request.id, finish_reason="error", error=f"request {request.id!r}: poison")
            elif request.id in self._too_long:
                yield Completion(
                    request.id, finish_reason="too_long", error=f"request {request.id!r}: too long"
                )
            else:
                text = self._text(request)
                yield Completion(request.id, text=text, num_tokens=len(text.split()), num_prompt_tokens=1)

    def close(self) -> None:
        """Remember being closed."""
        self.is_closed = True


def fake_verdict(request: Request) -> str:
    """Return a completion whose verdict is a coin thrown by the id."""
    heads = hashlib.sha256(request.id.encode("utf-8", "surrogatepass")).digest()[0] & 1
    return f"Thought about it. [[{'A' if heads else 'B'}]]"
