"""The RLVR stage as a program of its own, for `accelerate launch train/rlvr.py --config FILE`.

The same as `reasrm rlvr`, with the same flags.
"""

from __future__ import annotations

import sys

from reasrm.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "rlvr")
    main()
