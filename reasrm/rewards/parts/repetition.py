"""A price on saying the same again."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from reasrm.rewards.base import NonNegative, RewardPart, Rollout
from reasrm.rewards.reading import words


class RepetitionPart(RewardPart):
    """A price on repeated n-grams.

    formula: −`penalty`·(1 − distinct n-grams / all n-grams) of the completion's words
    source: ours, after the share of unique trigrams in R³'s released code: words only, and a penalty, no factor
    abstains: never (a text shorter than an n-gram costs nothing)

    Args:
        ngram: Words of an n-gram.
        penalty: What a text of nothing but repetition costs.
    """

    kind: Literal["repetition"] = "repetition"
    ngram: PositiveInt = 3
    penalty: NonNegative = 1.0

    def value(self, rollout: Rollout) -> float:
        """Return minus the price."""
        said = words(rollout.judgment.text)
        grams = [tuple(said[n : n + self.ngram]) for n in range(len(said) - self.ngram + 1)]
        return -self.penalty * (1 - len(set(grams)) / len(grams)) if grams else 0.0
