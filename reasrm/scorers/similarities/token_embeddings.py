"""Each token's best cosine on the other side (BMAS), over a model's table of input embeddings: no forward pass.

Source: Mixed-R1, whose way of merging the two directions is unknown: the mean is our choice. Deviation: special tokens
are left out (unknown in the paper).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasrm.critiques.similarity import Matrix, Similarity, matrix_of
from reasrm.errors import ConfigError
from reasrm.scorers.folders import checked_folder
from reasrm.scorers.similarities._vectors import Kept, Vector, encodable, unit
from reasrm.scorers.similarity import SimilarityKind

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TokenEmbedding: TypeAlias = Callable[[Sequence[str]], Sequence[NDArray[np.floating]]]
"""Texts to one (tokens, width) array each."""
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


def token_max_average(embed: TokenEmbedding) -> Similarity:
    """Return BMAS: (mean_i max_j s_ij + mean_j max_i s_ij) / 2, s_ij the cosine of tokens i and j, cut to [0, 1].

    A text without tokens is like nothing, and a zero vector like no token.
    """

    def similarity(generated: Sequence[str], reference: Sequence[str]) -> Matrix:
        return matrix_of([unit(a) for a in embed(generated)], [unit(a) for a in embed(reference)], _bmas)

    return similarity


def token_embeddings(path: str, *, revision: str | None = None) -> TokenEmbedding:
    """Return what looks up a text's tokens in a model's table of input embeddings, for `token_max_average`.

    Args:
        path: A model folder, or a hub id.
        revision: Branch, tag or commit, for a hub id.

    Raises:
        ConfigError: There is no such model, it is not safe to read, or it has no tokenizer.json or no table.
    """
    return TokenTable(checked_folder(path, revision))


class TokenTable:
    """A `TokenEmbedding` by a model folder's tokenizer and table of input embeddings, read row by row.

    Args:
        folder: Looked at before.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _load_tokenizer(folder)
        self._file, self._tensor = _find_table(folder)
        self._kept: Kept[int] = Kept(_ROWS_KEPT)

    def __call__(self, texts: Sequence[str]) -> list[Vector]:
        """Return one (tokens, width) array per text."""
        encoded = [self._tokenizer.encode(encodable(text), add_special_tokens=False).ids for text in texts]
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


def _bmas(one: Matrix, two: Matrix) -> float:
    if not len(one) or not len(two):
        return 0.0
    cosine = one @ two.T
    return float(np.clip((cosine.max(axis=1).mean() + cosine.max(axis=0).mean()) / 2, 0.0, 1.0))


SIMILARITY = SimilarityKind(
    about="each token's best cosine on the other side, mean of both directions (BMAS); a model's table of input "
    "embeddings, no forward pass",
    source="Mixed-R1; how directions merge is our choice",
    build=lambda means: token_max_average(token_embeddings(means.encoder or "", revision=means.revision)),
    needs="encoder",
)
