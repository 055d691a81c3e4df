"""A model's replies kept by the hash of their question, and what they cost.

A reply is a durable line before anything depends on it, so a question costs one call in any order of rows, by any
number of runs, and after any interruption. Failures are never kept.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reasrm.durable import DurableMap
from reasrm.durable.log import unseal
from reasrm.errors import LockedError
from reasrm.requests import Completion

__all__ = ["AnswerCache", "Cost"]

_LOG = logging.getLogger("reasrm")
_VERSION = 1


@dataclass(slots=True)
class Cost:
    """What asking has cost since the asker was made.

    Args:
        questions: Questions put to the asker.
        cached: Of these, answered without a call: kept from before, or asked twice in one batch.
        calls: Calls to the model, those that the backend made again included.
        prompt_tokens: Of the replies whose tokens were counted.
        generated_tokens: Likewise.
        uncounted: Replies whose tokens nobody counted, failed calls among them.
        failures: Questions without an answer, by reason.
    """

    questions: int = 0
    cached: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    uncounted: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, reply: Completion) -> None:
        """Count a reply."""
        self.calls += reply.attempts
        self.prompt_tokens += reply.num_prompt_tokens or 0
        self.generated_tokens += reply.num_tokens or 0
        self.uncounted += reply.num_prompt_tokens is None or reply.num_tokens is None

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object; `completion_tokens` is what every summary calls the generated ones."""
        numbers: dict[str, Any] = {name: getattr(self, name) for name in Cost.__slots__ if name != "failures"}
        numbers["completion_tokens"] = self.generated_tokens
        return {**numbers, "failures": dict(sorted(self.failures.items()))}

    def __str__(self) -> str:
        """Render for a log."""
        uncounted = f" ({self.uncounted} replies not counted)" if self.uncounted else ""
        failed = ", ".join(f"{number} {reason}" for reason, number in sorted(self.failures.items()))
        return (
            f"{self.questions:,} questions, {self.cached:,} answered from the cache; {self.calls:,} calls, "
            f"{self.prompt_tokens:,} prompt and {self.generated_tokens:,} generated tokens{uncounted}"
            f"{f'; without an answer: {failed}' if failed else ''}"
        )


class AnswerCache:
    """Replies by the hash of their question, in a folder that several processes may share.

    Each process appends to a file of its own, the first that nobody holds, and at its start reads them all; what the
    others find out meanwhile it does not see. Replies are held in memory.

    Args:
        folder: Where the files are; made if absent.
        model: Who answers, as the backend's `identity`: answers of one model are no answers of another.

    Raises:
        ConfigError: The folder holds something else under these names.
        EnvironmentProblem: It cannot be written.
    """

    def __init__(self, folder: Path, model: Mapping[str, str]) -> None:
        self.model = dict(model)
        self._replies: dict[str, str] = {}
        self._journal = _first_free(folder)
        for warning in self._journal.start({"answers": _VERSION}).warnings:
            _LOG.warning("%s", warning)
        for path in sorted(folder.glob("answers-*.jsonl")):
            for record in _records(path):
                self._replies.setdefault(record["id"], record["reply"])

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> str | None:
        """Return a kept reply."""
        return self._replies.get(key)

    def put(self, key: str, reply: str, completion: Completion) -> None:
        """Keep a reply that could be read. Once this returns, a killed process does not lose it."""
        if not self._journal.done(key):
            tokens = (completion.num_prompt_tokens, completion.num_tokens)
            self._journal.put(
                key, {"reply": reply, "prompt_tokens": tokens[0], "generated_tokens": tokens[1]}
            )
        self._replies[key] = reply

    def close(self) -> None:
        """Sync, close and unlock. Calling it twice is harmless."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _first_free(folder: Path) -> DurableMap:
    for number in count():
        try:
            return DurableMap(folder / f"answers-{number}.jsonl", kind="answers")
        except LockedError:
            continue
    raise AssertionError


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what can be read of a file that another process may be writing."""
    with open(path, "rb") as stream:
        for line in stream:
            record = unseal(line)
            if record is not None:
                yield record
