"""Overlap of the judge's words with a reference text: BLEU and ROUGE.

Source: BLEUBERI (released code: r = BLEU(prediction, references, smooth=True), empty completions 0; ROUGE-L as a
variant). A cheap baseline for rewards on critiques. Deviations: sacrebleu's tokeniser and smoothing instead of the
`evaluate` package's (which adds 1 to every order); values in [0, 1]; the reference is one text, the row's human
critique or its reference answer, and a row without one abstains, as does one whose policy wrote nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reasrm.records import Order
from reasrm.rewards.base import Part, Rollout, each_row
from reasrm.rewards.outcome import wrote_nothing
from reasrm.rewards.part_sections import BleuPart, RougePart
from reasrm.rewards.reading import after_last

__all__ = ["bleu", "longest_common_subsequence", "rouge"]


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
        return _overlap(section, lambda said, expected: _rouge_l(split(said), split(expected)))
    scorer = RougeScorer([section.variant], use_stemmer=section.stem)
    return _overlap(section, lambda said, expected: scorer.score(expected, said)[section.variant].fmeasure)


def _rouge_l(said: Sequence[str], expected: Sequence[str]) -> float:
    """Return 2·LCS / (length + length), the F-measure of LCS precision and recall."""
    common = longest_common_subsequence(said, expected)
    return 2 * common / (len(said) + len(expected)) if common else 0.0


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return its length, by bits (Hyyrö 2004): one bit per word of `second`, cleared where a match extends."""
    places: dict[str, int] = {}
    for position, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << position
    everything = (1 << len(second)) - 1
    row = everything
    for word in first:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & everything
    return len(second) - row.bit_count()


def _overlap(section: BleuPart | RougePart, similarity: Callable[[str, str], float]) -> Part:
    def reward(rollout: Rollout) -> float | None:
        expected = _reference(section, rollout)
        if not expected or wrote_nothing(rollout):
            return None
        judgment = rollout.judgment
        said = judgment.critique if section.read == "critique" else after_last(judgment.text, section.after)
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
