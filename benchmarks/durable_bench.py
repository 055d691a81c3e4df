"""Measure the durable floor: writing, validating a large input, resuming a large output.

Prints one JSON object per measurement. Each runs in a process of its own, so that peak memory is its own.

    python benchmarks/durable_bench.py --rows 10000000 --folder /path/with/space
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from reasrm.durable import DuplicateCheck, DurableMap, IdIndex, hash_id
from reasrm.durable.log import seal
from reasrm.durable.recovery import recover
from reasrm.jsonl import read_rows

TEXT = "x" * 600


def row(number: int) -> dict[str, str]:
    """Return an input row of about 250 bytes."""
    return {
        "id": f"q{number}",
        "prompt": "p" * 80,
        "response_a": "a" * 50,
        "response_b": "b" * 50,
        "label": "A",
    }


def record(number: int) -> dict[str, object]:
    """Return an output record of about 1 KB."""
    judgments = [
        {"order": o, "vote": 0, "verdict": "A", "text": TEXT[:300], "rubric": None} for o in ("AB", "BA")
    ]
    return {"id": f"q{number}", "verdict": "A", "status": "ok", "confidence": 1.0, "judgments": judgments}


def bench_write(rows: int, folder: Path) -> dict[str, float]:
    """Durable records per second as fast as they come, and the stalls of `put`."""
    stalls: list[float] = []
    with DurableMap(folder / "write.jsonl") as journal:
        journal.start({})
        began = time.perf_counter()
        for number in range(rows):
            value, before = record(number), time.perf_counter()
            journal.put(f"q{number}", value, b"12345678")
            stalls.append(time.perf_counter() - before)
        journal.close()
        seconds = time.perf_counter() - began
    return {"records_per_s": rows / seconds, **_stalls(stalls)}


def bench_paced(rows: int, folder: Path) -> dict[str, float]:
    """The stalls of `put` at 200 records per second, the pace of a judge."""
    stalls: list[float] = []
    with DurableMap(folder / "paced.jsonl") as journal:
        journal.start({})
        for number in range(rows):
            time.sleep(1 / 200)
            value, before = record(number), time.perf_counter()
            journal.put(f"q{number}", value, b"12345678")
            stalls.append(time.perf_counter() - before)
    return _stalls(stalls)


def _stalls(stalls: list[float]) -> dict[str, float]:
    stalls.sort()
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"put_{name}_us": stalls[int((len(stalls) - 1) * share)] * 1e6 for name, share in at.items()}


def bench_ids(rows: int, folder: Path) -> dict[str, float]:
    """`DuplicateCheck` alone, over synthetic ids with one repeated."""
    check = DuplicateCheck()
    for number in range(rows):
        check.add(f"q{number}")
    check.add("q0")
    assert check.repeated_hashes() == {hash_id("q0")}
    assert len(check.repeated_hashes()) == 1
    return {}


def bench_validate(rows: int, folder: Path) -> dict[str, float]:
    """Read a file of rows and check their ids."""
    path = folder / "input.jsonl"
    if not path.exists():
        with open(path, "wb") as stream:
            for number in range(rows):
                stream.write(json.dumps(row(number)).encode() + b"\n")
    began = time.perf_counter()
    check = DuplicateCheck()
    for item in read_rows(path):
        assert item.data is not None
        check.add(item.data["id"])
    assert not check.repeated_hashes()
    return {"file_mb": path.stat().st_size / 2**20, "seconds_of_check": time.perf_counter() - began}


def bench_resume(rows: int, folder: Path) -> dict[str, float]:
    """Scan an output of `rows` small records and build the index of finished ids."""
    path = folder / "resume.jsonl"
    if not path.exists():
        with open(path, "wb") as stream:
            for number in range(rows):
                stream.write(seal(row(number)))
    began = time.perf_counter()
    index = IdIndex(recover(path, folder / "torn").hashes)
    assert len(index) == rows
    assert "q0" in index
    return {"file_mb": path.stat().st_size / 2**20, "seconds_of_resume": time.perf_counter() - began}


BENCHES: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "write": bench_write,
    "paced": bench_paced,
    "ids": bench_ids,
    "validate": bench_validate,
    "resume": bench_resume,
}


def main() -> None:
    """Run all measurements, or with `--only` one, in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--only", choices=BENCHES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        if options.only is None:
            for name in BENCHES:
                flags = [
                    "--rows",
                    str(options.rows),
                    "--folder",
                    str(options.folder or temporary),
                    "--only",
                    name,
                ]
                subprocess.run([sys.executable, os.path.abspath(__file__), *flags], check=True)
            return
        # Writing is slower than reading: a tenth of the rows says as much, and ten seconds of pacing.
        rows = {"write": options.rows // 10, "paced": min(options.rows, 2000)}.get(options.only, options.rows)
        began = time.perf_counter()
        result = BENCHES[options.only](rows, Path(temporary))
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        numbers = {"seconds": seconds, "peak_rss_mb": peak, **result}
        rounded = {key: round(value, 2) for key, value in numbers.items()}
        print(json.dumps({"bench": options.only, "rows": rows, **rounded}), flush=True)


if __name__ == "__main__":
    main()
