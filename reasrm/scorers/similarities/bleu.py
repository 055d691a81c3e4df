"""BLEU, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence

from reasrm.critiques.similarity import Matrix, Similarity, matrix_of
from reasrm.scorers.similarity import SimilarityKind


def bleu(*, smoothing: str = "exp") -> Similarity:
    """Return sentence BLEU / 100 of generated against reference (sacrebleu, effective order): not symmetric."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(smooth_method=smoothing, effective_order=True)

    def similarity(generated: Sequence[str], reference: Sequence[str]) -> Matrix:
        return matrix_of(
            generated, reference, lambda one, two: min(metric.sentence_score(one, [two]).score / 100, 1.0)
        )

    return similarity


SIMILARITY = SimilarityKind(
    about="sentence BLEU by sacrebleu; has a direction",
    source="BLEUBERI",
    build=lambda means: bleu(),
)
