"""Which checkpoints of a run are whole, for tests that count them."""

from __future__ import annotations

from pathlib import Path

from reasrm.runs import CheckpointInfo, DamagedCheckpoint, verify_checkpoint


def complete_checkpoints(run: Path) -> list[CheckpointInfo]:
    """Return what a run saved whole, newest last."""
    found = []
    for folder in run.glob("checkpoints/checkpoint-*[0-9]"):
        try:
            found.append(verify_checkpoint(folder))
        except DamagedCheckpoint:
            continue
    return sorted(found, key=lambda info: info.step)
