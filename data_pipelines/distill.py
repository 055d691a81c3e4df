"""Distillation as a program of its own: `python data_pipelines/distill.py --config FILE`.

The same as `reasrm distill`, with the same flags.
"""

from __future__ import annotations

import sys

from reasrm.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "distill")
    main()
