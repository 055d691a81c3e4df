"""`python -m reasrm`, the same as `reasrm`."""

from __future__ import annotations

from reasrm.cli import main

main()
