"""Running `reasrm` as a user does: flags, exit codes, the last line of stdout; in this process or one of its own."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from reasrm.cli import app, console
from tests.fakes import Reply, chat

ROOT = Path(__file__).resolve().parents[1]
REASRM = [sys.executable, "-m", "reasrm"]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child: offline, one thread, no key."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", **extra}


def run(*args: str | Path, timeout: float = 120, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [*REASRM, *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(**extra), check=False
    )


def here(*args: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, which costs no start: the same code, stdout and stderr.

    Not for what is about processes: signals, kills, locks, imports, what libraries print, what a run leaves behind.
    """
    words = list(map(str, args))
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("reasrm")
    handler, level = logging.StreamHandler(err), ours.level
    root.addHandler(handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("OPENAI_API_KEY", raising=False)
            for name, value in extra.items():
                patch.setenv(name, value)
            for name, stream in (("stdout", out), ("__stdout__", out), ("stderr", err)):
                patch.setattr(sys, name, stream)
            patch.setattr(sys, "argv", ["reasrm", *words])
            patch.setattr(console, "os", SimpleNamespace(_exit=_leave, devnull=os.devnull))
            app.main()
    except _Left as end:
        code = end.args[0]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        root.removeHandler(handler)
        console.set_quiet(False)
        ours.setLevel(level)
    return subprocess.CompletedProcess(words, code, out.buffer.getvalue().decode(), err.getvalue())


class _Left(BaseException):
    """In the place of `os._exit`, which nothing catches."""


def _leave(code: int) -> NoReturn:
    raise _Left(code)


def start(*args: str | Path, piped: Path | None = None) -> subprocess.Popen[str]:
    """Start a command; `piped` is a file that comes through a pipe as its standard input."""
    command = [*REASRM, *map(str, args)]
    source = None if piped is None else subprocess.Popen(["cat", str(piped)], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        command,
        stdin=None if source is None else source.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    if source is not None and source.stdout is not None:
        source.stdout.close()
    return process


def run_piped(*args: str | Path, piped: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, a file coming through a pipe as its standard input."""
    process = start(*args, piped=piped)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def send(process: subprocess.Popen[str], signum: int) -> None:
    """Kill or stop a command and wait for its end; what is asked to stop says so by its exit code."""
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=120)
    # The interpreter was still starting, has not yet listened, or the command has come to its end meanwhile.
    if "Fatal Python error: init" not in stderr:
        assert process.returncode in (-signum, 128 + signum, 0), (process.returncode, stderr)


def stop_after(metrics: Path, signum: int, *args: str | Path) -> dict[str, Any]:
    """Start a training command, stop it once it has logged a few steps, and return what its last line says."""
    process = start(*args)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes().count(b'"grad_norm"') > 2:
            break
        time.sleep(0.01)
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert process.returncode == said["exit_code"] == 128 + signum, err
    assert said["interrupted"] is True
    assert "--resume" in said["continue"]
    return said


def summary(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON object on the last line of stdout."""
    loaded: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return loaded


ENVELOPE = frozenset(
    ("verb", "command", "outcome", "exit_code", "output", "progress", "seconds", "cost", "money", "reasrm")
)
"""The keys that the last line of every verb has."""


def timeless(said: dict[str, Any]) -> dict[str, Any]:
    """A summary without what differs from run to run."""
    return {name: value for name, value in said.items() if name != "seconds"}


def write_rows(path: Path, count: int, **extra: Any) -> Path:
    """Write labelled pairwise rows with ids q0, q1 and so on."""
    rows = (
        {
            "id": f"q{n}",
            "prompt": f"question {n}",
            "response_a": f"yes {n}",
            "response_b": f"no {n}",
            "label": "A",
        }
        for n in range(count)
    )
    path.write_text("".join(json.dumps({**row, **extra}) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file, each one whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sorted_lines(path: Path) -> list[bytes]:
    """A file's lines, sorted: equal for equal runs, whatever the order of arrival."""
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return sorted(data.splitlines())


def decide(payload: dict[str, Any], verdict: str = "[[{}]]") -> Reply:
    """An endpoint's judgment, a coin thrown by the prompt."""
    text = json.dumps(payload["messages"], sort_keys=True)
    letter = "A" if hashlib.sha256(text.encode()).digest()[0] & 1 else "B"
    return chat(f"Weighed it. {verdict.format(letter)}")
