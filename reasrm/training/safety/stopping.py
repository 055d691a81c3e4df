"""SIGINT and SIGTERM while a stage works: before training they end it at once, in training after the step's checkpoint.

A second signal ends the process at once; the checkpoints so far are whole. Nothing here imports torch, so that a
command can watch from its first moment on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["CONTINUE", "Interrupted", "Stop"]

CONTINUE = "run the same command again with --resume"


class Interrupted(KeyboardInterrupt):
    """A signal ended the process before there was anything to save.

    Args:
        signum: Which.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signum)


@dataclass(slots=True)
class Stop:
    """Whether the process was asked to stop.

    Args:
        say: Called with a sentence when a signal is taken note of.

    Attributes:
        signum: The signal that arrived, or None.
    """

    say: Callable[[str], None] = lambda text: None
    signum: int | None = None
    _training: bool = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take note of signals; in the main thread only, where they arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let a step that has begun end, and its checkpoint be written, before a signal takes effect."""
        self._training = True
        try:
            yield
        finally:
            self._training = False

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            os._exit(128 + signum)
        self.signum = signum
        if not self._training:
            raise Interrupted(signum)
        self.say(
            f"{signal.Signals(signum).name}: stopping after this step, with a checkpoint; once more: at once"
        )
