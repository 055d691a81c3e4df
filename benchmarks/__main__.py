"""`make bench`: start-up, scale and memory, each measurement in a process of its own, against its target.

    python -m benchmarks [--rows 10000000] [--resume-rows 1000000] [--folder DIR]

Prints one line per measurement and exits 1 if a target with a limit is missed. Wall times depend on the machine and on
what else runs; memory and the start-up limits are what the project promises.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.durable_bench import row

RUNS = 5
LIMIT_MB = 400


class Figure(NamedTuple):
    """A measured number and the most it may be; None where it only informs."""

    name: str
    value: float
    unit: str
    limit: float | None = None


def best_wall_s(command: Sequence[str]) -> float:
    """Return the fastest of several runs, after one to warm the file cache."""
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def start_up() -> list[Figure]:
    """`reasrm --help` and `import reasrm` as whole processes."""
    python = sys.executable
    bare = best_wall_s([python, "-c", "pass"])
    imported = best_wall_s([python, "-c", "import reasrm"])
    helped = best_wall_s([python, "-m", "reasrm", "--help"])
    return [
        Figure("python -c pass", bare, "s"),
        Figure("python -c 'import reasrm'", imported, "s", 0.15),
        Figure("reasrm --help", helped, "s", 0.35),
    ]


def measured(command: Sequence[str]) -> tuple[float, float, dict[str, Any]]:
    """Run a command; return seconds, peak memory in MB and the JSON object of its last line."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, lines[-1:]
    return time.perf_counter() - began, usage.ru_maxrss / 1024, json.loads(lines[-1])


def validation(rows: int, folder: Path) -> list[Figure]:
    """Validate a large file through the command that users run."""
    path = folder / "rows.jsonl"
    with path.open("wb") as stream:
        stream.writelines(json.dumps(row(number)).encode() + b"\n" for number in range(rows))
    command = [sys.executable, "-m", "reasrm", "judge", "--dry-run", "--spec", "mt-bench"]
    command += [
        "--judge",
        "openai:m@http://127.0.0.1:9/v1",
        "--input",
        str(path),
        "--output",
        str(folder / "unused.jsonl"),
    ]
    size = path.stat().st_size / 2**30
    seconds, peak_mb, said = measured(command)
    path.unlink()
    assert said["rows"] == rows
    return [
        Figure(f"validate {rows:,} rows ({size:.1f} GiB): peak memory", peak_mb, "MB", LIMIT_MB),
        Figure(f"validate {rows:,} rows: wall", seconds, "s"),
    ]


def durable(rows: int, folder: Path) -> list[Figure]:
    """Writer and resume index."""
    figures = []
    for name in ("write", "paced", "resume"):
        amount = min(rows, 100_000) if name == "write" else 2_000 if name == "paced" else rows
        command = [sys.executable, "-m", "benchmarks.durable_bench", "--rows", str(amount), "--only", name]
        result = subprocess.run(
            [*command, "--folder", str(folder)], check=True, capture_output=True, text=True
        )
        found = json.loads(result.stdout.splitlines()[-1])
        for key, value in found.items():
            if isinstance(value, int | float) and key != "rows":
                limit = LIMIT_MB if name == "resume" and key == "peak_rss_mb" else None
                figures.append(Figure(f"{name} {amount:,}: {key}", value, "", limit))
    return figures


def main() -> int:
    """Measure, print, and say whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--resume-rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        for measure in (
            start_up,
            lambda: durable(args.resume_rows, folder),
            lambda: validation(args.rows, folder),
        ):
            for figure in measure():
                verdict = ""
                if figure.limit is not None:
                    over = figure.value > figure.limit
                    missed += over
                    verdict = f"limit {figure.limit:g}: {'MISSED' if over else 'held'}"
                print(f"{figure.name:<60} {figure.value:12.3f} {figure.unit:<4} {verdict}", flush=True)
    print(json.dumps({"limits_missed": missed, "load_average": os.getloadavg()}))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
