"""The command line: `reasrm <verb>`. Nothing heavy is imported until a verb needs it."""

from __future__ import annotations

from reasrm.cli.app import main

__all__ = ["main"]
