"""vLLM, in this process."""

from __future__ import annotations

from reasrm.generation.vllm_engine import VLLMBackend as Engine

__all__ = ["Engine"]
