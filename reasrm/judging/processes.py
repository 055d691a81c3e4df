"""What processes that train together tell each other; nothing where they do not. Torch is not loaded for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from reasrm.errors import EnvironmentProblem

__all__ = ["exchange", "process"]

T = TypeVar("T")


def process() -> tuple[int, int]:
    """Return this process's rank and the number of processes that train together."""
    if "torch.distributed" not in sys.modules:
        return 0, 1
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def exchange(size: int, make: Callable[[], T]) -> list[T]:
    """Return what `make` returns on each process, by rank. An error on one is an error on all, so that none waits."""
    if size == 1:
        return [make()]
    import torch.distributed as dist

    made: T | None = None
    error: Exception | None = None
    try:
        made = make()
    except Exception as caught:
        error = caught
    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, (made, None if error is None else f"{type(error).__name__}: {error}"))
    if error is not None:
        raise error
    for rank, (_, message) in enumerate(parts):
        if message is not None:
            raise EnvironmentProblem(message, place=f"process {rank}", remedy="see its log")
    return [part for part, _ in parts]
