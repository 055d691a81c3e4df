"""What is known of a model before its weights are read: whether it is safe, what it is, where it ends.

A model folder is somebody's data and runs no code here: weights come from safetensors only, a folder that
asks for its own Python is refused, and `trust_remote_code` is off. For a local folder nothing is looked up in
the network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasrm import models
from reasrm.config import nearest
from reasrm.errors import ConfigError

__all__ = ["HUB_ID", "Checkpoint", "context_length", "stop_ids"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")

_LOG = logging.getLogger("reasrm")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NO_MODEL = "name a folder that holds a model"
_TOKENIZERS = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json")
_HEAD, _BLOCK, _NUM_SAMPLES = 1 << 20, 4096, 64
_DESCRIBING = (
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "generation_config.json",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder or hub id, not yet loaded.

    Args:
        path: Folder, hub id, or what `reasrm models fetch` knows a model as; then the folder that it was fetched to.
        revision: Branch, tag or commit, for a hub id.
        name: The path as it was given: what results and manifests call the model.

    Raises:
        EnvironmentProblem: The model is known and was not fetched.
    """

    path: str
    revision: str | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.path)
        object.__setattr__(self, "path", models.find(self.path))

    @property
    def is_local(self) -> bool:
        """Whether `path` is a folder here."""
        return Path(self.path).is_dir()

    def check(self) -> None:
        """Refuse what is neither a model folder nor a hub id, and a folder with its own code or pickles for weights.

        Raises:
            ConfigError: Naming the file and what to do.
        """
        if not self.is_local:
            _refuse_no_folder(self.path)
            return
        folder = Path(self.path)
        if (folder / "adapter_config.json").is_file():
            raise ConfigError(
                "the folder holds an adapter", place=str(folder), remedy="export it with its base model first"
            )
        if not (folder / "config.json").is_file():
            raise ConfigError("the folder has no config.json", place=str(folder), remedy=_NO_MODEL)
        for name in ("config.json", "tokenizer_config.json"):
            if "auto_map" in _read_json(folder / name):
                raise ConfigError(
                    "'auto_map' asks to run Python code from the model folder",
                    place=str(folder / name),
                    remedy="use a checkpoint whose architecture transformers knows, and remove the entry",
                )
        if any(folder.glob("*.safetensors")):
            return
        for pickle in (path for pattern in _PICKLES for path in sorted(folder.glob(pattern))):
            raise ConfigError(
                "weights stored as a pickle can run code and are not read",
                place=str(pickle),
                remedy="convert them to safetensors where you can trust them",
            )
        raise ConfigError("the folder has no weights (*.safetensors)", place=str(folder), remedy=_NO_MODEL)

    def fingerprint(self) -> str:
        """Return a short hash that tells one checkpoint from another in milliseconds.

        It covers `config.json`, the names, sizes and small contents of tokenizer and weight files, and of large
        files the beginning and evenly spread samples. Training moves every weight, so a retrained model differs;
        an edit of single bytes between the samples goes unnoticed.
        """
        folder = Path(self.path)
        files = sorted({p.name for pattern in _DESCRIBING for p in folder.glob(pattern) if p.is_file()})
        state = hashlib.sha256((folder / "config.json").read_bytes())
        for name in files:
            state.update(f"\x00{name}\x00".encode())
            _sample(folder / name, state)
        return state.hexdigest()[:16]

    def options(self) -> dict[str, Any]:
        """The arguments that every `from_pretrained` gets."""
        return {
            "revision": self.revision or "main",
            "trust_remote_code": False,
            "local_files_only": self.is_local,
        }

    def load(self, auto_class: str, **options: Any) -> Any:
        """Call `from_pretrained` of a class of transformers.

        Raises:
            ConfigError: If transformers cannot load it: unknown architecture, missing files, no such hub id. A
                tokenizer is never made up where the folder has none.
        """
        if auto_class == "AutoTokenizer" and self.is_local:
            _refuse_no_tokenizer(Path(self.path))
        import transformers
        from safetensors import SafetensorError

        _follow_our_logging(transformers.utils.logging)
        loader = getattr(transformers, auto_class)
        try:
            return loader.from_pretrained(self.path, **self.options(), **options)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ConfigError(
                f"transformers cannot load it: {type(error).__name__}: {' '.join(str(error).split())}",
                place=self.path,
                remedy="check the files of the folder"
                if self.is_local
                else "check the hub id and the network",
            ) from error

    def generation_config(self) -> Any | None:
        """Return the generation config beside the weights, or None where there is none."""
        try:
            return self.load("GenerationConfig")
        except ConfigError:
            return None


def _refuse_no_folder(path: str) -> None:
    """Refuse a name that can be no hub id, and so was meant to be a folder, before the hub is asked."""
    if Path(path).is_file():
        raise ConfigError("the model is a file", place=path, remedy=_NO_MODEL)
    parent = Path(path).parent
    if HUB_ID.fullmatch(path) and not ("/" in path and parent.is_dir()):
        return
    close = nearest(
        Path(path).name, [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    )
    remedy = f"did you mean {str(parent / close)!r}?" if close else f"make it first, or {_NO_MODEL}"
    raise ConfigError("there is no such folder", place=path, remedy=remedy)


def _refuse_no_tokenizer(folder: Path) -> None:
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZERS):
        raise ConfigError(
            "the folder has no tokenizer (tokenizer.json)",
            place=str(folder),
            remedy="copy the tokenizer's files of the model that it was trained from into it",
        )


def _follow_our_logging(theirs: Any) -> None:
    """Keep transformers as quiet as we are: no bars into a file, nothing at all when logs are off."""
    if not _LOG.isEnabledFor(logging.CRITICAL):
        theirs.set_verbosity(logging.CRITICAL + 1)
    if not (sys.stderr.isatty() and _LOG.isEnabledFor(logging.INFO)):
        theirs.disable_progress_bar()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"not valid JSON: {error}", place=str(path)) from error
    if not isinstance(value, dict):
        raise ConfigError("expected a JSON object", place=str(path))
    return value


def stop_ids(tokenizer: Any, *configs: Any) -> frozenset[int]:
    """Return all ids that end an answer, as tokenizer, model config and generation config name them.

    Chat models often name end of turn in one of them and end of text in another.
    """
    return frozenset(_eos_ids(tokenizer, *configs))


def _eos_ids(*holders: Any) -> Iterator[int]:
    for holder in holders:
        value = getattr(holder, "eos_token_id", None)
        if isinstance(value, int):
            yield value
        elif value is not None:
            yield from (int(token) for token in value)


def context_length(config: Any, max_context: int | None) -> int | None:
    """Return the most tokens a model takes: as asked, else as its config says, else None."""
    if max_context is not None:
        return max_context
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def _sample(path: Path, state: hashlib._Hash) -> None:
    """Hash a file's size, its beginning, and blocks spread evenly over the rest; small files whole."""
    size = path.stat().st_size
    state.update(str(size).encode())
    step = max((size - _HEAD) // _NUM_SAMPLES, _BLOCK)
    with path.open("rb") as stream:
        state.update(stream.read(_HEAD))
        for offset in range(_HEAD, size, step):
            stream.seek(offset)
            state.update(stream.read(_BLOCK))
