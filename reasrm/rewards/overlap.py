"""Overlap of the judge's words with a reference text: BLEU and ROUGE.

Source: BLEUBERI (released code: r = BLEU(prediction, references, smooth=True), empty completions 0; ROUGE-L as a
variant). A cheap baseline for rewards on critiques. Deviations: sacrebleu's tokeniser and smoothing instead of the
`evaluate` package's (which adds 1 to every order); values in [0, 1]; the reference is one text, the row's human
critique or its reference answer, and a row without one abstains, as does one whose policy wrote nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from reasrm.overlaps import rouge_l
from reasrm.records import Order
from reasrm.rewards.base import Part, Rollout, each_row
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.part_sections import BleuPart, RougePart
from reasrm.rewards.reading import after_last

__all__ = ["bleu", "rouge"]


def bleu(section: BleuPart) -> Part:
    """Return smoothed sentence BLEU / 100 of the judgment against the reference text."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(smooth_method=section.smoothing, effective_order=True)
    return _overlap(section, lambda said, expected: metric.sentence_score(said, [expected]).score / 100)


def rouge(section: RougePart) -> Part:
    """Return the F-measure of the chosen ROUGE of the judgment against the reference text.

    ROUGE-L is counted here on rouge-score's own words: the table that the library fills takes half a second for one
    judgment of 1,500 words, the bits three milliseconds, and a test compares the two.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    if section.variant == "rougeL":
        split = DefaultTokenizer(section.stem).tokenize
        return _overlap(section, lambda said, expected: rouge_l(split(said), split(expected)))
    scorer = RougeScorer([section.variant], use_stemmer=section.stem)
    return _overlap(section, lambda said, expected: scorer.score(expected, said)[section.variant].fmeasure)


def _overlap(section: BleuPart | RougePart, similarity: Callable[[str, str], float]) -> Part:
    def reward(rollout: Rollout) -> float | None:
        expected = _reference(section, rollout)
        if not expected or wrote_nothing(rollout):
            return None
        judgment = rollout.judgment
        said = judgment.critique if section.read == "critique" else after_last(judgment, section.after)
        return float(similarity(said, expected)) if said and said.strip() else 0.0

    return each_row(reward)


def _reference(section: BleuPart | RougePart, rollout: Rollout) -> str | None:
    """Return the text to compare with.

    A critique in free text speaks of the row's own order and cannot be turned round; core arguments carry no letter.
    """
    comparison = rollout.comparison
    if section.against == "reference":
        return comparison.reference
    critique = comparison.critique
    if critique is None:
        return None
    if critique.text is None:
        return "\n".join(argument.text for argument in critique.arguments)
    if comparison.order is Order.BA and section.other_order == "abstain":
        return None
    return critique.text
