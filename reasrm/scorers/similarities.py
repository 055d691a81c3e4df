"""Similarities that need a model's weights: a sentence encoder's cosine, and a table of token embeddings.

Sources: cosine of an encoder's embeddings as a reward for explanations is "Shaping Explanations" (encoder and scaling
unknown); BMAS over the embedding table of a model, without a forward pass, is Mixed-R1. Deviations: a negative cosine
counts as 0; special tokens are left out of BMAS (unknown in the paper).

Nothing is loaded before the first comparison, and vectors are kept by text: references come back in every step.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasrm.critiques.similarity import Block, Matrix, Similarity, TokenEmbedding
from reasrm.errors import ConfigError, MissingExtraError
from reasrm.scorers.folders import checked_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SentenceEncoder", "TokenTable", "sentence_encoder", "token_embeddings"]

_LOG = logging.getLogger("reasrm")
_BATCH = 64
_TEXTS_KEPT = 1 << 14
_ROWS_KEPT = 1 << 13
# What architectures call their table of input embeddings, at the end of a tensor's name.
_TABLES = (
    "embed_tokens.weight",
    "word_embeddings.weight",
    "wte.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
    "shared.weight",
)
K = TypeVar("K", bound=Hashable)
Vector = NDArray[np.floating]


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


def token_embeddings(path: str, *, revision: str | None = None) -> TokenEmbedding:
    """Return what looks up a text's tokens in a model's table of input embeddings, for `token_max_average`.

    Args:
        path: A model folder, or a hub id.
        revision: Branch, tag or commit, for a hub id.

    Raises:
        ConfigError: There is no such model, it is not safe to read, or it has no tokenizer.json or no table.
    """
    return TokenTable(checked_folder(path, revision))


class SentenceEncoder:
    """A `Similarity` by sentence-transformers; all texts of a batch are encoded together.

    Args:
        folder: Looked at before.
        device: Where the encoder runs.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._folder, self._device = folder, device
        self._model: Any = None
        self._kept: _Kept[str] = _Kept(_TEXTS_KEPT)

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
            [_encodable(text) for text in texts],
            batch_size=_BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        wide = np.asarray(found, dtype=np.float64)
        length = np.linalg.norm(wide, axis=1, keepdims=True)
        return wide / np.where(length > 0, length, 1.0)


class TokenTable:
    """A `TokenEmbedding` by a model folder's tokenizer and table of input embeddings, read row by row.

    Args:
        folder: Looked at before.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _load_tokenizer(folder)
        self._file, self._tensor = _find_table(folder)
        self._kept: _Kept[int] = _Kept(_ROWS_KEPT)

    def __call__(self, texts: Sequence[str]) -> list[Vector]:
        """Return one (tokens, width) array per text."""
        encoded = [self._tokenizer.encode(_encodable(text), add_special_tokens=False).ids for text in texts]
        rows = self._rows({token for tokens in encoded for token in tokens})
        return [
            np.stack([rows[token] for token in tokens]) if tokens else np.zeros((0, 0)) for tokens in encoded
        ]

    def _rows(self, tokens: Iterable[int]) -> dict[int, Vector]:
        rows: dict[int, Vector] = {}
        missing: list[int] = []
        for token in tokens:
            vector = self._kept.get(token)
            if vector is None:
                missing.append(token)
            else:
                rows[token] = vector
        if missing:
            fresh = self._read(sorted(missing))
            self._kept.update(fresh)
            rows.update(fresh)
        return rows

    def _read(self, tokens: Sequence[int]) -> dict[int, Vector]:
        from safetensors import safe_open

        # By torch, because numpy has no bfloat16.
        with safe_open(self._file, framework="pt") as stream:
            table = stream.get_slice(self._tensor)
            size = table.get_shape()[0]
            if tokens[-1] >= size:
                raise ConfigError(
                    f"the tokenizer has a token {tokens[-1]}, and the table {self._tensor} {size} rows",
                    place=str(self._file),
                    remedy="use a tokenizer and weights that belong together",
                )
            return {token: table[token : token + 1][0].float().numpy() for token in tokens}


class _Kept(Generic[K]):
    """Vectors by key, the least recently used dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: OrderedDict[K, Vector] = OrderedDict()

    def get(self, key: K) -> Vector | None:
        if key not in self._vectors:
            return None
        self._vectors.move_to_end(key)
        return self._vectors[key]

    def update(self, vectors: dict[K, Vector]) -> None:
        self._vectors.update(vectors)
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)


def _encodable(text: str) -> str:
    """Return the text with unpaired surrogates replaced: tokenizers cannot take them."""
    return text.encode("utf-8", "replace").decode("utf-8")


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


def _load_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            "there is no tokenizer.json",
            place=str(folder),
            remedy="save the tokenizer with transformers once: AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more exact
        raise ConfigError(f"is no tokenizer: {error}", place=str(path)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _find_table(folder: Path) -> tuple[Path, str]:
    """Return the file and name of the tensor that holds the input embeddings."""
    from safetensors import SafetensorError, safe_open

    found: list[tuple[Path, str]] = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as stream:
                found += [
                    (path, name)
                    for name in stream.keys()  # noqa: SIM118 - no mapping
                    if name.endswith(_TABLES) and len(stream.get_slice(name).get_shape()) == 2
                ]
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"cannot be read: {error}", place=str(path)) from error
    names = sorted({name for _, name in found})
    if len(names) != 1:
        what = (
            f"several tables of token embeddings: {', '.join(names)}"
            if names
            else "no table of token embeddings"
        )
        raise ConfigError(
            f"the weights have {what}",
            place=str(folder),
            remedy=f"use a text model whose table ends in {', '.join(_TABLES)}",
        )
    return found[0]
