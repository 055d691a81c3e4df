"""Any OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp or OpenVINO servers, or a hosted model.

Requests run in a pool of daemon threads over one client of the openai SDK. The SDK retries 408, 409, 429,
5xx, timeouts and broken connections with back-off and honours `Retry-After` up to two minutes. What it lacks
is added here, out of the same budget of attempts: a 200 whose body is no usable answer is asked again, and a
longer `Retry-After` is waited for as long as a request may take.

An endpoint takes text, not ids. Untrusted text is escaped (`reasrm.protocol.escaping`), which is weaker than
the encoder of the local backends. Options of the chat template go along as `chat_template_kwargs`, which vLLM
and SGLang servers know; others may refuse or ignore them. The key comes from the environment variable
`OPENAI_API_KEY` only and is never logged.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import orjson

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.protocol.escaping import escape_untrusted
from reasrm.requests import Completion, Request

__all__ = ["EndpointBackend"]

_OPENAI = "https://api.openai.com/v1"
_CONNECT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_FINISH_REASONS = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "content_filter": "content_filter",
}
_BUSY_STATUSES = frozenset({429, 503})
_TOO_LONG_STATUSES = frozenset({400, 413, 422})
_UNUSABLE_STATUSES = {
    401: "the key is not accepted; set OPENAI_API_KEY",
    403: "the key may not use this model; set another OPENAI_API_KEY",
    404: "check the model's name and the base URL (it usually ends in /v1)",
}
_TOO_LONG_REMEDY = "lower max_tokens, shorten the row, or use a model with a longer context"
_TOO_LONG = re.compile(
    r"context.{0,3}(length|window|size)|context_length|max_model_len|maximum (model|input) length"
    r"|(input|prompt|inputs).{0,60}(too long|longer than|must be <=?|must have less than)",
    re.IGNORECASE | re.DOTALL,
)


class _UnusableAnswerError(Exception):
    """A 200 that holds no answer."""


class EndpointBackend:
    """A model behind a chat completions endpoint.

    Args:
        model: The model's name at the endpoint.
        base_url: Address up to `/v1`; by default `OPENAI_BASE_URL`, else OpenAI's own.
        concurrency: Requests in flight.
        timeout_s: Longest silence to wait through, per attempt.
        attempts: Most calls per request.

    Raises:
        ConfigError: If the address is not usable, or is OpenAI's and there is no key.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        concurrency: int = 16,
        timeout_s: float = 600.0,
        attempts: int = 5,
    ) -> None:
        if concurrency < 1 or attempts < 1 or timeout_s <= 0:
            raise ConfigError(
                f"concurrency is {concurrency}, attempts {attempts}, timeout_s {timeout_s}",
                remedy="all three must be positive",
            )
        self.name = model
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI).rstrip("/")
        self._key = _find_key(self.base_url)
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._limit_name = "max_tokens"
        self._has_answered = False
        self._num_unreachable = 0  # calls in a row that found nobody
        self._client: Any = None

    @property
    def identity(self) -> dict[str, str]:
        """The model's name. Not its address, so that a restarted server can go on; what weights serve is not known."""
        return {"model": self.name, "engine": "endpoint"}

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions as they arrive, pulling requests only when there is room in flight.

        Closing the iterator drops what has not been sent; answers still under way are abandoned.

        Raises:
            ConfigError: If the endpoint refuses key or model before it ever gave an answer.
            EnvironmentProblem: If it cannot be reached and never gave an answer, or has gone away: more calls in a
                row than twice the concurrency found nobody.
        """
        self._connect()
        waiting: SimpleQueue[Request | None] = SimpleQueue()
        done: SimpleQueue[Completion | Exception] = SimpleQueue()
        source = iter(requests)
        num_in_flight = num_threads = 0
        try:
            while True:
                while num_in_flight < self._concurrency and (request := next(source, None)) is not None:
                    waiting.put(request)
                    num_in_flight += 1
                    if num_in_flight > num_threads:
                        # Daemons, not an executor: an abandoned call must not hold up the interpreter's exit.
                        threading.Thread(target=self._work, args=(waiting, done), daemon=True).start()
                        num_threads += 1
                if num_in_flight == 0:
                    return
                outcome = done.get()
                num_in_flight -= 1
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            with contextlib.suppress(Empty):
                while True:
                    waiting.get_nowait()
            for _ in range(num_threads):
                waiting.put(None)

    def close(self) -> None:
        """Close the connections. A later request opens them again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connect(self) -> None:
        if self._client is None:
            import openai

            self._client = openai.OpenAI(
                api_key=self._key,
                base_url=self.base_url,
                timeout=openai.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_S)),
                max_retries=self._attempts - 1,
            )

    def _work(self, waiting: SimpleQueue[Request | None], done: SimpleQueue[Completion | Exception]) -> None:
        client = self._client
        while (request := waiting.get()) is not None:
            try:
                done.put(_Call(self, client, request).run())
            except (ConfigError, EnvironmentProblem) as error:
                done.put(error)
            except Exception as error:
                done.put(_failed(request, f"{type(error).__name__}: {error}", 1, self._key))


class _Call:
    """One request on its way, with the attempts it has used."""

    def __init__(self, backend: EndpointBackend, client: Any, request: Request) -> None:
        self._backend = backend
        self._client = client
        self._request = request
        self._used = 0

    def run(self) -> Completion:
        """Call until there is an answer, a reason to give up, or no attempt left."""
        import openai

        backend = self._backend
        while True:
            limit_name = backend._limit_name
            try:
                return self._read(self._send(limit_name))
            except _UnusableAnswerError as error:
                if self._used >= backend._attempts:
                    return self._give_up(str(error))
                time.sleep(min(_FIRST_PAUSE_S * 2 ** (self._used - 1), _LONGEST_PAUSE_S))
            except openai.APIStatusError as error:
                self._count(error)
                if limit_name == "max_tokens" and _wants_other_limit(error):
                    backend._limit_name = "max_completion_tokens"
                elif (pause_s := self._pause_asked_for(error)) is not None:
                    time.sleep(pause_s)
                else:
                    return self._refused(error)
                if self._used >= backend._attempts:
                    return self._refused(error)
            except openai.APIConnectionError as error:
                self._count(error)
                return self._unreachable(error)

    def _send(self, limit_name: str) -> bytes:
        """Call, with as many retries by the SDK as there are attempts left; return the body of a 200."""
        backend, params = self._backend, self._request.sampling
        client = self._client
        if self._used:
            client = client.with_options(max_retries=backend._attempts - self._used - 1)
        options = dict(self._request.template_options)
        response = client.chat.completions.with_raw_response.create(
            model=backend.name,
            messages=escape_untrusted(self._request.messages, self._request.structural),
            temperature=params.temperature,
            top_p=params.top_p,
            seed=params.seed,
            extra_body={"chat_template_kwargs": options} if options else None,
            **{limit_name: params.max_tokens},
        )
        self._used += response.retries_taken + 1
        body: bytes = response.http_response.content
        return body

    def _read(self, body: bytes) -> Completion:
        """Make a completion of a chat completion object.

        Raises:
            _UnusableAnswerError: If there is no answer in it.
        """
        payload = _parse(body)
        choice = _first(payload.get("choices"))
        message = choice.get("message")
        content = message.get("content") if isinstance(message, Mapping) else 0
        if not isinstance(message, Mapping) or not isinstance(content, str | None):
            raise _UnusableAnswerError(f"status 200, but no answer in the body: {_excerpt(body)}")
        self._backend._has_answered = True
        self._backend._num_unreachable = 0
        finish_reason = _FINISH_REASONS.get(str(choice.get("finish_reason")))
        if finish_reason is None:
            return self._give_up(f"the endpoint ended the answer with {choice.get('finish_reason')!r}")
        usage = payload.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        return Completion(
            self._request.id,
            text=content or "",
            finish_reason=finish_reason,
            num_tokens=_count_or_none(usage.get("completion_tokens")),
            num_prompt_tokens=_count_or_none(usage.get("prompt_tokens")),
            reasoning=_text_or_none(message.get("reasoning_content"), message.get("reasoning")),
            attempts=self._used,
        )

    def _count(self, error: Any) -> None:
        """Add the calls that the SDK made before it raised; the last one carries their number."""
        self._used += int(error.request.headers.get("x-stainless-retry-count", 0)) + 1

    def _pause_asked_for(self, error: Any) -> float | None:
        """Return how long to wait if the SDK stopped early because of a long `Retry-After`, else None."""
        if error.status_code not in _BUSY_STATUSES or self._used >= self._backend._attempts:
            return None
        try:
            pause_s = float(error.response.headers.get("retry-after", ""))
        except ValueError:
            return None
        return pause_s if 0 < pause_s <= self._backend._timeout_s else None

    def _refused(self, error: Any) -> Completion:
        status = error.status_code
        if status in _UNUSABLE_STATUSES and not self._backend._has_answered:
            raise ConfigError(
                self._clean(f"the endpoint answers {status} for the model {self._backend.name!r}: {error}"),
                place=self._backend.base_url,
                remedy=_UNUSABLE_STATUSES[status],
            )
        too_long = status in _TOO_LONG_STATUSES and _TOO_LONG.search(str(error))
        if too_long:
            return self._give_up(f"{error}; {_TOO_LONG_REMEDY}", "too_long")
        return self._give_up(str(error))

    def _unreachable(self, error: Any) -> Completion:
        cause = error.__cause__
        reason = f"{error} ({type(cause).__name__}: {cause})" if cause is not None else str(error)
        backend = self._backend
        if type(cause).__name__ == "ConnectError":
            backend._num_unreachable += 1
            if not backend._has_answered or backend._num_unreachable > 2 * backend._concurrency:
                raise EnvironmentProblem(
                    self._clean(f"the endpoint cannot be reached: {reason}"),
                    place=backend.base_url,
                    remedy="check that it runs and that the address is right, then run the same command again",
                )
        return self._give_up(reason)

    def _give_up(self, reason: str, finish_reason: str = "error") -> Completion:
        return _failed(self._request, reason, self._used, self._backend._key, finish_reason)

    def _clean(self, text: str) -> str:
        return text.replace(self._backend._key, "[key]")


def _failed(
    request: Request, reason: str, attempts: int, key: str, finish_reason: str = "error"
) -> Completion:
    calls = "1 call" if attempts == 1 else f"{attempts} calls"
    return Completion(
        request.id,
        finish_reason=finish_reason,
        error=f"request {request.id!r}: {reason.replace(key, '[key]')} (after {calls})",
        attempts=attempts,
    )


def _find_key(base_url: str) -> str:
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(
            f"the base URL {base_url!r} is not an http address",
            remedy="write it like http://localhost:8000/v1",
        )
    if url.username or url.password:
        raise ConfigError(
            "the base URL holds credentials, which would end up in results",
            remedy="put the key into OPENAI_API_KEY",
        )
    key = os.environ.get("OPENAI_API_KEY")
    if not key and url.hostname == "api.openai.com":
        raise ConfigError("OPENAI_API_KEY is not set", place=base_url, remedy="export OPENAI_API_KEY=…")
    return key or "no-key-needed"


def _wants_other_limit(error: Any) -> bool:
    return error.status_code == 400 and "max_completion_tokens" in str(error)


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _UnusableAnswerError(f"status 200, but the body is not JSON: {_excerpt(body)}") from error
    if not isinstance(payload, dict):
        raise _UnusableAnswerError(f"status 200, but the body is no object: {_excerpt(body)}")
    return payload


def _first(choices: object) -> Mapping[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, Mapping) else {}


def _excerpt(body: bytes) -> str:
    return repr(body[:200].decode("utf-8", "replace"))


def _count_or_none(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _text_or_none(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)
