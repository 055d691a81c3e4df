"""Records by id and lines by key, with the texts on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasrm.durable.log import seal
from reasrm.durable.lookup import open_records, sorted_lines
from reasrm.errors import EnvironmentProblem, InputError
from tests.refusals import refused


def test_records_are_found_by_id(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(seal({"id": f"q{n}", "text": "x" * n}) for n in (5, 3, 9, 0)))
    with open_records(path) as index:
        assert len(index) == 4
        assert index.get("q9") == {"id": "q9", "text": "x" * 9}
        assert index.get("q5") == {"id": "q5", "text": "x" * 5}
        assert index.get("q1") is None


def test_a_torn_last_line_is_not_there_and_an_empty_log_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(seal({"id": "a"}) + seal({"id": "b"})[:-3])
    with open_records(path) as index:
        assert (index.get("a"), index.get("b")) == ({"id": "a"}, None)
    path.write_bytes(b"")
    with open_records(path) as index:
        assert (len(index), index.get("a")) == (0, None)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(seal({"id": "a"}) + seal({"id": "b"}).replace(b"b", b"c", 1))
    with refused(InputError, "log.jsonl:2"), open_records(path):
        pass


def test_two_ids_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasrm.durable.lookup.hash_id", lambda row_id: 7)
    path = tmp_path / "log.jsonl"
    path.write_bytes(seal({"id": "a"}) + seal({"id": "b"}))
    with open_records(path) as index:
        assert [index.get(name) for name in "bac"] == [{"id": "b"}, {"id": "a"}, None]


def test_lines_leave_in_the_order_of_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with sorted_lines(path) as write:
        for key, line in (("b", b"1\n"), ("a", b"22\n"), ("b", b"333\n"), ("a", b"\n")):
            write(key, line)
        assert not path.exists()
    assert path.read_bytes() == b"22\n\n1\n333\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"earlier")
    with pytest.raises(TypeError), sorted_lines(path) as write:
        write("a", "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"earlier"
    with pytest.raises(EnvironmentProblem, match="cannot be written"), sorted_lines(tmp_path / "no" / "out"):
        pass
