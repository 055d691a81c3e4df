"""A model to ask, as a section of a config file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reasrm.config import Config

__all__ = ["ModelSection"]


class ModelSection(Config):
    """A model or judge, and how it is asked.

    Args:
        judge: A judge or model folder, a hub id, or `openai:MODEL@BASE_URL`.
        temperature: Default: the spec's, or 0 where there is none.
        top_p: Default: the spec's, or 1.
        max_tokens: Default: the spec's, or what the section says.
        concurrency: Requests in flight (endpoint).
        timeout_s: Most seconds for a whole answer (endpoint).
        attempts: Most calls per request (endpoint).
        headers: Name → value, sent with every call and kept secret; `env:NAME` reads the environment (endpoint).
        extra_body: Fields of every request besides ours (endpoint).
        follow_redirects: Ask another host it redirects to, without key and headers (endpoint).
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
    concurrency: int = Field(default=16, gt=0)
    timeout_s: float = Field(default=600.0, gt=0)
    attempts: int = Field(default=5, gt=0)
    headers: Any = None  # checked where no message shows a value
    extra_body: dict[str, Any] | None = None
    follow_redirects: bool = False
    backend: Literal["hf", "vllm"] = "hf"
    batch_size: int = Field(default=8, gt=0)
    dtype: str = "auto"
    device: str = "auto"
    tensor_parallel_size: int = Field(default=1, gt=0)
    revision: str | None = None
    max_context: int | None = Field(default=None, gt=0)

    def backend_options(self) -> dict[str, Any]:
        """Return what a backend is opened with."""
        own = ("judge", "temperature", "top_p", "max_tokens")
        return {name: getattr(self, name) for name in ModelSection.model_fields if name not in own}
