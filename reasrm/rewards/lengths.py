"""Rewards that look at how much was written: length penalties and repetition.

Sources: DAPO (arXiv 2503.14476 eq. 13, soft overlong punishment); "Demystifying Long Chain-of-Thought" (arXiv
2502.03373, cosine reward); R^3 (released code: share of unique trigrams). Libra and HARMO use length penalties whose
formulas could not be found; `length` is ours and claims neither.
"""

from __future__ import annotations

import math

from reasrm.rewards.base import Part, Rollout, each_row
from reasrm.rewards.outcome import is_right
from reasrm.rewards.part_sections import CosineLengthPart, LengthPart, OverlongPart, RepetitionPart
from reasrm.rewards.reading import words

__all__ = ["cosine_length", "length", "overlong", "repetition"]


def length(section: LengthPart) -> Part:
    """Return −min(most, per_token · max(0, n − soft_limit)). Never abstains."""
    return each_row(
        lambda rollout: (
            -min(section.most, section.per_token * max(0, rollout.num_tokens - section.soft_limit))
        )
    )


def overlong(section: OverlongPart) -> Part:
    """Return DAPO's soft overlong punishment. Never abstains.

    0 up to L_max − L_cache, then ((L_max − L_cache) − n)/L_cache down to −1 at L_max, and −1 beyond.
    """
    start = section.max_tokens - section.buffer_tokens

    def reward(rollout: Rollout) -> float:
        beyond = max(0, rollout.num_tokens - start)
        return -min(1.0, beyond / section.buffer_tokens)

    return each_row(reward)


def cosine_length(section: CosineLengthPart) -> Part:
    """Return the cosine reward: r_L + ½(r_0 − r_L)(1 + cos(π·n/L)), r_0 and r_L by whether the verdict is right.

    An unreadable judgment counts as wrong, and beyond `max_tokens` all earn `exceeded`.
    Without a target or a completion it abstains.
    """

    def reward(rollout: Rollout) -> float | None:
        right = is_right(rollout)
        if right is None:
            return None
        if rollout.num_tokens > section.max_tokens:
            return section.exceeded
        first, last = section.right if right else section.wrong
        angle = math.pi * rollout.num_tokens / section.max_tokens
        return last + 0.5 * (first - last) * (1 + math.cos(angle))

    return each_row(reward)


def repetition(section: RepetitionPart) -> Part:
    """Return −penalty·(1 − distinct n-grams / all n-grams) of the completion's words; 0 if there are none.

    Deviation from R^3: words only, without punctuation, and a penalty to add instead of a factor.
    """

    def reward(rollout: Rollout) -> float:
        said = words(rollout.judgment.text)
        grams = [tuple(said[n : n + section.ngram]) for n in range(len(said) - section.ngram + 1)]
        return -section.penalty * (1 - len(set(grams)) / len(grams)) if grams else 0.0

    return each_row(reward)
