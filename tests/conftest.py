"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def real_data() -> Path:
    """The folder of real benchmark files; tests that need it skip where it is absent."""
    path = Path(os.environ.get("REASRM_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real benchmark files not found at {path}; set REASRM_REAL_DATA")
    return path
