"""Running `reasrm` as a user does: a process of its own, flags, exit codes, the last line of stdout."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def summary(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON object on the last line of stdout."""
    loaded: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return loaded


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
