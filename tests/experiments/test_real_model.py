"""The run of a real model: its page by hand, steps that are done once and continue, the whole driver in small."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import real_model
from experiments.real import steps
from experiments.real.rows import SPLITS
from experiments.real.steps import Steps
from experiments.real_model import Size
from experiments.real_model_page import HEADS, MODELS, write_real_page
from tests.commands import ROOT, environment, rows_of
from tests.experiments.shared import in_process
from tests.tiny import build_tiny_model

PAGE = ROOT / "docs" / "results" / "real-model.md"

# --- the page


def estimate(value: float | None, width: float = 0.1) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - width, value + width)
    return {"value": value, "ci_low": low, "ci_high": high, "n": 4}


def judged(accuracy: float | None, **shares: float | None) -> dict[str, Any]:
    return {
        "result": {
            "subsets": dict.fromkeys(SPLITS, estimate(accuracy)),
            "metrics": {name: estimate(value) for name, value in shares.items()},
            "parse_status": {"no_verdict": 1200, "ok": 3},
        },
        "tokens": 41.6,
        "seconds": 1234.5,
        "parts": 1,
        "ended": 1,
    }


TABLE: dict[str, Any] = {
    "size": "small",
    "settings": {"traces": 300, "rl_steps": 10},
    "dtype": "float32",
    "date": "2026-11-29",
    "code": ["abc"],
    "machine": {"processor": "a CPU", "cores": 2, "threads": "2", "versions": {"torch": "2"}},
    "seconds": 5400.0,
    "judged": {
        "untouched": judged(None, coverage=0.0, consistency=None),
        "SFT": judged(0.7, coverage=1.0, consistency=0.5, position_a_rate=0.6, critique_f1=0.4),
    },
    "stages": {
        "SFT": {
            "seconds": 600.0,
            "parts": 2,
            "ended": 1,
            "peak_gib": 6.0,
            "estimate_gib": 5.0,
            "steps": 38,
            "tokens": 60123,
            "seconds_per_step": 14.25,
        }
    },
    "seen": {
        name: {key: {"lower case": {"accuracy": right, "base_rate": 0.5}} for key in ("evidence", "marks")}
        for name, right in (("untouched", 0.0), ("SFT", 0.75))
    },
    "shown": ["e1  a request\n  it says \x1b[2JA"],
}


def test_the_page_has_a_line_for_each_model_and_stage(tmp_path):
    write_real_page(tmp_path / "page.md", TABLE)
    text = (tmp_path / "page.md").read_text()
    assert f"| {' | '.join(HEADS)} |" in text
    unread = "| untouched | - | - | - | - | 0.000 [-0.100, 0.100] | - | - | - | - | 42 | 1,234 |"
    assert unread in text
    read = "| SFT |" + " 0.700 [0.600, 0.800] |" * 4 + " 1.000 [0.900, 1.100] | 0.500 [0.400, 0.600] | 0.600"
    assert read in text
    assert "| SFT | 38 | 60,123 | 14.2 | 600 † | 6.00 | 5.00 | 1.20 |" in text
    assert "*untouched*: 1,200 no_verdict, 3 ok; *SFT*:" in text
    assert "| lower case | 0.50 / 0.50 | 0.00 / 0.00 | 0.75 / 0.75 |" in text
    assert "90 minutes in all on 2 cores of a CPU" in text
    assert "† was killed" in text
    assert "e1  a request\n  it says \\x1b[2JA\n" in text
    assert "Not run yet" not in text


def test_the_page_that_ships_is_what_the_program_writes(tmp_path, capsys):
    real_model.main(["--page", str(tmp_path / "page.md")])
    assert json.loads(capsys.readouterr().out)["output"] is None
    if "Not run yet" in PAGE.read_text():
        assert PAGE.read_bytes() == (tmp_path / "page.md").read_bytes()


# --- steps


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """Commands that were run; each ends with the code that its last word says."""
    said: list[list[str]] = []

    def run(words: list[str], measured: Path) -> tuple[int, dict[str, Any], float | None]:
        said.append(words)
        return int(words[-1]), {"steps": len(said)}, float(len(said))

    monkeypatch.setattr(steps, "run_command", run)
    return said


def test_a_step_is_done_once(tmp_path, asked):
    first = Steps(tmp_path).do("sft", "sft", "0")
    assert Steps(tmp_path).do("sft", "sft", "0") == first
    assert asked == [["sft", "0"]]
    assert (first["summary"], first["peak_gib"], first["parts"], first["ended"]) == ({"steps": 1}, 1.0, 1, 1)
    # Another command is another step.
    assert Steps(tmp_path).do("sft", "sft", "--more", "0")["summary"] == {"steps": 2}


def test_a_step_that_failed_is_run_again(tmp_path, asked, monkeypatch):
    with pytest.raises(SystemExit, match="75"):
        Steps(tmp_path).do("sft", "75")
    with pytest.raises(SystemExit, match="137"):
        Steps(tmp_path).do("sft", "-9")  # as a child that was killed
    assert Steps(tmp_path).do("judge", "3", fine=(0, 3))["summary"] == {"steps": 3}
    monkeypatch.setattr(steps, "run_command", lambda words, measured: (0, {"steps": 9}, 0.5))
    again = Steps(tmp_path).do("sft", "-9")
    assert (again["peak_gib"], again["parts"], again["ended"]) == (2.0, 2, 2)


def test_another_config_is_another_step(tmp_path, asked, monkeypatch):
    (tmp_path / "configs").mkdir()
    config = tmp_path / "configs" / "stage.yaml"
    monkeypatch.setattr(steps, "_ROOT", tmp_path)
    for text in ("seed: 0", "seed: 0", "seed: 1"):
        config.write_text(text)
        Steps(tmp_path).do("sft", "--config", "stage", "0")
    assert len(asked) == 2


@pytest.mark.slow
def test_a_command_is_measured_in_a_process_of_its_own(tmp_path):
    code, said, peak = steps.run_command(
        ["sandbox", "pairs", "--rows", "3", "--output", str(tmp_path / "p")], tmp_path / "peak"
    )
    assert (code, said["rows"]) == (0, 3)
    assert peak is not None
    assert 0 <= peak < 1
    assert len(rows_of(tmp_path / "p")) == 3


_PARENT = """
import subprocess, sys
from experiments.real.steps import end_with_parent
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, preexec_fn=end_with_parent)
print(child.pid, flush=True)
input()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_stage_ends_when_the_program_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=60)
    assert select.select([child], [], [], 60)[0], "a pidfd can be read once its process has ended"
    os.close(child)


# --- the whole driver


@pytest.mark.slow
def test_a_tiny_model_goes_through_every_stage(tmp_path, monkeypatch):
    """Every command for real, random weights, nothing learnt; what is done is not done again."""
    model = build_tiny_model(tmp_path / "model", context=4096)
    tiny = Size(traces=8, rl_pairs=8, rl_steps=1, rows=1)
    monkeypatch.setitem(real_model.SIZES, "small", tiny)
    monkeypatch.setattr(steps, "run_command", in_process)
    words = ["--output", tmp_path / "run", "--model", model, "--page", tmp_path / "page.md"]
    real_model.main(list(map(str, words)))
    table = json.loads((tmp_path / "run" / "table.json").read_bytes())
    assert list(table["judged"]) == list(MODELS)
    assert [stage["steps"] for stage in table["stages"].values()] == [3, 1, 1]
    assert all(stage["estimate_gib"] > 0 and stage["tokens"] > 0 for stage in table["stages"].values())
    for name in table["judged"]:
        rows = rows_of(Path(table["judged"][name]["folder"]) / "judgments.jsonl")
        assert sorted(row["subset"] for row in rows) == sorted(SPLITS)
        assert all(len(row["judgments"]) == 2 for row in rows)
    assert table["shown"], "one is wrong, as a row that nobody can read is"
    card = (tmp_path / "run" / "judge" / "README.md").read_text()
    assert "| `pairs` on " in card
    page = (tmp_path / "page.md").read_bytes()
    monkeypatch.setattr(steps, "run_command", lambda *_: pytest.fail("done twice"))
    real_model.main(list(map(str, words)))
    assert (tmp_path / "page.md").read_bytes() == page
    with pytest.raises(SystemExit, match="2"):
        real_model.main([*map(str, words), "--size", "full"])
