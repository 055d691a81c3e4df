"""The real model, loaded once for each process that tests, and real rows short enough for a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm import models
from reasrm.tables import read_rows


@pytest.fixture(scope="session")
def stock(smollm2: str) -> tuple[Any, Any]:
    """Model and tokenizer as transformers alone loads the folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = models.find(smollm2)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def shortest(real_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the shortest rows of a benchmark's file, as they are."""

    def copy(name: str, count: int = 8) -> Path:
        rows = [row.data for row in read_rows(real_data / name) if row.data]
        lines = sorted((json.dumps(row, sort_keys=True) for row in rows), key=lambda line: (len(line), line))
        path = tmp_path / "shortest.jsonl"
        path.write_text("".join(line + "\n" for line in lines[:count]), encoding="utf-8")
        return path

    return copy
