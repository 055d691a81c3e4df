"""The interruption watch inside one process; what needs a process of its own is in test_processes."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest

from reasrm.durable import DrainExpired, Interruption


def test_handlers_and_timer_are_restored() -> None:
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in watched]
    with Interruption() as interruption:
        assert [signal.getsignal(number) for number in watched] != before
        assert (interruption.stopping, interruption.signum, interruption.exit_code) == (False, None, 0)
        signal.raise_signal(signal.SIGTERM)
        assert (interruption.stopping, interruption.signum, interruption.exit_code) == (True, 15, 143)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 25
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert [signal.getsignal(number) for number in watched] == before
    assert interruption.stopping


def wait_with_drain(drain_s: float) -> None:
    with Interruption(drain_s):
        signal.raise_signal(signal.SIGINT)
        with suppress(Exception):
            time.sleep(10)


@pytest.mark.parametrize("drain_s", [0.0, 0.05])
def test_the_drain_ends_through_broad_handlers(drain_s: float) -> None:
    with pytest.raises(DrainExpired):
        wait_with_drain(drain_s)


def test_outside_the_main_thread_nothing_is_touched() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[bool] = []

    def work() -> None:
        with Interruption() as interruption:
            seen.append(interruption.stopping)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before
