"""What one input names: a file, a folder of shards, a glob, or a data set of the Hub.

The shards of a folder are its files of rows, hidden ones and those that only describe a data set left out, in the order
of their names; all are of one format. A name that exists is never taken for a glob.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from reasrm.compressed import SUFFIXES
from reasrm.errors import InputError
from reasrm.files import display_name, file_sha256
from reasrm.hashing import digest
from reasrm.pipes import as_typed

__all__ = ["content_sha256", "format_of", "input_files", "is_hub", "refuse_missing", "told_apart"]

FORMATS = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".feather": "Arrow",
    ".csv": "CSV",
    ".tsv": "TSV",
}
_DESCRIBING = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def is_hub(path: str | os.PathLike[str]) -> bool:
    """Whether an input is a data set of the Hub; a `Path` has lost one of the two slashes."""
    return os.fspath(path).startswith("hf:/")


def format_of(name: str) -> str | None:
    """Return the format that a file's name says, whatever it is compressed by; None for an unknown one."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return FORMATS.get(Path(name).suffix.lower())


def input_files(path: str | os.PathLike[str]) -> list[tuple[str, Path]]:
    """Return the files that an input names, each with the name that places give it.

    Raises:
        InputError: A folder holds no shards, or of several formats; a glob matches nothing.
    """
    text = os.fspath(path)
    found = Path(path)
    if found.is_dir():
        return _shards(found)
    if not os.path.lexists(text) and glob.has_magic(text):
        files = sorted(Path(name) for name in glob.glob(text, recursive=True) if os.path.isfile(name))
        if not files:
            raise InputError("matches no file", place=text, remedy="quote the glob, and check its folder")
        same_names = len({file.name for file in files}) < len(files)
        return [(str(file) if same_names else display_name(file), file) for file in files]
    return [(display_name(found), found)]


def told_apart(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return each input with what its places begin with: nothing, or its folder where two have the same name."""
    if len({display_name(path) for path in inputs}) == len(inputs):
        return [(path, "") for path in inputs]
    return [(path, f"{Path(as_typed(str(path))).parent}/") for path in inputs]


def _shards(folder: Path) -> list[tuple[str, Path]]:
    files = {
        file.relative_to(folder): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in _DESCRIBING and format_of(file.name) is not None
    }
    shards = [
        (os.fsencode(name).decode("utf-8", "backslashreplace"), file)
        for name, file in files.items()
        if not any(part.startswith(".") for part in name.parts)
    ]
    formats = sorted({format_of(name) or "" for name, _ in shards})
    if len(formats) == 1:
        return shards
    if formats:
        raise InputError(
            f"is a folder of {' and '.join(formats)} files",
            place=str(folder),
            remedy="name those that are meant by a glob, such as 'folder/*.parquet'",
        )
    raise InputError(
        "is a folder without files of rows",
        place=str(folder),
        remedy=f"name a file, or a folder of files that end in {', '.join(FORMATS)}",
    )


def refuse_missing(inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `InputError` if a file is not there, before anything is done."""
    for path in inputs:
        if not is_hub(path):
            for _, file in input_files(path):
                if not file.exists():
                    raise InputError("there is no such file", place=str(path))


def content_sha256(path: str | os.PathLike[str]) -> str:
    """Return what changes when an input's rows may have.

    Of a file that is the SHA-256 of its bytes, of several files a hash of their names and hashes, of a data set of
    the Hub one of its resolved commit.

    Raises:
        InputError: The input cannot be found.
        OSError: A file cannot be read.
    """
    if is_hub(path):
        from reasrm.tables.hub import resolve

        return digest(resolve(os.fspath(path)).identity, length=64)
    files = input_files(path)
    if len(files) == 1 and files[0][1] == Path(path):
        return file_sha256(path)
    return _of_files(files)


def _of_files(files: Sequence[tuple[str, Path]]) -> str:
    return digest([[name, file_sha256(file)] for name, file in files], length=64)
