"""Stock `GRPOTrainer` takes a judge as its reward function: the documented program, and a dataset's anchors."""

from __future__ import annotations

import re
import runpy
from importlib.resources import files

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer

from reasrm.judging.reward_function import as_reward
from tests.commands import ROOT
from tests.judging.test_as_reward import fake
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow

EMBEDDED = str(files("reasrm") / "sandbox_judge" / "model")


def test_the_documented_program_trains_a_policy_with_the_embedded_judge(tmp_path, monkeypatch):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "as-reward.md").read_text(), re.DOTALL)
    short = program.replace("max_steps=100", "max_steps=3").replace(
        'pairs("train", 400)', 'pairs("train", 12)'
    )
    assert short.count("max_steps=3,") == 1
    (tmp_path / "program.py").write_text(short)
    monkeypatch.chdir(tmp_path)
    trainer = runpy.run_path(str(tmp_path / "program.py"))["trainer"]

    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["step"] for entry in log] == [1, 2, 3]
    for entry in log:
        assert 0.3 < entry["rewards/judge/mean"] < 0.7
        assert entry["judge/coverage"] > 0.8, "the judge can read what this policy writes"
        assert entry["reward_std"] > 0.1
        assert entry["judge/failed"] == 0
    before = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).state_dict()
    after = trainer.model.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(weights).all() for weights in after.values())


def test_a_stock_trainer_passes_the_anchors_column_and_logs_abstentions(tmp_path):
    policy = build_tiny_model(tmp_path / "policy")
    rows = [{"prompt": f"say {n}", "reference": None if n == 1 else "aaaa"} for n in range(2)]
    trainer = GRPOTrainer(
        model=str(policy),
        reward_funcs=as_reward(fake(), "anchor"),
        args=GRPOConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=2,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=6,
            learning_rate=1e-2,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
    )
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["judge/abstained"] for entry in log] == [0.5, 0.5]
    assert all(entry["reward"] == entry["rewards/judge/mean"] > 0 for entry in log)
    table = trainer._logs["extra"]["judge_matches"]
    assert sorted(table) == [0] * 4 + [1] * 4
