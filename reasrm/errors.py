"""Errors that name the place, the value and the remedy, and the exit code each one ends a command with.

Every class also inherits the standard error it refines, so callers may catch either. Exit codes are part of
the public interface: 2 usage or config, 4 invalid input, 5 environment, 75 output locked by another process.
"""

from __future__ import annotations

from reasrm.printable import one_line

__all__ = [
    "ConfigError",
    "EnvironmentProblem",
    "InputError",
    "InternalError",
    "LockedError",
    "MissingExtraError",
    "ReasrmError",
    "RowError",
]


class ReasrmError(Exception):
    """Root of every error that `reasrm` raises on purpose.

    Args:
        message: What is wrong, with the offending value. Line breaks, as in a library's words, become spaces.
        place: Where: `pairs.jsonl:1204`, `config.yaml: sampling.temperature`.
        remedy: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, place: str | None = None, remedy: str | None = None) -> None:
        self.message = " ".join(line.strip() for line in message.splitlines())
        self.place = place
        self.remedy = remedy
        super().__init__(str(self))

    @property
    def advice(self) -> str:
        """`message; remedy`, for where the place is said beside it."""
        return self.message if self.remedy is None else f"{self.message}; {self.remedy}"

    def __str__(self) -> str:
        """Render as `place: message; remedy`."""
        return self.advice if self.place is None else f"{one_line(self.place)}: {self.advice}"


class ConfigError(ReasrmError, ValueError):
    """A flag, config file, spec file or judge name cannot be used as given."""

    exit_code = 2


class InputError(ReasrmError, ValueError):
    """An input file as a whole cannot be used."""

    exit_code = 4


class RowError(InputError):
    """One row of an input file cannot be used. Batch commands record it and go on.

    Args:
        message: What is wrong, with the offending value.
        code: Short machine-readable reason, e.g. `missing_field`, `wrong_type`, `bad_label`.
        place: File and line.
        remedy: What the user can do about it.
    """

    def __init__(
        self, message: str, *, code: str, place: str | None = None, remedy: str | None = None
    ) -> None:
        self.code = code
        super().__init__(message, place=place, remedy=remedy)


class EnvironmentProblem(ReasrmError, OSError):
    """The machine cannot do what was asked: disk, memory, permissions, a missing package."""

    exit_code = 5


class MissingExtraError(EnvironmentProblem):
    """An optional dependency is not installed; the message holds the install command."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed",
            remedy=f"install it with: pip install 'reasrm[{extra}]'",
        )


class LockedError(ReasrmError, RuntimeError):
    """Another process is writing the same output."""

    exit_code = 75


class InternalError(ReasrmError, RuntimeError):
    """A contract between two parts of `reasrm` was broken; a bug worth reporting."""
