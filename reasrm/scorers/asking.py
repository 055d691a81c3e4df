"""Questions to a model whose replies are read strictly, and asked again where they cannot be read.

A question ends in one of two ways: with an answer, or with a `Failure` that has a reason. Only answers are kept, under
the hash of everything that the question said and of the model that was asked: a changed wording, text or model asks
anew.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from reasrm.errors import InternalError
from reasrm.hashing import derive_seed, digest
from reasrm.protocol.refusals import is_refusal
from reasrm.requests import Completion, PromptMessage, Request, SamplingParams
from reasrm.scorers.answers import AnswerCache, Cost
from reasrm.scorers.referee import Generate

__all__ = ["MAX_TOKENS", "AskedQuestion", "Asker", "Failure", "FailureReason"]

_LOG = logging.getLogger("reasrm")
MAX_TOKENS = 1024
"""Room for a reply; a model that thinks first needs more."""
_RETRY_TEMPERATURE = 0.7
_KEPT = 1 << 16

FailureReason: TypeAlias = Literal["error", "refusal", "truncated", "unreadable"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that could not be had.

    Args:
        reason: `error` (the call failed or the prompt did not fit), `refusal` (declined, or withheld by a filter),
            `truncated` (cut by the token limit) or `unreadable`; of the last try.
        message: What the backend or the reply said.
        attempts: Calls made.
        fits: Whether the prompt did; if not, that is the text's fault alone.
    """

    reason: FailureReason
    message: str = ""
    attempts: int = 1
    fits: bool = True


@dataclass(frozen=True, slots=True)
class AskedQuestion(Generic[T]):
    """What is asked, and how a reply is read.

    Args:
        messages: The prompt.
        read: From a reply, thinking removed, to its answer; None if it is not readable.
    """

    messages: tuple[PromptMessage, ...]
    read: Callable[[str], T | None]

    def key(self, model: Mapping[str, str]) -> str:
        """Return the hash of everything that decides the answer."""
        said = [[m.role, [[span.trusted, span.text] for span in m.spans]] for m in self.messages]
        return digest([dict(model), said], length=32)


class Asker(Generic[T]):
    """Asks all questions of a batch at once, those without a readable reply again.

    Args:
        name: What request ids begin with.
        ask: `backend.generate`.
        cache: Where answers outlive the process; without it the latest 65,536 live as long as the asker.
        tries: How often a reply is asked for that is unreadable, cut or withheld: first greedy, then sampled. A
            failed call is not made again: the backend has done what could be done.
        max_tokens: Room for a reply, thinking included.

    Attributes:
        failure: Why the last batch got no answer at all; None if it got one, or if all that failed is a single
            question that was answered, only not as asked, which speaks of its text rather than of the model.
    """

    def __init__(
        self, name: str, ask: Generate, cache: AnswerCache | None, *, tries: int, max_tokens: int
    ) -> None:
        if tries < 1:
            raise InternalError(f"tries is {tries}, and a model is asked at least once")
        self.cost = Cost()
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._name, self._ask, self._cache = name, ask, cache
        self._tries, self._max_tokens = tries, max_tokens
        self.failure: str | None = None

    def __call__(self, questions: Sequence[AskedQuestion[T]]) -> list[T | Failure]:
        """Return one answer or failure per question; equal questions share theirs.

        Raises:
            ConfigError: From the backend, if nothing can go on. Answers that came before are kept.
            EnvironmentProblem: Likewise.
        """
        model = {} if self._cache is None else self._cache.model
        keys = [question.key(model) for question in questions]
        found: dict[str, T | Failure] = {}
        waiting: dict[str, AskedQuestion[T]] = {}
        for key, question in zip(keys, questions, strict=True):
            if key in found or key in waiting:
                continue
            answer = self._remember(key, question)
            if answer is None:
                waiting[key] = question
            else:
                found[key] = answer
        self.cost.questions += len(questions)
        self.cost.cached += len(questions) - len(waiting)
        for attempt in range(self._tries):
            self._try(attempt, waiting, found)
            waiting = {key: question for key, question in waiting.items() if _is_unread(found[key])}
        failed = [outcome for key in keys if isinstance(outcome := found[key], Failure)]
        self.cost.failures.update(failure.reason for failure in failed)
        self.failure = None
        if failed:
            last = failed[-1]
            if len(failed) == len(keys) and (len(set(keys)) > 1 or (last.reason == "error" and last.fits)):
                self.failure = last.message
            _LOG.warning(
                "%s: %d of %d without an answer: %s", self._name, len(failed), len(keys), last.message
            )
        return [found[key] for key in keys]

    def _remember(self, key: str, question: AskedQuestion[T]) -> T | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        reply = None if self._cache is None else self._cache.get(key)
        return None if reply is None else question.read(reply)

    def _keep(self, key: str, answer: T) -> None:
        self._kept[key] = answer
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _try(
        self, attempt: int, waiting: Mapping[str, AskedQuestion[T]], found: dict[str, T | Failure]
    ) -> None:
        if not waiting:
            return
        open_ids: dict[str, str] = {}

        def requests() -> Iterator[Request]:
            for number, (key, question) in enumerate(waiting.items()):
                request = self._request(f"{self._name}/{attempt}/{number}", key, question, attempt)
                open_ids[request.id] = key
                yield request

        for reply in self._ask(requests()):
            key = open_ids.pop(reply.request_id)
            self.cost.add(reply)
            found[key] = self._read(key, waiting[key], reply)
        silent = Failure("error", "the backend ended without answering", attempts=0)
        found.update(dict.fromkeys((key for key in waiting if key not in found), silent))
        found.update(dict.fromkeys(open_ids.values(), silent))

    def _request(self, name: str, key: str, question: AskedQuestion[T], attempt: int) -> Request:
        sampling = SamplingParams(
            temperature=_RETRY_TEMPERATURE if attempt else 0.0,
            max_tokens=self._max_tokens,
            seed=derive_seed(key, attempt) % 2**31,
        )
        return Request(id=name, messages=question.messages, sampling=sampling)

    def _read(self, key: str, question: AskedQuestion[T], reply: Completion) -> T | Failure:
        if reply.finish_reason == "too_long":
            return Failure("error", reply.error or "the prompt does not fit", reply.attempts, fits=False)
        if reply.finish_reason == "error":
            return Failure("error", reply.error or "the call failed", reply.attempts)
        if reply.finish_reason == "content_filter":
            return Failure("refusal", reply.error or "the endpoint withheld the reply", reply.attempts)
        if reply.finish_reason == "length":
            return Failure("truncated", f"cut at {self._max_tokens} tokens", reply.attempts)
        if reply.thinking_open and "</think>" not in reply.text:
            return Failure("unreadable", "the prompt opened the thinking, and it never ends", reply.attempts)
        said = reply.text.rpartition("</think>")[2].strip()
        answer = question.read(said)
        if answer is None:
            reason: FailureReason = "refusal" if is_refusal(said) else "unreadable"
            return Failure(reason, reply.error or f"the reply is {said[:200]!r}", reply.attempts)
        if self._cache is not None:
            self._cache.put(key, said, reply)
        self._keep(key, answer)
        return answer


def _is_unread(outcome: object) -> bool:
    return isinstance(outcome, Failure) and outcome.reason != "error"
