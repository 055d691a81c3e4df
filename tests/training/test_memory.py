"""The dry run's estimate of memory against the peak of the real command, on a CPU: within a quarter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.rlvr_step import build_model
from tests.commands import ROOT, environment, here, summary
from tests.training.stages import sft_row, write_stage

pytestmark = pytest.mark.slow

FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Memory that is freed leaves the process, so that its peak is what was in use."""


def soak(*values: Any, id: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.soak, id=id)


@pytest.mark.parametrize(
    ("shape", "sections"),
    [
        pytest.param("tiny", {}, id="tiny"),
        soak("20m", {}, id="20m"),
        soak("20m", {"lora": {"r": 16}}, id="20m-lora"),
        soak("20m", {"trainer": {"gradient_checkpointing": True}}, id="20m-checkpointing"),
        soak("20m", {"trainer": {"gradient_accumulation_steps": 2}}, id="20m-accumulated"),
        soak("50m", {}, id="50m"),
    ],
)
def test_the_estimate_is_the_measured_peak(shape: str, sections: dict[str, Any], tmp_path: Path) -> None:
    build_model(shape, tmp_path / "model", torch.float32)
    text = f"<eval>{'it ' * 100}says yes</eval>\n<answer>[[A]]</answer>"
    trainer = {"max_steps": 3, "per_device_train_batch_size": 4, "use_cpu": True, "bf16": False}
    sections = {**sections, "trainer": {**trainer, **sections.get("trainer", {})}}
    rows = [sft_row(n, text) for n in range(8)]
    config = write_stage(tmp_path, rows=rows, data={"max_tokens": 1000}, **sections)
    estimate = summary(here("sft", "--config", config, "--dry-run"))["memory_gib"]["total"]
    command = [sys.executable, "benchmarks/measured.py", tmp_path / "peak.json", "sft", "--config", config]
    done = subprocess.run(
        [*map(str, command), "--run-dir", str(tmp_path / "run")],
        cwd=ROOT,
        env=environment(**FREED_AT_ONCE),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = json.loads((tmp_path / "peak.json").read_text())["peak_gib"]
    assert 0.75 < peak / estimate < 1.25, (peak, estimate)
