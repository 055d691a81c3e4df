"""What tests of config files share."""

from __future__ import annotations

from typing import Any


def expect_taken(given: Any, taken: Any, place: str) -> None:
    """Fail unless every value that a file gives is in what its loader made of it."""
    if isinstance(given, dict):
        for key, value in given.items():
            expect_taken(value, taken[key], f"{place}.{key}")
    elif isinstance(taken, list) and not isinstance(given, list):
        assert taken == [given], place
    else:
        assert taken == given, place
