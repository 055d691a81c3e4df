"""Large counts, for `make soak`: memory that hardly grows with the rows, and kills at any moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.curation_bench import CONFIG, write_benchmark, write_rows
from tests.commands import ROOT, run, start

pytestmark = pytest.mark.soak


def test_memory_hardly_grows_with_the_rows() -> None:
    # In a process of its own: a child counts what its parent held when it was forked, and here that is torch.
    found = []
    for rows in (50_000, 200_000):
        command = [sys.executable, "-m", "benchmarks.curation_bench", "--rows", str(rows)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found.append(json.loads(result.stdout.splitlines()[-1]))
        assert found[-1]["kept"] + sum(found[-1]["dropped"].values()) == rows
    per_row = (found[1]["peak_rss_mb"] - found[0]["peak_rss_mb"]) * 2**20 / 150_000
    assert found[1]["peak_rss_mb"] < 250
    assert per_row < 400, "bytes a row; the text of one is 2,000"


def test_kill_minus_nine_leaves_the_old_result_or_the_new_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", 2_000)
    write_benchmark(tmp_path / "pairs.jsonl", tmp_path / "benchmark.jsonl")
    config = tmp_path / "curate.yaml"
    config.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    began = time.monotonic()
    result = run("data", "curate", "--config", config, "--output", tmp_path / "whole")
    took = time.monotonic() - began
    assert result.returncode == 0, result.stderr
    names = ("train.jsonl", "validation.jsonl", "dropped.jsonl", "overlap.jsonl")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in names}
    rng = random.Random(0)
    out = tmp_path / "curated"
    for _ in range(20):
        process = start("data", "curate", "--config", config, "--restart")
        time.sleep(rng.uniform(0, 1.1 * took))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        present = {name: (out / name).read_bytes() for name in names if (out / name).exists()}
        assert all(content == whole[name] for name, content in present.items())
    assert run("data", "curate", "--config", config, "--restart").returncode == 0
    assert {name: (out / name).read_bytes() for name in names} == whole
    assert not (out / "work").exists()
