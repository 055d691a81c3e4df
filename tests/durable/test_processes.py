"""Real processes and real signals: kill -9, SIGTERM, SIGINT, two writers, a full disk."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reasrm.durable import read_records

pytestmark = pytest.mark.slow

DRIVER = str(Path(__file__).with_name("driver.py"))


def start(output: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, DRIVER, str(output), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_and_wait(output: Path, *flags: str) -> subprocess.Popen[str]:
    """Start the driver and return once it writes records."""
    process = start(output, *flags)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def finish(output: Path, *flags: str) -> dict[str, int]:
    """Run the driver to its end and return its summary."""
    process = start(output, *flags)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    summary: dict[str, int] = json.loads(stdout.splitlines()[-1])
    return summary


def sorted_lines(path: Path) -> list[bytes]:
    return sorted(path.read_bytes().split(b"\n"))


def kill_until_done(folder: Path, rows: int, kills: int, seed: int) -> None:
    straight, broken = folder / "straight.jsonl", folder / "broken.jsonl"
    finish(straight, "--rows", str(rows))
    chance = random.Random(seed)
    acknowledged = 0
    for _ in range(kills):
        process = start_and_wait(broken, "--rows", str(rows), "--pause", "0.001")
        time.sleep(chance.random() * rows * 0.002 / kills)
        process.kill()
        process.communicate()
        now = broken.read_bytes().count(b"\n") if broken.exists() else 0
        assert now >= acknowledged
        acknowledged = now
    summary = finish(broken, "--rows", str(rows))
    assert summary["resumed"] == acknowledged
    assert summary["new"] == rows - acknowledged
    assert sorted_lines(broken) == sorted_lines(straight)
    ids = [record["id"] for record in read_records(broken)]
    assert len(ids) == len(set(ids)) == rows


def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    kill_until_done(tmp_path, rows=300, kills=10, seed=1)


@pytest.mark.soak
def test_kill_9_at_200_points(tmp_path: Path) -> None:
    kill_until_done(tmp_path, rows=2000, kills=200, seed=2)


def test_a_finished_run_does_nothing_again(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert finish(output, "--rows", "50") == {"new": 50, "resumed": 0, "torn": 0}
    before = output.read_bytes()
    assert finish(output, "--rows", "50") == {"new": 0, "resumed": 50, "torn": 0}
    assert output.read_bytes() == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_in_order_and_the_run_can_go_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "out.jsonl"
    process = start_and_wait(output, "--rows", "2000", "--pause", "0.01")
    time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == code
    finished = output.read_bytes()
    assert finished.endswith(b"\n")
    summary = finish(output, "--rows", "2000")
    assert summary == {"new": 2000 - finished.count(b"\n"), "resumed": finished.count(b"\n"), "torn": 0}


def test_work_in_flight_is_abandoned_when_the_drain_ends(tmp_path: Path) -> None:
    process = start_and_wait(tmp_path / "out.jsonl", "--hang", "--drain", "0.2")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, second: signal.Signals) -> None:
    process = start_and_wait(tmp_path / "out.jsonl", "--hang", "--drain", "600")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(second)
    process.communicate(timeout=10)
    assert process.returncode == 128 + second


def contend(folder: Path, writers: int) -> None:
    output = folder / "out.jsonl"
    processes = [start(output, "--rows", "300", "--pause", "0.01") for _ in range(writers)]
    results = [(p.communicate(timeout=120), p.returncode) for p in processes]
    codes = sorted(code for _, code in results)
    assert codes == [0] + [75] * (writers - 1)
    winner = next(p.pid for p in processes if p.returncode == 0)
    for (_, stderr), code in results:
        assert code == 0 or f"pid {winner} on host" in stderr
    assert len(list(read_records(output))) == 300


def test_one_of_four_writers_wins_and_the_others_exit_75(tmp_path: Path) -> None:
    contend(tmp_path, 4)


@pytest.mark.soak
def test_one_of_sixteen_writers_wins(tmp_path: Path) -> None:
    contend(tmp_path, 16)


def test_a_full_disk_exits_5_with_whole_records_and_the_run_can_go_on(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    process = start(output, "--max-bytes", "10000")
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 5
    assert str(output) in stderr
    assert "bytes needed" in stderr
    kept = list(read_records(output))
    assert kept
    assert output.read_bytes().endswith(b"\n")
    assert finish(output) == {"new": 300 - len(kept), "resumed": len(kept), "torn": 0}
    straight = tmp_path / "straight.jsonl"
    finish(straight)
    assert sorted_lines(output) == sorted_lines(straight)
