"""The reader of untrusted files: same rows whatever the line ends, every bad row named, bounded memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from reasrm.errors import EnvironmentProblem, InputError, InternalError
from reasrm.files import file_sha256, write_json_atomic
from reasrm.jsonl import RawRow, RowLimits, TruncatedInput, dumps, read_rows
from tests.refusals import refused

GOOD = b'{"id":"a","x":1}\n{"id":"b","x":2}\n{"id":"c","x":3}\n'


def rows_of(path: Path, content: bytes, **options: object) -> list[RawRow]:
    path.write_bytes(content)
    return list(read_rows(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.rstrip(),
        GOOD.replace(b"\n", b"\n\n \t\r\n"),
        b"\n\n" + GOOD,
        gzip.compress(GOOD, mtime=0),
        gzip.compress(GOOD[:20], mtime=0) + gzip.compress(GOOD[20:], mtime=0),
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n").rstrip(),
    ],
    ids=[
        "lf",
        "bom",
        "crlf",
        "no-final-newline",
        "blank-lines",
        "blank-first",
        "gz",
        "gz-members",
        "bom-crlf",
    ],
)
def test_every_line_form_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    plain = rows_of(tmp_path / "lf.jsonl", GOOD)
    rows = rows_of(tmp_path / "x.jsonl", content)
    assert [row.data for row in rows] == [{"id": i, "x": x} for i, x in (("a", 1), ("b", 2), ("c", 3))]
    assert [row.digest for row in rows] == [row.digest for row in plain]
    assert len({row.digest for row in rows}) == 3


def test_a_place_is_file_and_line(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "pairs.jsonl", b'{"a":1}\n\n{"a":2}\nx\n')
    assert [(row.place, row.line) for row in rows] == [
        ("pairs.jsonl:1", 1),
        ("pairs.jsonl:3", 3),
        ("pairs.jsonl:4", 4),
    ]
    assert str(rows[2].error).startswith("pairs.jsonl:4: not valid JSON at byte 0")


def test_only_lf_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\u0085four"
    line = json.dumps({"t": text}, ensure_ascii=False).encode() + b"\n"
    rows = rows_of(tmp_path / "x.jsonl", line + line)
    assert [row.data for row in rows] == [{"t": text}, {"t": text}]
    # VT and FF are control characters, which JSON strings must escape: bad rows, but not line ends.
    rows = rows_of(tmp_path / "y.jsonl", b'{"t":"a\x0bb"}\n{"t":"a\x0cb"}\n{"t":"\\u000b"}\n')
    assert [row.error and row.error.code for row in rows] == ["bad_json", "bad_json", None]


BAD = {
    "cut-multibyte": (b'{"a":"\xe4\xb8"}', "bad_utf8"),
    "ff-fe": (b'{"a":"\xff\xfe"}', "bad_utf8"),
    "overlong": (b'{"a":"\xc0\xaf"}', "bad_utf8"),
    "raw-surrogate": (b'{"a":"\xed\xa0\x80"}', "bad_utf8"),
    "escaped-lone-high": (b'{"a":"\\ud800"}', "bad_utf8"),
    "escaped-lone-low": (b'{"a":"\\udc00x"}', "bad_utf8"),
    "nan": (b'{"a":NaN}', "not_finite"),
    "infinity": (b'{"a": Infinity}', "not_finite"),
    "minus-infinity": (b'{"a":-Infinity}', "not_finite"),
    "overflowing-float": (b'{"a":1e999}', "not_finite"),
    "unquoted-info": (b'{"a":info}', "bad_json"),
    "huge-int": (b'{"a":123456789012345678901234567890}', "big_integer"),
    "int-2**64": (b'{"a":18446744073709551616}', "big_integer"),
    "int-below": (b'{"a":-9223372036854775809}', "big_integer"),
    "million-digits": (b'{"a":1' + b"0" * 10**6 + b"}", "not_finite"),
    "array-row": (b'[{"a":1}]', "not_object"),
    "string-row": (b'"a"', "not_object"),
    "null-row": (b"null", "not_object"),
    "torn": (b'{"a":"b', "bad_json"),
    "two-values": (b'{"a":1}{"a":2}', "bad_json"),
    "bare-cr-inside": (b'{"a":1}\r{"a":2}', "bad_json"),
    "nul": (b'{"a":"\x00"}', "bad_json"),
    "deep-arrays": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    "deep-objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
    "deep-within-orjson": (b'{"a":' * 500 + b"1" + b"}" * 500, "too_deep"),
}


@pytest.mark.parametrize(("bad", "code"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_and_the_others_proceed(tmp_path: Path, bad: bytes, code: str) -> None:
    rows = rows_of(tmp_path / "x.jsonl", b'{"id":"a"}\n' + bad + b'\n{"id":"c"}\n')
    assert [row.data for row in rows] == [{"id": "a"}, None, {"id": "c"}]
    assert rows[1].error is not None
    assert rows[1].error.code == code
    assert rows[1].error.place == "x.jsonl:2"
    assert "\ufffd" not in str(rows[1].error)


@pytest.mark.parametrize("bad", [b"[1, 2]", b"[]", b'["torn', b'{"torn', b"7"])
def test_a_bad_first_row_does_not_change_what_the_file_is(tmp_path: Path, bad: bytes) -> None:
    for name in ("x.jsonl", "x.json"):
        rows = rows_of(tmp_path / name, bad + b'\n{"id":"b"}\n{"id":"c"}\n')
        assert [row.data for row in rows] == [None, {"id": "b"}, {"id": "c"}]


def test_malformed_utf8_names_its_byte(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "x.jsonl", '{"é":"'.encode() + b'\xff"}\n')
    assert row.error is not None
    assert "malformed UTF-8 at byte 7 of the row (ff 22 7d)" in row.error.message


def test_large_but_legal_numbers_and_long_digit_strings_pass(tmp_path: Path) -> None:
    line = b'{"a":18446744073709551615,"b":-9223372036854775808,"c":"%b"}\n' % (b"1" * 50)
    (row,) = rows_of(tmp_path / "x.jsonl", line)
    assert row.data == {"a": 2**64 - 1, "b": -(2**63), "c": "1" * 50}


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"a":1,"m":{"k":1,"k":2}}', "k"),
        (b'{"k":1, "l":[{"k":1 ,"a":[{"k":"x","k"\t:"x"}]}]}', "k"),
        (rb'{"\u006b":1,"k":2}', "k"),
        (rb'{"a\\":1,"b":2,"a\\":3}', "a\\"),
        (b'{"k":":","k":"\\":"}', "k"),
        (b'{"":1,"":1}', ""),
    ],
    ids=["inner", "deep", "escaped", "backslash", "colons", "empty"],
)
def test_a_key_named_twice_is_an_error_of_its_row(tmp_path: Path, line: bytes, key: str) -> None:
    good, bad, last = rows_of(tmp_path / "x.jsonl", b'{"a":1}\n' + line + b'\n{"a":2}\n')
    assert bad.error is not None
    assert (bad.place, bad.error.code) == ("x.jsonl:2", "duplicate_key")
    assert repr(key) in bad.error.message
    assert (good.data, last.data) == ({"a": 1}, {"a": 2})
    (item,) = rows_of(tmp_path / "x.json", b"[" + line + b"]")
    assert item.error is not None
    assert item.error.code == "duplicate_key"


def test_quoted_json_and_keys_of_many_objects_are_no_duplicates(tmp_path: Path) -> None:
    rows = [{"t": '{"k": 1, "k": 2}', "m": [{"k": ":"}, {"k": '":'}], "k": {"k": {"k": []}}, "": '\\":'}]
    found = rows_of(tmp_path / "x.jsonl", json.dumps(rows[0]).encode())
    assert [row.data for row in found] == rows


def test_cr_only_files_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"CR alone.*tr "):
        rows_of(tmp_path / "x.jsonl", GOOD.replace(b"\n", b"\r"))


def test_utf16_is_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"UTF-16.*iconv"):
        rows_of(tmp_path / "x.jsonl", GOOD.decode().encode("utf-16"))


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0), b"[]", b" [ ] "]
)
def test_an_empty_file_has_no_rows(tmp_path: Path, content: bytes) -> None:
    assert rows_of(tmp_path / "x.json", content) == []


def test_a_long_row_is_reported_and_skipped(tmp_path: Path) -> None:
    fits = b'{"a":"' + b"x" * 92 + b'"}'
    assert len(fits) == 100
    over = b'{"a":"' + b"x" * 93 + b'"}'
    content = fits + b"\n" + over + b"\n" + b"y" * 5000 + b"\n" + fits
    rows = rows_of(tmp_path / "x.jsonl", content, limits=RowLimits(row_bytes=100))
    assert [row.error and row.error.code for row in rows] == [None, "too_large", "too_large", None]
    assert [row.line for row in rows] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("megabytes", "cap"), [(200, 16 * 2**20), pytest.param(1024, 64 * 2**20, marks=pytest.mark.soak)]
)
def test_memory_stays_within_three_caps_on_a_huge_row(tmp_path: Path, megabytes: int, cap: int) -> None:
    path = tmp_path / "x.jsonl"
    with open(path, "wb") as stream:
        stream.write(b'{"a":1}\n{"t":"')
        for _ in range(megabytes):
            stream.write(b"x" * 2**20)
        stream.write(b'"}\n{"t":"' + b"y" * (cap - 100) + b'"}\n{"a":2}\n')
    script = (
        "import resource, sys\nfrom reasrm.jsonl import RowLimits, read_rows\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "rows = read_rows(sys.argv[1], limits=RowLimits(row_bytes=int(sys.argv[2])))\n"
        "print(*(row.error.code if row.error else 'ok' for row in rows))\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(cap)], capture_output=True, text=True, check=True
    )
    codes, growth = done.stdout.splitlines()
    assert codes.split() == ["ok", "too_large", "ok", "ok"]
    assert int(growth) <= 3 * cap + 8 * 2**20


def test_a_cut_gzip_file_yields_its_complete_rows_then_says_where(tmp_path: Path) -> None:
    lines = [
        orjson.dumps({"id": i, "h": hashlib.sha256(str(i).encode()).hexdigest()}) + b"\n" for i in range(2000)
    ]
    packed = gzip.compress(b"".join(lines))
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    rows: list[RawRow] = []
    with pytest.raises(TruncatedInput) as caught:
        rows.extend(read_rows(path))
    assert 500 < len(rows) < 2000
    assert [row.data["id"] for row in rows if row.data] == list(range(len(rows)))
    assert caught.value.num_rows == len(rows)
    assert caught.value.offset == sum(map(len, lines[: len(rows)]))
    assert caught.value.exit_code == 3


def test_a_damaged_gzip_file_is_an_input_error(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(GOOD * 1000))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(InputError, match="cut or damaged"):
        rows_of(tmp_path / "x.jsonl.gz", bytes(packed))


def test_a_zip_bomb_stops_at_the_ratio_unless_so_much_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(20):
            stream.write(b"0" * 2**20)
    assert path.stat().st_size < 2**16
    with pytest.raises(InputError, match="--max-unpacked-bytes"):
        list(read_rows(path, limits=RowLimits(row_bytes=2**20, unpacked_bytes=16 * 2**20)))
    (row,) = read_rows(path, limits=RowLimits(row_bytes=2**20, unpacked_bytes=20 * 2**20))
    assert row.error is not None
    assert "--max-row-bytes" in str(row.error)


ITEMS = [{"id": "a", "t": 'q"],}{[\\', "n": [[1], {"k": 2}]}, {"id": "b"}, {"id": "ü\u2028"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_a_json_array_is_read_item_by_item(tmp_path: Path, indent: int | None, packed: bool) -> None:
    content = json.dumps(ITEMS, indent=indent, ensure_ascii=False).encode()
    name = "x.json.gz" if packed else "x.json"
    rows = rows_of(tmp_path / name, gzip.compress(content) if packed else b"\xef\xbb\xbf" + content)
    assert [row.data for row in rows] == ITEMS
    assert [(row.line, row.place) for row in rows] == [(n, f"{name}: item {n}") for n in (1, 2, 3)]


def test_an_item_has_one_digest_however_it_is_laid_out(tmp_path: Path) -> None:
    compact = rows_of(tmp_path / "x.json", json.dumps(ITEMS).encode())
    spread = rows_of(tmp_path / "y.json", json.dumps(ITEMS, indent=4).encode())
    assert [row.digest for row in compact] == [row.digest for row in spread]


@pytest.mark.parametrize("indent", [None, 4])
def test_an_object_of_objects_gives_rows_with_keys(tmp_path: Path, indent: int | None) -> None:
    content = {"p:1": {"id": 1, "k": {"z": ":"}}, 'p"2': {"id": 2}}
    rows = rows_of(tmp_path / "x.json", json.dumps(content, indent=indent).encode())
    assert [row.data for row in rows] == [{"id": 1, "k": {"z": ":"}, "_key": "p:1"}, {"id": 2, "_key": 'p"2'}]


def test_json_lines_in_a_json_file_are_lines(tmp_path: Path) -> None:
    assert [row.data for row in rows_of(tmp_path / "x.json", b'{"a":{"b":1}}\n{"a":{"b":2}}\n')] == [
        {"a": {"b": 1}},
        {"a": {"b": 2}},
    ]


def test_bad_items_are_named_and_the_others_proceed(tmp_path: Path) -> None:
    content = b'[{"id":"a"},7,{"x":NaN},{"y":"\xff"},{"big":"' + b"x" * 300 + b'"},{"id":"f"},]'
    rows = rows_of(tmp_path / "x.json", content, limits=RowLimits(row_bytes=100))
    codes = [row.error and row.error.code for row in rows]
    assert codes == [None, "not_object", "not_finite", "bad_utf8", "too_large", None, "bad_json"]
    assert rows[5].data == {"id": "f"}


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_items_are_found_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    items = [{"a": "\\\"'", "b": ["[", "]"]}, {"c": "x" * 200}, {"d": "\\"}]
    content = json.dumps(items, indent=1).encode()
    monkeypatch.setattr("reasrm.jsonl._BLOCK", block)
    assert [row.data for row in rows_of(tmp_path / "x.json", content)] == items
    codes = [
        row.error and row.error.code
        for row in rows_of(tmp_path / "x.json", content, limits=RowLimits(row_bytes=100))
    ]
    assert codes == [None, "too_large", None]


def test_a_cut_array_yields_its_complete_items_first(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"a":1},{"a":2},{"a":')
    rows = read_rows(path)
    assert [next(rows).data, next(rows).data] == [{"a": 1}, {"a": 2}]
    with pytest.raises(TruncatedInput, match="after 2 complete rows, at byte 17"):
        next(rows)


@pytest.mark.parametrize("content", [b'[{"a":1}] x', b'[{"a":1}}', b'[{"a":1}][{"a":2}]'])
def test_content_after_an_array_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    with refused(InputError, "1 rows"):
        rows_of(tmp_path / "x.json", content)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "absent", tmp_path, loop, tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be read"):
            list(read_rows(path))


def test_odd_file_names_are_read_and_shown(tmp_path: Path) -> None:
    for name in ("a b.jsonl", "zeilen\numbruch.jsonl", "日本.jsonl", os.fsdecode(b"\xff.jsonl")):
        (row,) = rows_of(tmp_path / name, b'{"a":1}\n')
        dumps(row.place)  # can always be written down
        assert row.data == {"a": 1}


def test_real_benchmark_files_are_read_whole(real_data: Path) -> None:
    counts = {
        "biggen/sample_evals.json": 695,
        "hh-rlhf/harmless-base_test.jsonl.gz": 2312,
        "judgebench/gpt-4o-2024-05-13.jsonl": 350,
        "llmbar/natural.json": 100,
        "pandalm/testset-v1.json": 999,
        "rm-bench/chat_filtered.json": 129,
    }
    for name, count in counts.items():
        rows = list(read_rows(real_data / name))
        assert len(rows) == count, name
        assert not [row.error for row in rows if row.error], name
    evals = json.loads((real_data / "biggen/sample_evals.json").read_bytes())
    rows = list(read_rows(real_data / "biggen/sample_evals.json"))
    assert [row.data for row in rows] == [{**value, "_key": key} for key, value in evals.items()]


@pytest.mark.parametrize(
    "value",
    [float("nan"), {"a": [1, {"b": float("inf")}]}, {"a": "\ud800"}, {"a": 2**70}, {1: 2}, {"a": {1}}],
)
def test_dumps_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(InternalError, match="cannot be written as JSON"):
        dumps(value)


def test_dumps_names_the_place_of_a_nan_and_keeps_null() -> None:
    with pytest.raises(InternalError, match=r"infinity at \.a\.1\.b"):
        dumps({"a": [None, {"b": float("nan")}]})
    assert dumps({"a": None, "b": "é\n"}) == '{"a":null,"b":"é\\n"}'.encode()


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_atomic_write_keeps_mode_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    write_json_atomic(real, {"a": 1})
    real.chmod(0o640)
    link.symlink_to(real)
    write_json_atomic(link, {"a": "ü"})
    assert json.loads(real.read_text()) == {"a": "ü"}
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.json", "real.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_atomic_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "x.json"
    write_json_atomic(path, {"old": True})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"reasrm.files.os.{step}", full)
    with pytest.raises(EnvironmentProblem, match=r"bytes needed.*No space left"):
        write_json_atomic(path, {"old": False})
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
