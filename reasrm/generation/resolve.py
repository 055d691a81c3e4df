"""From the name of a judge, as a user writes it, to the backend that runs it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from reasrm.config import nearest
from reasrm.errors import ConfigError
from reasrm.generation.base import Backend
from reasrm.generation.checkpoint import HUB_ID
from reasrm.generation.replay import ReplayBackend
from reasrm.registry import load, names

__all__ = ["BackendOptions", "open_backend"]

_FORMS = "a model folder, a hub id such as Qwen/Qwen3-8B, openai:MODEL@BASE_URL, replay, or sandbox"
_SCHEME = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)
_ENGINES = names("reasrm.generation.engines")


class BackendOptions(TypedDict, total=False):
    """All options of all backends; a backend takes those that its constructor names, which has the defaults.

    Args:
        backend: One of `engines`, for a folder or hub id.
    """

    backend: str
    revision: str | None
    device: str
    dtype: str
    batch_size: int
    max_context: int | None
    tensor_parallel_size: int
    gpu_memory_utilization: float
    concurrency: int
    timeout_s: float
    attempts: int
    headers: Mapping[str, str] | None
    extra_body: str | Mapping[str, Any] | None
    follow_redirects: bool


def open_backend(judge: str, **options: Unpack[BackendOptions]) -> Backend:
    """Open the backend that a judge's name asks for. Nothing is loaded yet.

    Args:
        judge: A model folder or hub id · `openai:MODEL[@BASE_URL]` · `replay` (the file of `replay:FILE` is
            the caller's business: recordings come with the requests).
        options: `HFBackend`, `VLLMBackend` and `EndpointBackend` say what theirs are for; those of others do nothing.

    Raises:
        ConfigError: If the name means nothing, or the model behind it cannot be used.
        MissingExtraError: If what `backend` names is not installed.
    """
    known = BackendOptions.__annotations__
    for name in options.keys() - known.keys():
        close = nearest(name, tuple(known))
        raise ConfigError(
            f"no such option of a backend: {name!r}",
            remedy=f"did you mean {close!r}?" if close else f"use one of {', '.join(known)}",
        )
    backend = options.get("backend", "hf")
    if backend not in _ENGINES:
        raise ConfigError(f"no such backend: {backend!r}", remedy=_did_you_mean(backend, _ENGINES))
    scheme = None if Path(judge).is_dir() else _SCHEME.fullmatch(judge)
    if judge == "replay" or (scheme and scheme[1] == "replay"):
        return ReplayBackend()
    if scheme:
        if scheme[1] != "openai":
            raise ConfigError(
                f"the judge begins with {scheme[1]!r}, which is no kind of judge",
                remedy=_did_you_mean(scheme[1], ("openai", "replay")),
            )
        from reasrm.generation.endpoint import EndpointBackend

        model, base_url = _split_endpoint(scheme[2])
        return EndpointBackend(model, base_url, **_taken_by(EndpointBackend, options))
    _check_model_name(judge)
    engine = load("reasrm.generation.engines", backend).Engine
    opened: Backend = engine(judge, **_taken_by(engine, options))
    return opened


def _taken_by(engine: type, options: Mapping[str, Any]) -> dict[str, Any]:
    names = inspect.signature(engine).parameters
    return {name: value for name, value in options.items() if name in names}


def _split_endpoint(text: str) -> tuple[str, str | None]:
    """Split at the first `@http`: a model's name, and a password in an address, may hold an `@` as well."""
    parts = re.split(r"@(?=https?://)", text, maxsplit=1)
    model, base_url = parts if len(parts) == 2 else (text, None)
    if not model or (base_url is None and "@" in model):
        raise ConfigError(
            f"the judge 'openai:{text.partition('@')[0]}…' does not name a model and an address",
            remedy="write openai:MODEL or openai:MODEL@http://HOST:PORT/v1",
        )
    return model, base_url


def _check_model_name(judge: str) -> None:
    """Refuse what is neither a folder nor can be a hub id, before the hub is asked."""
    path = Path(judge)
    if judge and path.is_dir():
        return
    close = nearest(judge, ("replay", "sandbox"))
    if close:
        raise ConfigError(f"no such judge: {judge!r}", remedy=f"did you mean {close!r}?")
    if path.is_file():
        raise ConfigError("the judge is a file", place=judge, remedy=f"name {_FORMS}")
    parent_exists = judge.count("/") == 1 and path.parent.is_dir()
    if HUB_ID.fullmatch(judge) and not parent_exists:
        return
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    close = nearest(path.name, siblings)
    raise ConfigError(
        f"no such judge: {judge!r}",
        remedy=f"did you mean {str(path.parent / close)!r}?" if close else f"name {_FORMS}",
    )


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else f"use one of {', '.join(known)}, or name {_FORMS}"
