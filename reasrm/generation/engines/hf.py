"""Transformers, in this process."""

from __future__ import annotations

from reasrm.generation.hf import HFBackend as Engine

__all__ = ["Engine"]
