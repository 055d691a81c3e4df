"""ROUGE of the judgment against a reference text."""

from __future__ import annotations

from typing import Literal

from reasrm.overlaps import rouge_l
from reasrm.rewards.base import ALONE, Helpers, Part
from reasrm.rewards.overlap import OverlapPart


class RougePart(OverlapPart):
    """ROUGE of the judgment against a reference text.

    formula: F-measure of ROUGE in [0, 1]
    source: BLEUBERI's variant; rouge-score
    abstains: as `bleu`

    Args:
        variant: `rouge1`, `rouge2` or `rougeL`.
        stem: Whether words are stemmed (English).
    """

    kind: Literal["rouge"] = "rouge"
    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stem: bool = False

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Return the F-measure.

        ROUGE-L is counted here on rouge-score's own words: the table that the library fills takes half a second for
        one judgment of 1,500 words, the bits three milliseconds, and a test compares the two.
        """
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        if self.variant == "rougeL":
            split = DefaultTokenizer(self.stem).tokenize
            return self.by(lambda said, expected: rouge_l(split(said), split(expected)))
        scorer = RougeScorer([self.variant], use_stemmer=self.stem)
        return self.by(lambda said, expected: scorer.score(expected, said)[self.variant].fmeasure)
