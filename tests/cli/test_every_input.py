"""Every kind of input, judged, killed in the middle and continued: the rows and ids of a run that nobody disturbed."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import REASRM, decide, environment, rows_of, summary
from tests.fakes import Endpoint, Reply
from tests.hub import serving

ROWS = [
    {"prompt": f'Question {n}, "{n}"?', "response_a": f"yes\n{n}", "response_b": f"no {n}", "label": "A"}
    for n in range(24)
]
NUM_BEFORE = 8
Given = tuple[str, bytes | None, dict[str, str]]
"""What `--input` says, what comes through the pipe, the environment."""


def jsonl(folder: Path) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder / "rows.jsonl"


def parquet(folder: Path, rows: list[dict[str, Any]] | None = None, name: str = "rows.parquet") -> Path:
    pq.write_table(pa.Table.from_pylist(rows or ROWS), folder / name, row_group_size=5)
    return folder / name


def table_of_cells(folder: Path) -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(ROWS)
    (folder / "rows.csv").write_text(text.getvalue(), newline="")
    return folder / "rows.csv"


def zst(folder: Path) -> Path:
    with pa.CompressedOutputStream(str(folder / "rows.jsonl.zst"), "zstd") as stream:
        stream.write(jsonl(folder).read_bytes())
    return folder / "rows.jsonl.zst"


def shards(folder: Path) -> Path:
    (folder / "shards").mkdir()
    for n in range(0, len(ROWS), 7):
        parquet(folder / "shards", ROWS[n : n + 7], f"part-{n:02}.parquet")
    return folder / "shards"


@contextmanager
def given(kind: str, folder: Path) -> Iterator[Given]:
    makers: dict[str, Callable[[Path], Path]] = {
        "jsonl": jsonl,
        "parquet": parquet,
        "csv": table_of_cells,
        "zst": zst,
        "shards": shards,
    }
    if kind == "hub":
        files = {"data/train-00000-of-00001.parquet": parquet(folder).read_bytes()}
        with serving(files, folder / "home") as env:
            yield "hf://own/er", None, env
    elif kind.startswith("stdin"):
        yield "-", makers[kind.removeprefix("stdin-")](folder).read_bytes(), {}
    else:
        yield str(makers[kind](folder)), None, {}


def start(endpoint: Endpoint, output: Path, told: Given) -> subprocess.Popen[bytes]:
    named, piped, env = told
    judge = [
        "judge",
        "--judge",
        f"openai:fake@{endpoint.base_url}",
        "--spec",
        "mt-bench",
        "--concurrency",
        "4",
    ]
    process = subprocess.Popen(
        [*REASRM, *judge, "--input", named, "--output", str(output)],
        stdin=subprocess.PIPE if piped is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**env),
    )
    if piped is not None and process.stdin is not None:
        process.stdin.write(piped)
        process.stdin.close()
        process.stdin = None
    return process


def finish(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return summary(subprocess.CompletedProcess([], 0, out.decode(), err.decode()))


def judged(output: Path) -> list[dict[str, Any]]:
    """What was judged, by id; digests tell a line of one format from that of another."""
    rows = rows_of(output)
    for row in rows:
        del row["row_digest"], row["crc32"]
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole")
    with Endpoint(decide) as endpoint, given("jsonl", folder) as told:
        assert finish(start(endpoint, folder / "out.jsonl", told))["rows"] == len(ROWS)
    return judged(folder / "out.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv", "zst", "shards", "stdin-csv", "stdin-zst", "hub"])
def test_a_killed_run_continues_to_what_an_undisturbed_one_writes(
    kind: str, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    output, go_on, asked = tmp_path / "out.jsonl", threading.Event(), itertools.count()

    def answer(payload: dict[str, Any]) -> Reply:
        if next(asked) >= 2 * NUM_BEFORE:
            go_on.wait(timeout=120)
        return decide(payload)

    with Endpoint(answer) as endpoint, given(kind, tmp_path) as told:
        process = start(endpoint, output, told)
        deadline = time.monotonic() + 100
        while not output.exists() or output.read_bytes().count(b"\n") < NUM_BEFORE - 4:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
        go_on.set()
        before = output.read_bytes().count(b"\n")
        assert 0 < before <= NUM_BEFORE
        said = finish(start(endpoint, output, told))
    assert (said["rows"], said["errors"], said["resumed"]) == (len(ROWS), 0, before)
    assert judged(output) == undisturbed


MEMORY = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "reasrm", *sys.argv[1:]], capture_output=True, text=True)
said = json.loads(done.stdout.splitlines()[-1])
print(json.dumps({**said, "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10}))
"""


def write_many(path: Path, count: int) -> Path:
    """Write rows of some 250 bytes with two recorded decisions each, in groups of a thousand."""
    text = " ".join(["word"] * 16)
    names = ("pair_id", "label", "question", "response_A", "response_B")
    decisions = pa.list_(pa.struct([("decision", pa.string())]))
    schema = pa.schema([*((name, pa.string()) for name in names), ("judgments", decisions)])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            columns = [
                [f"row-{n}" for n in numbers],
                ["A>B"] * len(numbers),
                *([f"{word} {n} {text}" for n in numbers] for word in ("question", "yes", "no")),
                [[{"decision": "A>B"}, {"decision": "B>A"}] for _ in numbers],
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return path


def judge_many(folder: Path, count: int) -> dict[str, Any]:
    """Judge rows by what they recorded; return the summary and the peak memory of the process."""
    path, output = write_many(folder / f"{count}.parquet", count), folder / f"{count}.jsonl"
    words = [
        "judge",
        "--judge",
        "replay",
        "--spec",
        "arena-hard",
        "--input",
        str(path),
        "--output",
        str(output),
    ]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found.get("rows"), found.get("errors")) == (count, 0), found
    return found


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    few, many = judge_many(tmp_path, 500), judge_many(tmp_path, 10_000)
    assert many["peak_mib"] - few["peak_mib"] < 20


@pytest.mark.soak
def test_memory_of_a_million_rows(tmp_path: Path) -> None:
    """What stays of a row is its id's hash. The number is in docs/reliability.md."""
    few, many = judge_many(tmp_path, 1_000), judge_many(tmp_path, 1_000_000)
    print("MiB of 1,000 and of 1,000,000 rows:", few["peak_mib"], many["peak_mib"])
    assert many["peak_mib"] - few["peak_mib"] < 100
