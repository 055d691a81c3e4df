"""How one of many is found: a file of its own in the folder of its kind, registered by being there.

Reward parts, sources, suites and similarities are kept so: one file each. A file whose name begins with an underscore
is shared by the others and is no entry.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType
from typing import TypeVar

__all__ = ["instances", "load", "names"]

T = TypeVar("T")


def names(package: str) -> tuple[str, ...]:
    """Return the names of a package's entries, sorted. None is imported: help texts and checks of names stay light."""
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    return tuple(sorted(info.name for info in pkgutil.iter_modules(folders) if not info.name.startswith("_")))


def load(package: str, name: str) -> ModuleType:
    """Import one entry of a package."""
    return importlib.import_module(f"{package}.{name}")


def instances(package: str, kind: type[T]) -> tuple[T, ...]:
    """Import all entries of a package and return what they hold of a type, in the order of files and lines."""
    values = [value for name in names(package) for value in vars(load(package, name)).values()]
    return tuple({id(value): value for value in values if isinstance(value, kind)}.values())
