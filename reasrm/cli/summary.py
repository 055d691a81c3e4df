"""The shape that the last line of stdout has under every verb; a verb adds keys of its own.

The keys that are always there: `verb` (also as `command`), `outcome`, `exit_code`, `output` (what was written, or
null), `progress` (`{"unit", "total", "done", "failed"}` of what the verb works through, or null), `seconds` (of this
process), `cost` (who was asked → calls and tokens), `money` (what these cost at the given prices, null without prices)
and `reasrm` (the version).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from reasrm import __version__

__all__ = ["complete", "progress", "start_clock", "verb_of"]

_INCOMPLETE, _INTERRUPTED = 3, 128
_clock = {"started": time.monotonic()}


def start_clock() -> None:
    """Count `seconds` from now."""
    _clock["started"] = time.monotonic()


def progress(unit: str, total: int | None, done: int, failed: int = 0) -> dict[str, Any]:
    """Return how far a verb came with what it works through; `done` needs no more work, though some of it `failed`.

    `total` is None where the verb was stopped before it knew.
    """
    return {"unit": unit, "total": total, "done": done, "failed": failed}


def complete(summary: Mapping[str, Any], code: int = 0) -> dict[str, Any]:
    """Return a verb's own summary with the keys that all verbs have in front.

    Args:
        summary: What the verb says. It may give any of these keys itself.
        code: The exit code that the process is about to end with.
    """
    code = summary.get("exit_code", code)
    verb = summary["command"] if "command" in summary else verb_of(sys.argv[1:])
    common: dict[str, Any] = {
        "verb": verb,
        "command": verb,
        "outcome": _outcome(summary, code),
        "exit_code": code,
        "output": None,
        "progress": None,
        "seconds": round(time.monotonic() - _clock["started"], 3),
        "cost": {},
        "money": None,
        "reasrm": __version__,
    }
    return {**common, **summary}


def _outcome(summary: Mapping[str, Any], code: int) -> str:
    """Return `done`, `planned` (a dry run), `incomplete`, `interrupted`, or `refused`: nothing came of it."""
    if code == 0:
        return "planned" if summary.get("dry_run") else "done"
    if code >= _INTERRUPTED:
        return "interrupted"
    return "incomplete" if code == _INCOMPLETE else "refused"


def verb_of(words: list[str]) -> str | None:
    """Return the verb that a command line names, such as `data import`, or None if it names none."""
    import typer

    from reasrm.cli.app import app

    known: Any = typer.main.get_command(app)
    found: list[str] = []
    for word in words:
        known = getattr(known, "commands", {}).get(word)
        if known is None:
            break
        found.append("rlvr" if word == "grpo" else word)
    return " ".join(found) or None
