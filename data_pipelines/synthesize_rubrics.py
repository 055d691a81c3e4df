"""Synthesis of rubrics as a program of its own: `python data_pipelines/synthesize_rubrics.py --config FILE`.

The same as `reasrm rubrics synthesize`, with the same flags.
"""

from __future__ import annotations

import sys

from reasrm.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["rubrics", "synthesize"]
    main()
