"""Which preference pairs are worth training on: filters, duplicates, benchmark overlap, labels, sides, splits.

The room works on records that somebody else read and writes lines that somebody else shapes (`Doors`); it knows no
dataset and runs no judge. `curate` runs the stages, `CurationFolder` keeps the result complete or absent.
"""

from __future__ import annotations

from reasrm.curation.config import CurationConfig
from reasrm.curation.contamination import BenchmarkIndex, BenchmarkPrompt, OverlapFound
from reasrm.curation.folder import CurationFolder
from reasrm.curation.pipeline import Curated, Doors, curate
from reasrm.curation.store import Incoming

__all__ = [
    "BenchmarkIndex",
    "BenchmarkPrompt",
    "Curated",
    "CurationConfig",
    "CurationFolder",
    "Doors",
    "Incoming",
    "OverlapFound",
    "curate",
]
