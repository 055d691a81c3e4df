"""A model to ask, as a section of a config file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from reasrm.config import EndpointSection, EngineName
from reasrm.generation.resolve import BackendOptions

__all__ = ["AskedModelSection", "PricePair"]

PricePair = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class AskedModelSection(EndpointSection):
    """A model or judge, and how it is asked.

    Args:
        judge: A judge or model folder, a hub id, or `openai:MODEL@BASE_URL`.
        temperature: Default: the spec's.
        top_p: Default: the spec's.
        max_tokens: Default: the spec's.
        backend: What runs a folder or hub id.
        batch_size: Prompts per forward pass (hf).
        dtype: auto, float32, bfloat16 or float16.
        device: auto, cpu, cuda, ….
        tensor_parallel_size: GPUs per model (vllm).
        revision: Of a hub id.
        max_context: Tokens of prompt and answer together.
    """

    judge: str = Field(min_length=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    backend: EngineName = "hf"
    batch_size: int = Field(default=8, gt=0)
    dtype: str = "auto"
    device: str = "auto"
    tensor_parallel_size: int = Field(default=1, gt=0)
    revision: str | None = None
    max_context: int | None = Field(default=None, gt=0)

    def backend_options(self) -> dict[str, Any]:
        """Return what a backend is opened with."""
        return {name: getattr(self, name) for name in BackendOptions.__annotations__ if hasattr(self, name)}
