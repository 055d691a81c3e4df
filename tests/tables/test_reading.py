"""The same rows in every format: same ids, same values; damage and what JSON cannot say are named."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import json
import lzma
import resource
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasrm.errors import InputError
from reasrm.judging.inputs import JudgeInput
from reasrm.sources import read_file
from reasrm.tables import TruncatedInput, content_sha256, read_rows
from tests.refusals import refused

ROWS: list[dict[str, Any]] = [
    {"prompt": "Name a prime.", "response_a": 'Seven, "VII".', "response_b": "Eight\nor so", "label": "A"},
    {"prompt": "Grüße?", "response_a": "Hallo, Welt", "response_b": "007", "label": "B"},
    {"prompt": "2+2?", "response_a": "4", "response_b": "[5]", "label": "tie"},
]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zst(content: bytes, path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(content)


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_all(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Path | str]:
    """Write the rows in every form that is read."""
    table = pa.Table.from_pylist(rows)
    files = {
        name: folder / f"rows.{name}"
        for name in ("jsonl", "json", "parquet", "arrow", "feather", "csv", "tsv")
    }
    files["jsonl"].write_bytes(jsonl(rows))
    files["json"].write_text(json.dumps(rows))
    pq.write_table(table, files["parquet"], row_group_size=2)
    with pa.ipc.new_stream(str(files["arrow"]), table.schema) as sink:
        sink.write_table(table)
    with pa.ipc.new_file(str(files["feather"]), table.schema) as sink:
        sink.write_table(table)
    write_csv(files["csv"], rows)
    write_csv(files["tsv"], rows, "\t")
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    for name in ("jsonl", "csv", "parquet"):
        for suffix, pack in packed.items():
            files[f"{name}.{suffix}"] = folder / f"rows.{name}.{suffix}"
            files[f"{name}.{suffix}"].write_bytes(pack(files[name].read_bytes()))
        files[f"{name}.zst"] = folder / f"rows.{name}.zst"
        zst(files[name].read_bytes(), files[f"{name}.zst"])
    shards = folder / "shards" / "train"
    shards.mkdir(parents=True)
    for n, row in enumerate(rows):
        pq.write_table(pa.Table.from_pylist([row]), shards / f"part-{n}.parquet")
    (folder / "shards" / "README.md").write_text("# about")
    (folder / "shards" / "dataset_info.json").write_text("{}")
    return {**files, "shards": folder / "shards", "glob": str(shards / "part-*.parquet")}


def test_every_format_gives_the_same_rows_under_the_same_ids(tmp_path: Path) -> None:
    expected = None
    for name, path in write_all(tmp_path, ROWS).items():
        rows = JudgeInput([Path(path)])
        scan = rows.scan()
        found = [(item.id, item.row) for item in rows]
        expected = expected or found
        assert found == expected, name
        assert (scan.num_rows, scan.num_labelled, scan.source) == (3, 3, "rows"), name


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_a_table_without_a_telling_name_is_told_by_its_first_lines(
    tmp_path: Path, name: str, pack: Any
) -> None:
    """As it comes through a pipe."""
    written = write_csv(tmp_path / f"rows.{name}", ROWS, "," if name == "csv" else "\t")
    (tmp_path / "stdin").write_bytes(pack(written.read_bytes()))
    told, piped = ([raw.data for raw in read_rows(path)] for path in (written, tmp_path / "stdin"))
    assert piped == told
    assert len(told) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt;chosen;rejected\na;b;c\n", "parted by ';'"),
        ('broken, line"\n{"prompt": "a", "chosen": "b", "rejected": "c"}\n', None),
        ("one line, that is all\n", None),
        ("no columns\nat all\n", None),
    ],
)
def test_what_is_no_table_stays_json_lines(tmp_path: Path, text: str, said: str | None) -> None:
    (tmp_path / "stdin").write_text(text)
    if said is None:
        first = next(iter(read_rows(tmp_path / "stdin")))
        assert first.error is not None
        assert first.error.code == "bad_json"
    else:
        with refused(InputError, "stdin", said):
            list(read_rows(tmp_path / "stdin"))


def test_places_name_file_and_row(tmp_path: Path) -> None:
    files = write_all(tmp_path, ROWS)
    places = {
        name: [raw.place for raw in read_rows(files[name])][-1] for name in ("parquet", "csv", "shards")
    }
    assert places == {
        "parquet": "rows.parquet:row 3",
        "csv": "rows.csv:row 3",
        "shards": "train/part-2.parquet:row 1",
    }


def test_the_hash_of_an_input_follows_its_content(tmp_path: Path) -> None:
    files = write_all(tmp_path, ROWS)
    before = {name: content_sha256(files[name]) for name in ("shards", "glob", "parquet")}
    assert before == {name: content_sha256(files[name]) for name in before}
    pq.write_table(pa.Table.from_pylist(ROWS[:1]), tmp_path / "shards" / "train" / "part-2.parquet")
    after = {name: content_sha256(files[name]) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["shards", "glob"]


def test_values_of_typed_columns_become_json(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    row = {
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone),
        "day": datetime.date(2026, 1, 2),
        "price": Decimal("1.50"),
        "count": Decimal("3"),
        "vector": [1.5, 2.0],
        "nested": {"list": [{"x": 1, "y": None}], "none": None},
        "none": None,
        "gap": ["a", None],
    }
    pq.write_table(pa.Table.from_pylist([row, {**row, "none": "x"}]), tmp_path / "t.parquet")
    first = next(iter(read_rows(tmp_path / "t.parquet"))).data
    assert first is not None
    assert datetime.datetime.fromisoformat(first.pop("when")) == row["when"]
    assert first == {
        "day": "2026-01-02",
        "price": 1.5,
        "count": 3,
        "vector": [1.5, 2.0],
        "nested": {"list": [{"x": 1}]},
        "gap": ["a", None],
    }


def test_what_json_cannot_say_is_refused_by_name_and_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    bad = {
        "prompt": "Q",
        "chosen": "x",
        "rejected": "y",
        "image": {"bytes": b"\x89PNG"},
        "score": float("nan"),
    }
    pq.write_table(pa.Table.from_pylist([bad]), path)
    (found,) = read_rows(path)
    assert found.error is not None
    assert (found.error.code, "'image.bytes'" in str(found.error)) == ("binary", True)
    assert "--columns image=" in str(found.error)
    (found,) = read_rows(path, columns={"image": ""})
    assert found.error is not None
    assert (found.error.code, "'score'" in str(found.error)) == ("not_finite", True)
    (found,) = read_rows(path, columns={"image": "", "score": ""})
    assert found.data == {"prompt": "Q", "chosen": "x", "rejected": "y"}


def test_padded_nulls_are_absent_keys(tmp_path: Path) -> None:
    message = {"role": "user", "content": "Hi", "tool_calls": None, "name": None}
    rows = [
        {
            "id": None,
            "prompt": [message],
            "response_a": "x",
            "response_b": "y",
            "chosen": None,
            "rejected": None,
        },
        {
            "id": "own",
            "prompt": [message],
            "response_a": None,
            "response_b": None,
            "chosen": "x",
            "rejected": "y",
        },
    ]
    (tmp_path / "rows.jsonl").write_bytes(jsonl(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        items = list(read_file(tmp_path / name))
        assert [(item.error, item.source) for item in items] == [(None, "rows"), (None, "trl")]
        assert (items[0].id_is_derived, items[1].rows[0].id) == (True, "own")


def test_csv_cells(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    messages = [{"role": "user", "content": "Hi"}]
    write_csv(
        path,
        [
            {
                "id": "007",
                "prompt": json.dumps(messages),
                "responses": '["a", "b"]',
                "label": "1",
                "meta": '{"n": 1}',
            },
            {"id": "8", "prompt": "[1]", "responses": '["c", "d"]', "label": "", "meta": ""},
        ],
    )
    first, second = (raw.data for raw in read_rows(path))
    assert first == {"id": "007", "prompt": messages, "responses": ["a", "b"], "label": 1, "meta": {"n": 1}}
    assert second == {"id": "8", "prompt": "[1]", "responses": ["c", "d"]}


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"a,b\n1,2\n1,2,3\n4,5\n", [None, "bad_csv", None]),
        (b"a,b\n1\n\n4,5\n", ["bad_csv", None]),
        (b'a,b\n"x"y,2\n4,5\n', ["bad_csv", None]),
        (b"a,b\n\xff,2\n4,5\n", ["bad_utf8", None]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", [None]),
        (b"", []),
        (b"a,b\n", []),
    ],
)
def test_bad_csv_rows_are_named_and_the_rest_goes_on(
    tmp_path: Path, content: bytes, codes: list[str | None]
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    rows = list(read_rows(tmp_path / "t.csv"))
    assert [None if raw.error is None else raw.error.code for raw in rows] == codes
    assert all(raw.data is None or set(raw.data) == {"a", "b"} for raw in rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"prompt;chosen\nx;y\n", "parted by ';'"),
        ("t.csv", b"prompt\tchosen\nx\ty\n", "call it .tsv"),
        ("t.csv", b"a,a\n1,2\n", "called 'a'"),
        ("t.csv", b"\xff\xfe,a\n1,2\n", "not UTF-8"),
        ("t.parquet", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("t.arrow", b'{"prompt": 1}\n', "does not begin as Arrow does"),
        ("t.feather", b"FEA1....", "Feather of version 1"),
    ],
)
def test_files_that_are_not_what_they_seem(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        list(read_rows(tmp_path / name))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["parquet", "arrow", "jsonl.zst", "jsonl.xz", "jsonl.bz2", "csv.zst", "parquet.gz"]
)
def test_a_cut_file_is_named_after_its_rows(tmp_path: Path, name: str) -> None:
    rows = [{**row, "prompt": f"{n} {row['prompt']}"} for n in range(400) for row in ROWS]
    path = Path(write_all(tmp_path, rows)[name])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = []
    with pytest.raises(TruncatedInput, match="cut or damaged"):
        found.extend(read_rows(path))
    assert all(raw.data is not None for raw in found)


def test_the_shards_after_a_cut_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl(ROWS))[:-9])
    (tmp_path / "b.jsonl").write_bytes(jsonl(ROWS))
    scan = JudgeInput([tmp_path]).scan()
    assert (scan.num_rows >= 3, scan.invalid) == (True, {"truncated_input": 1})


def test_folders_and_globs_that_name_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without files of rows"):
        list(read_rows(tmp_path))
    with pytest.raises(InputError, match="matches no file"):
        list(read_rows(tmp_path / "*.parquet"))
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "b.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"CSV and JSON Lines files.*glob"):
        list(read_rows(tmp_path))
    odd = tmp_path / "rows[1].jsonl"
    odd.write_bytes(jsonl(ROWS))
    assert len(list(read_rows(odd))) == 3


def test_json_lines_need_no_arrow(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS))
    code = (
        "import sys; from pathlib import Path; import reasrm; from reasrm.judging.inputs import JudgeInput; "
        f"JudgeInput([Path({str(tmp_path / 'rows.jsonl')!r})]).scan(); "
        "assert not {'pyarrow', 'datasets', 'pandas', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.soak
def test_a_million_rows_of_parquet_stay_in_bounds(tmp_path: Path) -> None:
    path = tmp_path / "big.parquet"
    text = "word " * 40
    schema = pa.schema(
        [("id", pa.string()), ("prompt", pa.string()), ("chosen", pa.string()), ("rejected", pa.string())]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, 1_000_000, 50_000):
            ids = [f"r{n}" for n in range(start, start + 50_000)]
            texts = [f"{text}{n}" for n in ids]
            writer.write_table(pa.table([ids, texts, [f"{t} a" for t in texts], texts], schema=schema))
    next(iter(read_rows(path)))  # pyarrow itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in read_rows(path)) == 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024
