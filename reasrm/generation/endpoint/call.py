"""One request on its way to an endpoint: calls until there is an answer, a reason to give up, or no attempt left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from reasrm.errors import ConfigError, ReasrmError
from reasrm.generation.endpoint.bodies import one_line
from reasrm.generation.endpoint.client import HttpReply, LostError
from reasrm.generation.endpoint.refusals import ADAPTABLE, Refusal, read_refusal
from reasrm.generation.endpoint.replies import RefusedError, UnusableAnswerError, read_reply, served_model
from reasrm.generation.endpoint.waiting import back_off_s, retry_after_s
from reasrm.protocol.escaping import escape_untrusted
from reasrm.requests import Completion, PromptMessage, Request, merge_system

if TYPE_CHECKING:
    from reasrm.generation.endpoint.backend import EndpointBackend

__all__ = ["PendingRequest", "RequestEnd"]

_EndKind = Literal["answer", "own", "row", "barred", "down", "unreachable", "stop"]
_AGAIN = frozenset({408, 409, 425, 429})
_MOST_REDIRECTS = 5
_TOO_LONG_REMEDY = "lower max_tokens, shorten the row, or use a model with a longer context"


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """How a request ended.

    Args:
        kind: `answer` (a completion, a prompt that does not fit, or one that a filter withheld), `own` (this request
            could not be sent), `row` (refused, maybe because of this request), `barred` (403: the key's fault, or the
            row's), `down` (the server failed until no attempt was left), `unreachable` (nobody was there), or `stop`
            (what no row can change).
        completion: What the row gets, if it is the row's own affair.
        refusal: Why; its signature tells whether others ended for the same reason.
        error: What ends the run, with `stop`, if it is not the refusal.
        began: When the last call was made.
    """

    kind: _EndKind
    completion: Completion
    refusal: Refusal | None = None
    error: ReasrmError | None = None
    began: float = 0.0


class PendingRequest:
    """One request, with the calls it has used."""

    def __init__(self, backend: EndpointBackend, request: Request) -> None:
        self.request = request
        self.is_abandoned = False
        self.started = time.monotonic()  # of the call under way
        self.num_calls = 0
        self._num_failed = 0  # what counts against the attempts
        self._num_redirects = 0
        self._wasted: tuple[tuple[int | None, int | None], ...] = ()
        self._without: frozenset[str] = frozenset()  # what is left out of this request on trial
        self._backend = backend

    def run(self) -> RequestEnd:
        """Make calls until the request has ended."""
        backend = self._backend
        while True:
            self.started, self.num_calls = time.monotonic(), self.num_calls + 1
            left_out = backend.terms.left_out | self._without
            body = request_body(self.request, left_out, backend.extra_body)
            try:
                reply = backend.client.post(backend.name, body)
                outcome = self._read(reply, body, left_out)
            except UnusableAnswerError as error:
                self._wasted += (error.usage,) if any(error.usage) else ()
                outcome = self._fail_or_wait("row", str(error), Refusal(200, one_line(str(error))))
            except LostError as error:
                self._wasted += () if error.unreachable else ((None, None),)
                kind: _EndKind = "unreachable" if error.unreachable else "down" if error.again else "row"
                outcome = self._fail_or_wait(
                    kind, str(error), Refusal(0, one_line(str(error))), again=error.again
                )
            if outcome is not None:
                return outcome

    def abandon(self) -> None:
        """Wait no longer for a call that may be billed all the same."""
        self.is_abandoned = True
        self._wasted += ((None, None),)

    def give_up(
        self, kind: _EndKind, reason: str, refusal: Refusal | None = None, finish_reason: str = "error"
    ) -> RequestEnd:
        """Return the outcome of a request without an answer."""
        calls = "1 call" if self.num_calls == 1 else f"{self.num_calls} calls"
        completion = Completion(
            self.request.id,
            finish_reason=finish_reason,
            error_code="refused" if kind == "barred" else "call_failed",
            error=f"request {self.request.id!r}: {self._backend.secrets.clean(reason)} (after {calls})",
            attempts=max(self.num_calls, 1),
            wasted=self._wasted,
        )
        return RequestEnd(kind, completion, refusal, began=self.started)

    def _read(self, reply: HttpReply, body: Mapping[str, Any], left_out: frozenset[str]) -> RequestEnd | None:
        """Return how the request ended; None to call again."""
        if 300 <= reply.status < 400:
            return self._redirected(reply)
        if reply.status >= 400:
            return self._refused(read_refusal(reply.status, reply.body), body, reply)
        try:
            completion, payload = read_reply(reply.body, self.request.id)
        except RefusedError as error:
            return self._refused(error.refusal, body, reply)
        backend, clean = self._backend, self._backend.secrets.clean
        name = served_model(payload)
        try:
            if name is not None:
                backend.terms.see_model(clean(name))
        except ConfigError as error:
            return RequestEnd("stop", completion, error=error)
        backend.terms.learn(left_out)
        said = completion.error
        if completion.finish_reason == "error":
            said = said or "no answer"
            self._wasted += ((completion.num_prompt_tokens, completion.num_tokens),)
            return self.give_up("row", said, Refusal(200, said.partition("; it said")[0]))
        completion = replace(
            completion,
            text=backend.secrets.clean_answer(completion.text),
            reasoning=completion.reasoning and backend.secrets.clean_answer(completion.reasoning),
            error=None if said is None else clean(said),
            attempts=self.num_calls,
            wasted=self._wasted,
        )
        return RequestEnd("answer", completion, began=self.started)

    def _refused(self, refusal: Refusal, body: Mapping[str, Any], reply: HttpReply) -> RequestEnd | None:
        """Read a refusal: adapt and call again, wait and call again, or end."""
        own = refusal.without(" ".join(message.text for message in self.request.messages))
        status = own.status
        reason = f"status {status}: {refusal.reason}"
        if own.is_too_long:
            return self.give_up("answer", f"{reason}; {_TOO_LONG_REMEDY}", refusal, "too_long")
        if own.is_filtered:
            error = (
                f"withheld by the endpoint's content filter: {self._backend.secrets.clean(refusal.reason)}"
            )
            withheld = Completion(
                self.request.id,
                finish_reason="content_filter",
                error=error,
                attempts=self.num_calls,
                wasted=self._wasted,
            )
            return RequestEnd("answer", withheld, refusal, began=self.started)
        if status in (401, 402, 407) or own.is_out_of_quota:
            return self.give_up("stop", reason, refusal)
        if status == 403:  # with a time to wait, it is a rate limit
            may_wait = retry_after_s(reply.headers) is not None
            return self._fail_or_wait("barred", reason, refusal, again=may_wait, headers=reply.headers)
        if status in ADAPTABLE or status == 200:
            without = own.leave_out(body) - self._without
            if without:
                self._without |= without
                return None
        if status in (404, 405, 410):
            return self.give_up("down" if self._backend.has_answered else "stop", reason, refusal)
        if status in _AGAIN or status >= 500 or status == 200:
            return self._fail_or_wait("down", reason, refusal, headers=reply.headers)
        return self.give_up("row", reason, refusal)

    def _redirected(self, reply: HttpReply) -> RequestEnd | None:
        """Go on at another address of the same server; another host only if the user said so."""
        self._num_redirects += 1
        location = reply.headers.get("location", "")
        error = self._backend.redirect(location, is_loop=self._num_redirects > _MOST_REDIRECTS)
        if error is None:
            return None
        return RequestEnd("stop", Completion(self.request.id, finish_reason="error"), error=error)

    def _fail_or_wait(
        self,
        kind: _EndKind,
        reason: str,
        refusal: Refusal | None = None,
        *,
        again: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> RequestEnd | None:
        """Wait before the next call, or end: none is left, or the server asks for more time than a call may take."""
        self._num_failed += 1
        asked_s = retry_after_s(headers or {})
        backend = self._backend
        too_late = asked_s is not None and asked_s > backend.timeout_s
        if not again or too_late or backend.is_halted or self._num_failed >= backend.attempts:
            return self.give_up(kind, reason, refusal)
        self.started = float("inf")
        time.sleep(back_off_s(self._num_failed) if asked_s is None else asked_s)
        return None


def request_body(request: Request, left_out: frozenset[str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent, besides the model's name.

    `top_p` is sent where it cuts anything, `seed` where something is drawn.

    Args:
        request: What is asked.
        left_out: What the endpoint does not take, as `Terms` names it.
        extra: Fields that the user adds.
    """
    params, options = request.sampling, dict(request.template_options)
    messages: Sequence[PromptMessage] = request.messages
    if "system" in left_out:
        messages = merge_system(messages)
    body: dict[str, Any] = {"messages": escape_untrusted(messages, request.structural)}
    body["max_completion_tokens" if "max_tokens" in left_out else "max_tokens"] = params.max_tokens
    if "temperature" not in left_out:
        body["temperature"] = params.temperature
    if params.top_p != 1 and "top_p" not in left_out:
        body["top_p"] = params.top_p
    if (params.temperature > 0 or "temperature" in left_out) and "seed" not in left_out:
        body["seed"] = params.seed
    if options and "chat_template_kwargs" not in left_out:
        body["chat_template_kwargs"] = options
    for name, value in extra.items():
        is_both = isinstance(value, Mapping) and isinstance(body.get(name), Mapping)
        body[name] = {**body[name], **value} if is_both else value
    return body
