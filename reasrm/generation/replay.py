"""The backend without a model: each request brings what some judge once answered."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from reasrm.requests import Completion, Request

__all__ = ["ReplayBackend"]


class ReplayBackend:
    """Answers every request with its own recording, one at a time and in order."""

    name = "replay"

    @property
    def identity(self) -> dict[str, str]:
        """The same for all runs: what is replayed comes with the rows."""
        return {"model": "replay"}

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield the recordings; a request without one comes back as an error."""
        for request in requests:
            yield _replay(request)

    def close(self) -> None:
        """Nothing to release."""


def _replay(request: Request) -> Completion:
    recorded = request.recorded
    if recorded is None:
        return Completion(
            request.id,
            finish_reason="error",
            error=f"request {request.id!r}: nothing was recorded; judge it with a model",
        )
    return Completion.replayed(request.id, recorded)
