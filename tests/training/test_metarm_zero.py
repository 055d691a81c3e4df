"""A MetaRM under DeepSpeed ZeRO-2 in bfloat16, with two processes: in its cold start, and beside such a policy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reasrm.metarm.model import MetaRM
from reasrm.training.metarm.config import load_metarm_stage
from reasrm.training.metarm.stage import train
from tests.commands import ROOT, environment, rows_of
from tests.metarm.models import differing, weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["likelihood", pytest.param("last_token", marks=pytest.mark.soak)])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `zero_runs` leaves behind: `cold` and `loop`."""
    pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    folder = tmp_path_factory.mktemp("zero")
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.zero_runs", str(folder), request.param],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT), DS_ACCELERATOR="cpu"),
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return folder


def losses(folder: Path, name: str) -> list[float]:
    return [row[name] for row in rows_of(folder / "metrics.jsonl") if name in row]


def test_the_cold_start_learns_what_one_process_does(runs: Path, tmp_path: Path) -> None:
    """As nearly as bfloat16 allows; it crashed on the readout `likelihood`, whose numbers are float32."""
    config = runs / "metarm.yaml"
    stage = load_metarm_stage(config, ["trainer.per_device_train_batch_size=4"])
    train(stage, str(config), tmp_path / "alone")
    found, expected = (losses(folder, "loss") for folder in (runs / "cold", tmp_path / "alone"))
    assert len(found) == 2
    assert found == pytest.approx(expected, rel=0.05)
    seal = json.loads((runs / "cold" / "checkpoints" / "checkpoint-2" / "checkpoint.json").read_bytes())
    assert (seal["format"], seal["world_size"]) == ("deepspeed", 2)


def test_it_learns_on_beside_the_policy(runs: Path) -> None:
    """In bfloat16 with float32 copies, equal in both processes: a checkpoint is refused where they are not."""
    start, end = (weights(MetaRM.open(runs / name / "metarm")) for name in ("cold", "loop"))
    moved = differing(start, end)
    assert any("q_proj" in name for name in moved)
    assert any("readout.weight" in name or "score.weight" in name for name in moved)
    assert all(torch.isfinite(weight).all() for weight in end.values())
    stored = load_file(runs / "loop" / "metarm" / "member-0" / "model.safetensors")
    assert all(w.dtype == torch.bfloat16 for name, w in stored.items() if "score" not in name)
    found = losses(runs / "loop", "metarm/loss")
    assert found
    assert all(loss > 0 for loss in found)
    policy = load_file(runs / "loop" / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert {weight.dtype for weight in policy.values()} == {torch.bfloat16}
