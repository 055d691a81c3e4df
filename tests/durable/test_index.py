"""Sets of id hashes and the check for repeated ids."""

from __future__ import annotations

from array import array

import pytest

from reasrm.durable import DuplicateCheck, IdIndex, hash_id
from reasrm.durable.index import repeated


def test_an_index_holds_what_it_was_given_and_what_was_added() -> None:
    index = IdIndex(array("Q", [hash_id("a"), hash_id("b")]))
    assert "a" in index
    assert "c" not in index
    assert index.add("c")
    assert not index.add("c")
    assert not index.add("a")
    assert "c" in index
    assert len(index) == 3
    assert len(IdIndex()) == 0
    assert "a" not in IdIndex()


def test_an_index_grows_beyond_its_recent_part() -> None:
    index = IdIndex()
    count = (1 << 16) + 10
    assert all(index.add(f"q{n}") for n in range(count))
    assert not any(index.add(f"q{n}") for n in range(0, count, 1000))
    assert all(f"q{n}" in index for n in range(0, count, 777))
    assert f"q{count}" not in index
    assert len(index) == count


def test_find_gives_the_place_among_the_sorted_hashes() -> None:
    ids = [f"q{n}" for n in range(100)]
    index = IdIndex(array("Q", [hash_id(row_id) for row_id in ids]))
    order = sorted(ids, key=hash_id)
    assert [index.find(row_id) for row_id in order] == list(range(100))
    assert index.find("absent") is None


def test_hashes_are_stable_and_take_any_text() -> None:
    # blake2b with 8 bytes of output, read little-endian.
    assert hash_id("") == int.from_bytes(bytes.fromhex("e4a6a0577479b2b4"), "little")
    assert hash_id("a") != hash_id("b")
    assert 0 <= hash_id("\ud800") < 2**64


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([5], []),
        ([5, 5], [5]),
        ([0, 2**64 - 1, 0, 2**64 - 1, 7], [0, 2**64 - 1]),
        ([2**60, 2**60 - 1, 2**60, 2**60 - 1, 2**60], [2**60 - 1, 2**60]),
    ],
)
def test_repeated_values(values: list[int], expected: list[int]) -> None:
    assert repeated(array("Q", values)).tolist() == expected


def test_repeated_ids_are_found() -> None:
    check = DuplicateCheck()
    for row_id in ("a", "b", "a", "c", "a", "b"):
        check.add(row_id)
    assert len(check) == 6
    assert check.repeated_hashes() == {hash_id("a"), hash_id("b")}


def test_unique_ids_have_no_duplicates() -> None:
    check = DuplicateCheck()
    for number in range(1000):
        check.add(f"q{number}")
    assert check.repeated_hashes() == set()
