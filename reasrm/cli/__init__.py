"""The command line: `reasrm <verb>`. Nothing heavy is imported until a verb needs it."""

from __future__ import annotations

import json
import sys

from reasrm.cli.summary import complete

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        from reasrm.cli.app import main as run  # here, so that Ctrl-C in the first second is no traceback

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        said = {"command": None, "error": "KeyboardInterrupt", "message": "interrupted", "interrupted": True}
        print(json.dumps(complete(said, 130)), flush=True)
        sys.exit(130)
