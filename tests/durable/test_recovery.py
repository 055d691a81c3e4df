"""Recovery of a log: cut at every byte, any byte flipped, ids repeated."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from reasrm.durable import hash_id
from reasrm.durable.log import AppendLog, read_records, seal, unseal
from reasrm.durable.recovery import recover
from reasrm.errors import InputError
from tests.durable.driver import record

IDS = ["q1", "q2", "q3"]
LINES = [seal(record(row_id)) for row_id in IDS]
CONTENT = b"".join(LINES)


def ids_of(path: Path) -> list[str]:
    return [r["id"] for r in read_records(path)]


def check_cuts(tmp_path: Path, content: bytes, cuts: Iterable[int]) -> None:
    """Cut, recover, write the missing rows again, and expect the uncut file."""
    path, torn = tmp_path / "out.jsonl", tmp_path / "out.jsonl.torn"
    for cut in cuts:
        path.write_bytes(content[:cut])
        torn.unlink(missing_ok=True)
        found = recover(path, torn)
        whole = content[: content.rfind(b"\n", 0, cut) + 1]
        assert path.read_bytes() == whole
        assert found.num_torn_bytes == cut - len(whole)
        assert (torn.read_bytes() if torn.exists() else b"") == content[len(whole) : cut]
        assert bool(found.warnings) == (cut > len(whole))
        log = AppendLog(path)
        for line in content.splitlines(keepends=True)[len(found.hashes) :]:
            log.append(line)
        log.close()
        assert path.read_bytes() == content


def test_a_torn_last_line_at_every_offset(tmp_path: Path) -> None:
    content = b"".join(seal({"id": row_id, "t": 'ü\\"'}) for row_id in IDS)
    start = content.rfind(b"\n", 0, -1) + 1
    check_cuts(tmp_path, content, range(start, len(content) + 1))


@pytest.mark.soak
def test_a_torn_file_at_every_offset(tmp_path: Path) -> None:
    check_cuts(tmp_path, CONTENT, range(len(CONTENT) + 1))


def test_a_torn_line_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasrm.durable.recovery._BLOCK", 16)
    check_cuts(tmp_path, CONTENT, [0, 1, 15, 16, 17, len(LINES[0]), len(LINES[0]) + 1, len(CONTENT) - 1])


def test_every_flipped_byte_is_noticed() -> None:
    line = seal({"id": "q1", "n": 1})
    assert unseal(line) == {"id": "q1", "n": 1}
    for place in range(len(line)):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[place] ^= 1 << bit
            assert unseal(bytes(flipped)) is None, (place, bit)


@pytest.mark.parametrize(
    "damage", ["flipped byte", "no crc", "not json", "flipped newline", "nul bytes", "no id", "new newline"]
)
def test_a_damaged_middle_line_is_taken_out_and_named(tmp_path: Path, damage: str) -> None:
    second = {
        "flipped byte": LINES[1].replace(b"verdict", b"verdicu"),
        "no crc": b'{"id":"q2","verdict":"A"}\n',
        "not json": b"oops\n",
        "flipped newline": LINES[1][:-1] + b"\x0b",
        "nul bytes": b"\x00" * len(LINES[1]) + b"\n",
        "no id": seal({"verdict": "A"}),
        "new newline": LINES[1].replace(b"verdict", b"verd\nct"),
    }[damage]
    path, torn = tmp_path / "out.jsonl", tmp_path / "out.jsonl.torn"
    content = LINES[0] + second + LINES[2]
    path.write_bytes(content)
    with pytest.raises(InputError, match="line"):
        recover(path, torn, strict=True)
    assert path.read_bytes() == content
    assert not torn.exists()
    path.chmod(0o640)
    found = recover(path, torn)
    lost = second + LINES[2] if damage == "flipped newline" else second
    kept = ["q1"] if damage == "flipped newline" else ["q1", "q3"]
    assert ids_of(path) == kept
    assert list(found.hashes) == [hash_id(row_id) for row_id in kept]
    assert torn.read_bytes() == lost
    assert found.num_torn_bytes == len(lost)
    named = "lines 2, 3 moved" if damage == "new newline" else "line 2 moved"
    assert named in found.warnings[0]
    assert path.stat().st_mode & 0o777 == 0o640
    assert recover(path, torn, strict=True).warnings == ()


def test_of_repeated_ids_the_first_is_kept(tmp_path: Path) -> None:
    path, torn = tmp_path / "out.jsonl", tmp_path / "out.jsonl.torn"
    again = seal({"id": "q1", "verdict": "other"})
    path.write_bytes(LINES[0] + LINES[1] + again + LINES[2] + b"torn")
    found = recover(path, torn)
    assert path.read_bytes() == CONTENT
    assert torn.read_bytes() == b"torn" + again
    assert sorted(found.hashes) == sorted(hash_id(row_id) for row_id in IDS)
    assert "line 3 repeat" in found.warnings[1]


def test_many_damaged_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"x\n" * 25 + LINES[0])
    found = recover(path, tmp_path / "torn")
    assert "damaged lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 15 more" in found.warnings[0]
    assert ids_of(path) == ["q1"]


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, torn = tmp_path / "out.jsonl", tmp_path / "torn"
    content = LINES[0] + b"x\n" + LINES[1]
    path.write_bytes(content)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("reasrm.durable.recovery.os.replace", crash)
        with pytest.raises(KeyboardInterrupt):
            recover(path, torn)
    assert path.read_bytes() == content
    recover(path, torn)
    assert path.read_bytes() == LINES[0] + LINES[1]


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    assert len(recover(tmp_path / "absent", tmp_path / "torn").hashes) == 0
    assert list(tmp_path.iterdir()) == []


def test_reading_stops_before_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(CONTENT[:-1])
    assert ids_of(path) == ["q1", "q2"]


@pytest.mark.slow
def test_random_damage_never_yields_a_wrong_record(tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "out.jsonl"
    for _ in range(60):
        damaged = bytearray(CONTENT)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        recover(path, tmp_path / "torn")
        for found in read_records(path):
            assert found == record(found["id"])
