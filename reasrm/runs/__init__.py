"""Run folders of training stages, and the checkpoints in them that are complete or absent.

A run folder holds `config.json`, `manifest.json`, `metrics.jsonl`, `log.txt` and `checkpoints/`, and where one is
chosen `best.json`. One process writes it, under a lock. Nothing here knows what a checkpoint's files mean: they are
named, hashed and sealed.
"""

from __future__ import annotations

from reasrm.runs.folder import RunFolder
from reasrm.runs.seals import (
    CheckpointInfo,
    DamagedCheckpoint,
    checkpoint_folder,
    latest_checkpoint,
    remove_checkpoint,
    remove_unsealed,
    rotate,
    seal_checkpoint,
    set_aside_after,
    verify_checkpoint,
)
from reasrm.runs.selection import result_checkpoint, write_best

__all__ = [
    "CheckpointInfo",
    "DamagedCheckpoint",
    "RunFolder",
    "checkpoint_folder",
    "latest_checkpoint",
    "remove_checkpoint",
    "remove_unsealed",
    "result_checkpoint",
    "rotate",
    "seal_checkpoint",
    "set_aside_after",
    "verify_checkpoint",
    "write_best",
]
