"""One file more is one thing more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasrm.metrics.suites import SUITES
from reasrm.registry import instances, load, names
from reasrm.scorers.similarities import SIMILARITIES, get_similarity


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "some_room"
    folder.mkdir()
    (folder / "__init__.py").write_text("THINGS = 0\n")
    (folder / "_shared.py").write_text("from fractions import Fraction\nHALF = Fraction(1, 2)\n")
    (folder / "b.py").write_text("from some_room._shared import HALF, Fraction\nTHIRD = Fraction(1, 3)\n")
    (folder / "a.py").write_text(
        "from some_room.b import THIRD\nfrom fractions import Fraction\nONE = Fraction(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_room"
    for name in [name for name in sys.modules if name.startswith("some_room")]:
        del sys.modules[name]


def test_names_are_those_of_the_files_and_nothing_is_imported(room: str) -> None:
    assert names(room) == ("a", "b")
    assert not any(name.startswith("some_room.") for name in sys.modules)
    assert load(room, "b").THIRD.denominator == 3


def test_what_files_hold_is_found_once_in_their_order(room: str) -> None:
    from fractions import Fraction

    assert instances(room, Fraction) == (Fraction(1, 3), Fraction(1), Fraction(1, 2))
    (Path(sys.modules[room].__path__[0]) / "c.py").write_text(
        "from fractions import Fraction\nX = Fraction(9)\n"
    )
    assert instances(room, Fraction)[-1] == 9


def test_a_suite_and_a_similarity_are_named_by_their_files() -> None:
    assert [suite.name for suite in SUITES] == [
        name.replace("_", "-") for name in names("reasrm.metrics.suites")
    ]
    assert all(get_similarity(name).about for name in SIMILARITIES)
