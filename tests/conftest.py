"""What all tests share: the place of real files, the shape of every refusal, the slow tests of `make check`."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from reasrm import models
from reasrm.errors import EnvironmentProblem, ReasrmError
from tests.refusals import misshapen

ROOT = Path(__file__).resolve().parents[1]
for name, value in (("OMP_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "PASSIVE"), ("HF_HUB_OFFLINE", "1")):
    os.environ.setdefault(name, value)  # as `make` has it, before anything imports torch
_misshapen: list[str] = []


@pytest.fixture
def real_data() -> Path:
    """The folder of real benchmark files; tests that need it skip where it is absent."""
    path = Path(os.environ.get("REASRM_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real benchmark files not found at {path}; set REASRM_REAL_DATA")
    return path


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The name of a real language model; tests that need it skip where it was not fetched."""
    try:
        models.find("smollm2")
    except EnvironmentProblem as error:
        pytest.skip(str(error))
    return "smollm2"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--slow-from`."""
    parser.addoption(
        "--slow-from",
        type=float,
        metavar="SECONDS",
        help="name tests without the mark `slow` from this long",
    )


def pytest_configure() -> None:
    """Look at the shape of every error that this process makes."""
    make = ReasrmError.__init__

    @functools.wraps(make)
    def made(error: ReasrmError, *args: Any, **kwargs: Any) -> None:
        make(error, *args, **kwargs)
        if problem := misshapen(error):
            _misshapen.append(problem)

    ReasrmError.__init__ = made  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Fail a test in which an error was made that tells a user too little."""
    _misshapen.clear()
    yield
    assert not _misshapen, "\n".join(_misshapen)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what is too slow for `make check`: a hint, no failure, for seconds depend on the machine."""
    least = config.getoption("--slow-from")
    if least is None:
        return
    seconds: dict[str, float] = {}
    for report in terminalreporter.getreports("") + terminalreporter.getreports("passed"):
        if "slow" not in report.keywords:
            seconds[report.nodeid] = seconds.get(report.nodeid, 0.0) + report.duration
    slow = sorted(((s, name) for name, s in seconds.items() if s >= least), reverse=True)
    if slow:
        terminalreporter.section(f"from {least:g} s: quicker, or marked `slow`?")
        for taken, name in slow:
            terminalreporter.line(f"{taken:6.1f} s  {name}")
