"""Model folders of scorers: looked at before anything of them is loaded.

A folder is somebody's data and runs no code here: weights come from safetensors only, a folder that asks for its own
Python is refused, and `trust_remote_code` is off. A hub id is fetched once into the hub's own cache, without the files
that are refused, and is a folder from then on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasrm.errors import ConfigError

__all__ = ["checked_folder"]

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_FETCHED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja")
_OTHER_RUNTIMES = ("onnx/*", "openvino/*")
_OWN_MODULES = "sentence_transformers."


def checked_folder(path: str, revision: str | None = None) -> Path:
    """Return the folder of a model that may be loaded.

    Args:
        path: A folder, or a hub id.
        revision: Branch, tag or commit, for a hub id.

    Raises:
        ConfigError: There is no such model, or it has its own code or pickles for weights.
    """
    folder = Path(path) if Path(path).is_dir() else _fetched(path, revision)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        if file.name.endswith("config.json") and _names_code(file):
            raise ConfigError(
                "'auto_map' asks to run Python code from the model folder",
                place=str(file),
                remedy="use a model whose architecture transformers knows",
            )
        if file.suffix in _PICKLES and not any(file.parent.glob("*.safetensors")):
            raise ConfigError(
                "weights stored as a pickle can run code and are not read",
                place=str(file),
                remedy="convert them to safetensors where you can trust them",
            )
    _check_modules(folder / "modules.json")
    if not any(file.suffix == ".safetensors" for file in files):
        raise ConfigError(
            "the folder has no weights (*.safetensors)",
            place=str(folder),
            remedy="name a folder that holds a model",
        )
    return folder


def _check_modules(path: Path) -> None:
    """Refuse an encoder one of whose modules is not of sentence-transformers itself."""
    if not path.is_file():
        return
    modules = _read(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ConfigError("expected a list of objects", place=str(path))
    for kind in (module.get("type") for module in modules):
        if not isinstance(kind, str) or not kind.startswith(_OWN_MODULES):
            raise ConfigError(
                f"the module {kind!r} is not one of sentence-transformers and would run its own code",
                place=str(path),
                remedy="use an encoder made of sentence-transformers' modules",
            )


def _fetched(path: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            path, revision=revision, allow_patterns=list(_FETCHED), ignore_patterns=list(_OTHER_RUNTIMES)
        )
    except (OSError, ValueError) as error:  # the hub's own errors are among them
        raise ConfigError(
            f"no such folder, and no such model could be fetched from the hub: {type(error).__name__}",
            place=path,
            remedy="check the folder, or the hub id and the network",
        ) from error
    return Path(found)


def _names_code(path: Path) -> bool:
    value = _read(path)
    return isinstance(value, dict) and "auto_map" in value


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid JSON: {error}", place=str(path)) from error
