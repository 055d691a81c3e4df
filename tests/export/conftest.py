"""Runs that several modules export from; nobody writes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.runs import make_run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained all weights, with two checkpoints."""
    return make_run(tmp_path_factory.mktemp("full"), steps=(3, 7))


@pytest.fixture(scope="session")
def lora_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained an adapter."""
    return make_run(tmp_path_factory.mktemp("lora"), lora=True)
