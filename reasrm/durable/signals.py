"""Stopping in order: the first SIGINT or SIGTERM asks, a deadline insists, a second signal ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["DrainExpired", "Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DrainExpired(BaseException):
    """Requests in flight took longer than the drain allows. No `except Exception` may swallow it."""


class Interruption:
    """Watches for SIGINT and SIGTERM while it is entered; does nothing outside the main thread.

    After the first signal `stopping` is true and work should end; after `drain_s` more seconds
    `DrainExpired` is raised in the main thread. A second signal ends the process at once with 128 + its
    number; records are already written by then.

    Args:
        drain_s: Seconds that work in flight may take after the first signal.
        on_signal: Called with the signal's number when one arrives, before it acts.
    """

    def __init__(self, drain_s: float = 30.0, on_signal: Callable[[int], None] | None = None) -> None:
        self.signum: int | None = None
        self._drain_s = drain_s
        self._on_arrival = on_signal
        self._previous: dict[int, Any] = {}

    @property
    def stopping(self) -> bool:
        """Whether a signal has arrived."""
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """The exit code that tells of the signal: 130 for SIGINT, 143 for SIGTERM; 0 without one."""
        return 0 if self.signum is None else 128 + self.signum

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._on_signal)
            self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_deadline)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous and self.stopping:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._on_arrival is not None:
            self._on_arrival(signum)
        if self.stopping:
            os._exit(128 + signum)
        self.signum = signum
        if self._drain_s > 0:
            signal.setitimer(signal.ITIMER_REAL, self._drain_s)
        else:
            raise DrainExpired

    def _on_deadline(self, signum: int, frame: FrameType | None) -> None:
        raise DrainExpired
