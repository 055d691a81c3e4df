"""Progress in lines: where one was shown the last one shows the total, and training says how long the rest takes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from reasrm.cli import console, training
from reasrm.cli.training import clock, seconds_left, training_listener
from tests.commands import here, write_rows
from tests.test_configs import CONFIGS
from tests.training.stages import write_stage


@pytest.fixture
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock under which exactly the first count after the start of a loop is due for a line."""
    monkeypatch.setattr(console, "now_and_then", once)
    monkeypatch.setattr(training, "now_and_then", once)


def once(every_s: float = 10.0, *, at_once: bool = False) -> Iterator[bool]:
    return itertools.chain([True], itertools.repeat(False)).__next__


def shown(err: str, label: str) -> list[str]:
    """Done and total of each line."""
    return re.findall(rf"^{label}: (?:step )?(\d+/\d+)", err, re.MULTILINE)


def recorded(folder: Path, count: int) -> Path:
    return write_rows(folder / "rows.jsonl", count, completion="[[A]]")


@pytest.mark.usefixtures("one_line")
def test_judging_ends_with_all_rows(tmp_path: Path) -> None:
    words = ["--judge", "replay", "--spec", "mt-bench", "--input", recorded(tmp_path, 7), "--output"]
    assert shown(here("judge", *words, tmp_path / "out.jsonl").stderr, "judging") == ["0/7", "7/7"]
    assert shown(here("eval", "pairs", *words, tmp_path / "eval").stderr, "pairs") == ["0/7", "7/7"]


@pytest.mark.usefixtures("one_line")
def test_critiques_end_with_all(tmp_path: Path) -> None:
    rows = [f'{{"id": "q{n}", "prompt": "q", "critique": "A for: it is right."' for n in range(5)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(row + ', "response_a": "a", "response_b": "b"}\n' for row in rows))
    result = here("critiques", "extract", "--input", path, "--output", tmp_path / "out.jsonl")
    assert shown(result.stderr, "extracting")[-1:] == ["5/5"], result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("one_line")
def test_distilling_ends_with_all_comparisons(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    assert here("sandbox", "pairs", "--rows", "6", "--output", pairs).returncode == 0
    words = [f"input=[{pairs}]", f"output={tmp_path / 'out'}"]
    sets = [word for value in words for word in ("--set", value)]
    result = here("distill", "--config", CONFIGS / "distill" / "sandbox.yaml", *sets)
    assert shown(result.stderr, "distilling")[-1:] == ["12/12"], result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("one_line")
def test_training_ends_with_all_steps(tmp_path: Path) -> None:
    config = write_stage(tmp_path, trainer={"max_steps": 3})
    result = here("sft", "--config", config, "--run-dir", tmp_path / "run")
    assert shown(result.stderr, "sft stage") == ["1/3", "3/3", "3/3"], result.stderr


def test_a_loop_without_a_line_ends_without_one(capfd: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar("looking") as update:
        update(3, 3, "")
    assert capfd.readouterr().err == ""


def test_a_training_step_tells_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Resumed after 100 of 400 steps; the pace is that of the steps since: 30 s each."""
    now = [0.0]
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with training_listener("sft") as listener:
        for done, at in ((101, 40.0), (111, 340.0), (400, 9010.0)):
            now[0] = at
            listener.steps(done, 400, {"loss": 1.5})
    assert capfd.readouterr().err.splitlines() == [
        "sft: step 101/400, loss 1.5, 40 s",
        "sft: step 111/400, loss 1.5, 6 min, about 2 h 24 min left",
        "sft: step 400/400, loss 1.5, 2 h 30 min",
    ]


def test_times_as_people_read_them() -> None:
    assert [clock(s) for s in (0.4, 59.4, 60, 3599, 3660, 90000)] == [
        *("0 s", "59 s", "1 min", "1 h 00 min", "1 h 01 min", "25 h 00 min"),
    ]
    assert seconds_left(10, 4, 6) == 15
    assert seconds_left(10, 0, 6) is seconds_left(10, 4, 0) is None
