"""All sources, one file per public dataset or benchmark, in the order in which they are tried."""

from __future__ import annotations

from reasrm.registry import instances
from reasrm.sources.base import Source

__all__ = ["SOURCES"]

SOURCES: tuple[Source, ...] = tuple(sorted(instances(__name__, Source), key=lambda source: source.generic))
