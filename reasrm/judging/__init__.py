"""Judging: a judge, its orders and votes, a row's result, a whole file, and a judge as a reward.

`as_reward` is loaded on first use, so that importing the room costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["as_reward"]

if TYPE_CHECKING:
    from reasrm.judging.reward_function import as_reward as as_reward


def __getattr__(name: str) -> Any:
    """Import `as_reward` on first use."""
    if name != "as_reward":
        raise AttributeError(f"module 'reasrm.judging' has no attribute {name!r}")
    from reasrm.judging.reward_function import as_reward

    return as_reward
