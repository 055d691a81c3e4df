"""kill -9 at any moment: what stands at the place is a whole judge folder, old or new, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import ROOT, environment
from tests.export.runs import make_run

pytestmark = pytest.mark.slow

OUTCOMES = {"fresh: same", "fresh: step", "replaced: same", "replaced: absent", "replaced: step"}


def kill_exports(tmp_path: Path, num_points: int, num_times: int, timeout: float) -> Counter[str]:
    run = make_run(tmp_path, steps=(3, 7))
    result = subprocess.run(
        [sys.executable, "-m", "tests.export.driver", run, tmp_path / "out", str(num_points), str(num_times)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        cwd=ROOT,
        env=environment(TOKENIZERS_PARALLELISM="false"),
    )
    assert result.returncode == 0, result.stderr
    outcomes: Counter[str] = Counter()
    for line in map(json.loads, result.stdout.splitlines()):
        if "finished" in line:
            assert (line["finished"], line["left"]) == ("step 7", ["judge"]), "leftovers were not cleared"
            continue
        if "kill_at" in line:
            assert line["died"], line
        changed = "same" if line["before"] == line["state"] else line["state"].split()[0]
        outcomes[f"{'replaced' if line['replacing'] else 'fresh'}: {changed}"] += 1
    return outcomes


def test_a_killed_export_leaves_a_whole_judge_or_none(tmp_path):
    outcomes = kill_exports(tmp_path, num_points=5, num_times=1, timeout=120)
    assert outcomes.total() == 12
    assert set(outcomes) == OUTCOMES


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_soak_an_export_killed_at_every_change_and_at_many_moments(tmp_path):
    outcomes = kill_exports(tmp_path, num_points=0, num_times=100, timeout=1400)
    assert outcomes.total() > 220
    assert set(outcomes) == OUTCOMES
