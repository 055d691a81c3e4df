"""What tests of the experiments on a real model share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.commands import here, summary


def in_process(words: list[str], measured: Path) -> tuple[int, dict[str, Any], float | None]:
    """The same command without the start of a process; that one has a test of its own."""
    done = here(*words)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode, summary(done), None
