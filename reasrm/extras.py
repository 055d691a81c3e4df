"""Optional packages: imported where they are needed, and asked for by name where they are absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from reasrm.errors import MissingExtraError

__all__ = ["require"]


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: Module to import, e.g. `openai` or `peft.tuners`.
        extra: The extra of `reasrm` that installs it.

    Raises:
        MissingExtraError: If the package is not installed. An installed package that fails while being
            imported raises its own error: installing it again would not help.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package or package.startswith(f"{error.name}."):
            raise MissingExtraError(package, extra) from error
        raise
