"""Commands of `reasrm` as steps of a run on a real model: each in a process of its own, measured, and done once."""

from __future__ import annotations

import ctypes
import datetime as dt
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from experiments.arms import code_hash
from reasrm.cli.console import note
from reasrm.files import write_json_atomic
from reasrm.generation.hf import has_fast_bfloat16
from reasrm.hashing import digest

__all__ = [
    "DTYPES",
    "SPEC",
    "UNREADABLE",
    "Steps",
    "end_with_parent",
    "number_format",
    "run_command",
    "sets",
    "trained_in",
]

DTYPES = ("auto", "float32", "bfloat16")
SPEC = "english"
UNREADABLE = 3
"""Exit code of a judging or writing in which something could not be read, which is a result."""
_ROOT = Path(__file__).parents[2]
_LINUX = sys.platform == "linux"


class Steps:
    """The steps of one run, each done once.

    Args:
        output: Where everything lies.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output / "steps"
        self.folder.mkdir(parents=True, exist_ok=True)

    def known(self) -> list[dict[str, Any]]:
        """Return what is known of every step that was begun."""
        return [orjson.loads(path.read_bytes()) for path in sorted(self.folder.glob("*.json"))]

    def do(self, name: str, *words: str | Path, fine: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run a command of `reasrm` unless it is done; return what is known of it.

        Args:
            name: Of the step.
            words: Of the command.
            fine: Exit codes with which it is done.

        Returns:
            `words`, `summary` (its last line), `seconds`, `peak_gib` (above the imported libraries; null where it
            cannot be measured), `parts` that were begun and `ended` ones, fewer where the whole program was killed;
            `code` and `date` of the last part.

        Raises:
            SystemExit: The command failed or was stopped; its exit code.
        """
        said = [str(word) for word in words]
        path = self.folder / f"{name}.json"
        key = digest([said, *map(_content, said)], 16)
        known = orjson.loads(path.read_bytes()) if path.exists() else {}
        if known.get("key") != key:
            known = {"key": key, "words": said, "seconds": 0.0, "peak_gib": None, "parts": 0, "ended": 0}
        if "summary" in known:
            return dict(known)
        note(f"\n— {name}: reasrm {' '.join(said)}")
        known |= {"parts": known["parts"] + 1, "code": code_hash(), "date": dt.date.today().isoformat()}
        write_json_atomic(path, known)
        started = time.monotonic()
        code, summary, peak = run_command(said, self.folder / f"{name}.peak")
        known["seconds"] = round(known["seconds"] + time.monotonic() - started, 1)
        known["peak_gib"] = max((p for p in (known["peak_gib"], peak) if p is not None), default=None)
        known["ended"] += 1
        done = code in fine
        write_json_atomic(path, {**known, "summary": summary} if done else known)
        if not done:
            note(f"step {name} ended with exit code {code}; the same command goes on from here")
            raise SystemExit(code if code > 0 else 128 - code)
        return {**known, "summary": summary}


def _content(word: str) -> str | None:
    """Return the hash of a config that a command names, None for any other word."""
    path = _ROOT / "configs" / f"{word}.yaml"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def run_command(words: Sequence[str], measured: Path) -> tuple[int, dict[str, Any], float | None]:
    """Run a command in a process of its own; return exit code, last line and peak memory in GiB, None but on Linux.

    Args:
        words: Of the command.
        measured: File for what it took.
    """
    measured.unlink(missing_ok=True)
    program = [str(_ROOT / "benchmarks" / "measured.py"), str(measured)] if _LINUX else ["-m", "reasrm"]
    child = subprocess.Popen(
        [sys.executable, *program, *words], stdout=subprocess.PIPE, preexec_fn=end_with_parent
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child hears it, too, and ends in good order
    try:
        out, _ = child.communicate()
    finally:
        signal.signal(signal.SIGINT, before)
    lines = out.splitlines()
    peak = json.loads(measured.read_bytes())["peak_gib"] if measured.exists() else None
    return child.returncode, json.loads(lines[-1]) if lines else {}, peak


def end_with_parent() -> None:
    """Ask the kernel to kill this process with its parent; else it would go on and hold the lock of its run."""
    if _LINUX:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def number_format(asked: str) -> str:
    """Return the format that is computed in; `auto` is bfloat16 where this CPU multiplies it natively, else float32.

    Trained weights and their optimizer are float32 in any case.
    """
    return asked if asked != "auto" else "bfloat16" if has_fast_bfloat16() else "float32"


def trained_in(dtype: str) -> str:
    """Return the key of a stage's config that says so."""
    return f"trainer.bf16={str(dtype == 'bfloat16').lower()}"


def sets(values: Iterable[str]) -> list[str]:
    """Return words of a command that set keys of its config."""
    return [word for value in values for word in ("--set", value)]
