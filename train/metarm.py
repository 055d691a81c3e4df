"""The MetaRM stage as a program of its own, for `accelerate launch train/metarm.py --config FILE`.

The same as `reasrm metarm`, with the same flags.
"""

from __future__ import annotations

import sys

from reasrm.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "metarm")
    main()
