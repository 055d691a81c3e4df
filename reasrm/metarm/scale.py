"""What a MetaRM is asked to predict, and what its answer is worth as a reward. Pure arithmetic.

Source: RM-NLHF (arXiv 2601.07349, released code). The target is the rule reward of a well-formed judgment, R = o +
w·p with o ∈ {0, 1} and p gated by o; with w = 0.5 and p ∈ {0, 1} it is 0, 1 or 1.5. In use p̂ = max(0, s − 1).

The released scales do not fit together: a human critique earns w·p ≤ 0.5, a predicted one w·max(0, s − 1), and a
perfect s is 1.5, so at most 0.25, half the bonus. `published` keeps that; `calibrated` undoes the target, p̂ = (s −
1)/w cut to [0, 1], so that a perfect MetaRM pays what a critique pays.

Ours: the target `process` is p itself, learned from right verdicts only. Their reward then needs no share of the
model for guessing which verdicts are right, which dominates the squared error of the other target.
"""

from __future__ import annotations

from typing import Literal

from reasrm.metarm.card import Target

__all__ = ["BonusScale", "bonus", "target_of"]

BonusScale = Literal["published", "calibrated"]


def target_of(target: Target, right: bool, process: float, weight: float) -> float | None:
    """Return what the MetaRM should say of a well-formed judgment; None where it learns nothing from it."""
    if target == "process":
        return process if right else None
    return 1.0 + weight * process if right else 0.0


def bonus(target: Target, score: float, weight: float, scale: BonusScale) -> float:
    """Return p̂, what stands in for the critique part of the reward of a right verdict.

    Args:
        target: What the MetaRM predicts.
        score: Its answer.
        weight: w in its target.
        scale: `published` or `calibrated`; for the target `process` both are the answer cut to [0, 1].
    """
    if target == "process":
        return min(max(score, 0.0), 1.0)
    if scale == "published":
        return max(0.0, score - 1.0)
    return min(max((score - 1.0) / weight, 0.0), 1.0)
