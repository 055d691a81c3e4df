"""The arithmetic of the reproduction: equal compute, claims, and judging that agrees with `reasrm judge`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reasrm
from experiments import page, process_page
from experiments.arms import SandboxLab, Trained, steps_for
from experiments.claims import Claim, difference
from experiments.page import write_page
from experiments.reproduce import strong_world
from reasrm.cli.sandbox import load_demo_config
from tests.commands import ROOT, rows_of
from tests.commands import here as run

pytestmark = pytest.mark.slow

JUDGE = Path(reasrm.__file__).parent / "sandbox_judge"


def test_steps_count_the_short_batch_at_an_epochs_end() -> None:
    lengths = [10] * 5  # batches of 2, 2 and 1: 50 tokens in 3 steps
    assert steps_for(100, lengths, 2) == 6
    assert steps_for(200, [10] * 4, 2) == 10


def test_a_claim_is_a_t_interval_over_seeds() -> None:
    claim = Claim([0.01, 0.02, 0.03, 0.04, 0.05])
    # Mean 0.03, standard deviation 0.0158, t of 4 degrees 2.776: half 2.776 × 0.0158 / √5 = 0.0196.
    assert claim.mean == pytest.approx(0.03)
    assert (claim.low, claim.high) == pytest.approx((0.0104, 0.0496), abs=1e-4)
    assert claim.verdict == "**holds**"
    assert Claim([-0.01, 0.02]).verdict == "undecided"
    assert Claim([-0.03, -0.03, -0.031]).verdict == "**reversed**"
    assert Claim([0.5]).verdict == "one seed says nothing"


def test_a_difference_is_over_the_same_rows() -> None:
    def arm(right: str) -> dict:
        return {"cells": {"greedy iid": {"right": right}}}

    assert difference(arm("1101"), arm("0100"), "greedy iid") == 0.5
    with pytest.raises(ValueError, match="different rows"):
        difference(arm("1"), arm("10"), "greedy iid")


def test_the_strong_world_changes_the_shortcut_and_nothing_else() -> None:
    config = load_demo_config(None, 3)
    strong = strong_world(config)
    assert strong.base.world.shortcut.train == 0.8
    assert strong.base.world.model_copy(update={"shortcut": config.base.world.shortcut}) == config.base.world
    assert strong.seed == 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[SandboxLab, dict]:
    """The packaged judge, measured as an arm on a few rows."""
    lab = SandboxLab(load_demo_config(None, 0), tmp_path_factory.mktemp("lab"), "code")
    bench = lab.bench(lab.config, 24)
    return lab, lab.measure("packaged", Trained(JUDGE / "model", "key", 10, 5, 1.0), bench, 24)


def test_an_arm_is_judged_as_the_command_judges(measured: tuple[SandboxLab, dict], tmp_path: Path) -> None:
    lab, result = measured
    (rows,) = lab.root.glob("apart-*-24-hard.jsonl")
    output = tmp_path / "hard.jsonl"
    judged = run("judge", "--judge", "sandbox", "--input", rows, "--output", output, "--orders", "random")
    assert judged.returncode == 0, judged.stderr
    lines = sorted(rows_of(output), key=lambda line: line["id"])
    right = "".join(str(int(bool(line["correct"]))) for line in lines)
    assert result["cells"]["greedy hard"]["right"] == right


def test_a_result_is_read_from_the_cache(measured: tuple[SandboxLab, dict]) -> None:
    lab, result = measured
    (path,) = lab.folder.glob("result-packaged-*.json")
    path.write_text(json.dumps({**result, "trained_tokens": 77}))
    bench = lab.bench(lab.config, 24)
    again = lab.measure("packaged", Trained(JUDGE / "model", "key"), bench, 24)
    assert again["trained_tokens"] == 77
    other = lab.measure("packaged", Trained(JUDGE / "model", "another key"), bench, 24)
    assert other["trained_tokens"] == 0


def table(arms: dict) -> dict:
    return {"code": "0123", "date": "2026-01-01", "rows": 24, "seeds": [arms, arms]}


def test_the_page_has_every_arm_and_claim(measured: tuple[SandboxLab, dict], tmp_path: Path) -> None:
    _, result = measured
    arms = {name: result for claim in page.CLAIMS for name in claim[1:3]}
    write_page(tmp_path / "page.md", {"main": table(arms)})
    text = (tmp_path / "page.md").read_text()
    for claim in page.CLAIMS:
        assert text.count(f"| {claim[0]} |") == 6
    assert "+0.0 [+0.0, +0.0] | +0.0 +0.0 | undecided" in text
    assert "script" in text
    assert "2 seeds, 24 rows of each split, code `0123`, 2026-01-01." in text


def test_the_page_says_what_a_reward_on_the_critique_adds(
    measured: tuple[SandboxLab, dict], tmp_path: Path
) -> None:
    _, result = measured
    arms = {name: result for claim in process_page.CLAIMS for name in claim[1:3]}
    better = json.loads(json.dumps(result))
    for cell in better["cells"].values():
        cell["right"], cell["inconsistency"] = "1" * 24, 0.0
    arms["F1 on all rows"] = better
    write_page(tmp_path / "page.md", {"process": table(arms)})
    text = (tmp_path / "page.md").read_text()
    for claim in process_page.CLAIMS:
        assert text.count(f"| {claim[0]} |") == 8
    lost = 100 * result["cells"]["sampled hard"]["right"].count("0") / 24
    assert f"| {lost:+.1f} ({lost:+.1f}) | {lost:+.1f} [{lost:+.1f}, {lost:+.1f}] |" in text
    # The MetaRM's arm equals outcome only: it recovers nothing, which is half of the difference below half of it.
    assert f"| hard accuracy | sampled | {lost:+.1f} | +0.0 | +0.0 |" in text
    assert f"| {-lost / 2:+.1f} [{-lost / 2:+.1f}, {-lost / 2:+.1f}] | **reversed** |" in text


@pytest.mark.soak
def test_a_tiny_reproduction_goes_through_and_is_not_done_twice(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "experiments.reproduce",
        "--output",
        str(tmp_path / "out"),
        "--seeds",
        "0",
        "1",
    ]
    command += ["--rows", "6", "--config", str(ROOT / "configs/sandbox/demo-tiny.yaml")]
    command += ["--page", str(tmp_path / "page.md")]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr[-3000:]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "measuring" not in again.stderr
    assert "distil + RL" in (tmp_path / "page.md").read_text()
