"""The shape of a refusal, whatever its words: its kind, one line, the place, the values it is about, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem, InputError, LockedError, ReasrmError, RowError

_WITH_REMEDY = (ConfigError, InputError, EnvironmentProblem, LockedError)


@contextmanager
def refused(kind: type[BaseException], *named: object, remedy: bool = True) -> Iterator[Any]:
    """Expect a block to be refused, and yield what `pytest.raises` caught.

    The text is `place: message; remedy`. Its words are free; what must be in it is what a user has to see.

    Args:
        kind: Class of the error; it decides the exit code.
        named: What the text names: the place, the offending values, the flag or command that helps.
        remedy: Whether a remedy of its own is demanded. Of one row none is: the file's rows have many writers.
    """
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    missing = [value for value in named if str(value) not in str(error)]
    assert not missing, f"not named: {missing}, in: {error}"
    if remedy and isinstance(error, _WITH_REMEDY) and not isinstance(error, RowError):
        assert error.remedy, f"no remedy: {error}"


def misshapen(error: ReasrmError) -> str | None:
    """Return what is wrong with the form of an error that a user may see, or None.

    Every test checks it of every error made in it, so that no test need say it of one.
    """
    text = str(error)
    if not error.message.strip() or len(text.splitlines()) != 1:
        return f"not one line: {text!r}"
    if isinstance(error, _WITH_REMEDY) and error.place is None and error.remedy is None:
        return f"neither place nor remedy: {text!r}"
    return None
