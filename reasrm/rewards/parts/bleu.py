"""BLEU of the judgment against a reference text."""

from __future__ import annotations

from typing import Literal

from reasrm.rewards.base import ALONE, Helpers, Part
from reasrm.rewards.overlap import OverlapPart


class BleuPart(OverlapPart):
    """BLEU of the judgment against a reference text.

    formula: smoothed sentence BLEU in [0, 1]
    source: BLEUBERI (released code). Deviation: sacrebleu's tokeniser and smoothing; one reference
    abstains: nothing to compare with; see `other_order`; the policy wrote nothing

    Args:
        smoothing: `exp`, `floor`, `add-k` or `none`.
    """

    kind: Literal["bleu"] = "bleu"
    smoothing: Literal["exp", "floor", "add-k", "none"] = "exp"

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return sacrebleu's sentence score / 100."""
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(smooth_method=self.smoothing, effective_order=True)
        return self.by(lambda said, expected: metric.sentence_score(said, [expected]).score / 100)
