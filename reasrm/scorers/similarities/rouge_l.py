"""ROUGE-L, on rouge-score's words."""

from __future__ import annotations

from collections.abc import Sequence

from reasrm import overlaps
from reasrm.critiques.similarity import Matrix, Similarity, matrix_of
from reasrm.scorers.similarity import SimilarityKind


def rouge_l(*, stem: bool = True) -> Similarity:
    """Return 2·LCS / (|G| + |R|) over rouge-score's words, the F-measure of ROUGE-L."""
    from rouge_score.tokenizers import DefaultTokenizer

    split = DefaultTokenizer(stem).tokenize

    def similarity(generated: Sequence[str], reference: Sequence[str]) -> Matrix:
        return matrix_of(
            [split(text) for text in generated], [split(text) for text in reference], overlaps.rouge_l
        )

    return similarity


SIMILARITY = SimilarityKind(
    about="F-measure of ROUGE-L on stems",
    source="rouge-score",
    build=lambda means: rouge_l(),
)
