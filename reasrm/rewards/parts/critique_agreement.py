"""The critiques of a group against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from reasrm.critiques.similarity import Similarity, among
from reasrm.rewards.base import ALONE, Helpers, Part, RewardPart, Rollout, Values
from reasrm.rewards.outcome import is_right, wrote_nothing
from reasrm.rewards.reading import critique_of


class CritiqueAgreementPart(RewardPart):
    """Agreement with the group's other critiques, rewarded if right and punished if not.

    formula: +a for a right verdict, −a for any other; a is the mean similarity of the critique to the group's other
        critiques
    source: CSR fixes the signs: agreement is rewarded among right rollouts and discouraged among wrong ones. Its
        formula is not known: this is our form
    abstains: no label; no other rollout of the group that wrote something

    An unreadable verdict counts as not right. An empty critique is like nothing: a = 0, and it counts among the
    others. The similarity is that of content-word stems (the mean of both directions, if another one has a
    direction): it does not see which response a word is about.
    """

    kind: Literal["critique_agreement"] = "critique_agreement"

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return what compares the critiques of each group."""

        def part(rollouts: Sequence[Rollout]) -> Values:
            groups: dict[str, list[int]] = {}
            for n, rollout in enumerate(rollouts):
                if not wrote_nothing(rollout):
                    groups.setdefault(rollout.group, []).append(n)
            values: Values = [None] * len(rollouts)
            for members in groups.values():
                if len(members) < 2:
                    continue
                sums = _alike_others([critique_of(rollouts[n].judgment) for n in members], helpers.similarity)
                for n, total in zip(members, sums, strict=True):
                    right = is_right(rollouts[n])
                    if right is not None:
                        values[n] = total / (len(members) - 1) * (1 if right else -1)
            return values

        return part


def _alike_others(texts: Sequence[str], similarity: Similarity) -> list[float]:
    """Return the sum of each text's similarities to the others; blank texts are not shown to the similarity."""
    sums = [0.0] * len(texts)
    written = [n for n, text in enumerate(texts) if text]
    if len(written) > 1:
        alike = among([texts[n] for n in written], similarity)
        np.fill_diagonal(alike, 0.0)
        for n, total in zip(written, alike.sum(axis=1), strict=True):
            sums[n] = float(total)
    return sums
