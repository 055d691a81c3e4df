"""The cosine of two texts' embeddings, by sentence-transformers.

Source: a reward for explanations in "Shaping Explanations" (encoder and scaling unknown). Deviation: a negative cosine
counts as 0. Nothing is loaded before the first comparison.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasrm.critiques.similarity import Block, Matrix, Similarity
from reasrm.errors import ConfigError, MissingExtraError
from reasrm.scorers.folders import checked_folder
from reasrm.scorers.similarities._vectors import Kept, encodable, unit
from reasrm.scorers.similarity import SimilarityKind

_LOG = logging.getLogger("reasrm")
_BATCH = 64
_TEXTS_KEPT = 1 << 14


def sentence_encoder(path: str, *, revision: str | None = None, device: str = "cpu") -> Similarity:
    """Return the cosine of two texts' embeddings, cut to [0, 1].

    Args:
        path: A sentence-transformers folder, or a hub id.
        revision: Branch, tag or commit, for a hub id.
        device: Where the encoder runs. The default gives the same numbers beside any training.

    Raises:
        ConfigError: There is no such encoder, or it is not safe to load.
        MissingExtraError: sentence-transformers is not installed.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("sentence-transformers", "similarity")
    return SentenceEncoder(checked_folder(path, revision), device)


class SentenceEncoder:
    """A `Similarity` by sentence-transformers; all texts of a batch are encoded together.

    Args:
        folder: Looked at before.
        device: Where the encoder runs.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._folder, self._device = folder, device
        self._model: Any = None
        self._kept: Kept[str] = Kept(_TEXTS_KEPT)

    def __call__(self, generated: Sequence[str], reference: Sequence[str]) -> Matrix:
        """Return the cosines, cut to [0, 1]."""
        if not generated or not reference:
            return np.zeros((len(generated), len(reference)))
        unit = self._embed([*generated, *reference])
        cosine = unit[: len(generated)] @ unit[len(generated) :].T
        return np.clip(cosine, 0.0, 1.0)

    def many(self, blocks: Sequence[Block]) -> list[Matrix]:
        """Return the cosines of each block; the texts of all are encoded together."""
        texts = dict.fromkeys(text for block in blocks for texts in block for text in texts)
        if texts:
            # More than are kept would be encoded twice.
            self._embed(list(texts)[:_TEXTS_KEPT])
        return [self(generated, reference) for generated, reference in blocks]

    def _embed(self, texts: Sequence[str]) -> Matrix:
        vectors = {text: vector for text in texts if (vector := self._kept.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            self._kept.update(fresh)
            vectors.update(fresh)
        return np.array([vectors[text] for text in texts], dtype=np.float64).reshape(len(texts), -1)

    def _encode(self, texts: Sequence[str]) -> Matrix:
        if self._model is None:
            self._model = _load_encoder(self._folder, self._device)
        found = self._model.encode(
            [encodable(text) for text in texts],
            batch_size=_BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return unit(np.asarray(found))


def _load_encoder(folder: Path, device: str) -> Any:
    import sentence_transformers
    from safetensors import SafetensorError
    from transformers.utils import logging as theirs

    if not (sys.stderr.isatty() and _LOG.isEnabledFor(logging.INFO)):
        theirs.disable_progress_bar()
    try:
        return sentence_transformers.SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(
            f"sentence-transformers cannot load it: {type(error).__name__}: {' '.join(str(error).split())}",
            place=str(folder),
            remedy="check the files of the folder",
        ) from error


SIMILARITY = SimilarityKind(
    about="cosine of sentence-transformers embeddings, not below 0",
    source='"Shaping Explanations"',
    build=lambda means: sentence_encoder(means.encoder or "", revision=means.revision),
    needs="encoder",
)
