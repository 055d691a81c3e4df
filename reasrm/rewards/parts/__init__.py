"""All kinds of reward parts: one file and one class each, registered by being there.

The docstring of a class is its documentation: a summary, what it is (`formula:`, `source:`, `abstains:`), notes,
fields.
"""

from __future__ import annotations

from reasrm.registry import instances
from reasrm.rewards.base import RewardPart

__all__ = ["PARTS"]

PARTS: tuple[type[RewardPart], ...] = tuple(
    found
    for found in instances(__name__, type(RewardPart))
    if issubclass(found, RewardPart) and not found.model_fields["kind"].is_required()
)
"""The class of each kind."""
