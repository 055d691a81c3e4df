"""Values that no stage can use are refused in one line before anything loads, in a dry run too."""

from __future__ import annotations

import pytest

from tests.commands import ROOT, here, summary

MODEL = ROOT / "reasrm" / "sandbox_judge" / "model"
EVERYWHERE = (
    *("trainer.learning_rate=-1", "trainer.learning_rate=.nan", "trainer.max_steps=0", "seed=-1"),
    *("trainer.per_device_train_batch_size=0", "trainer.save_steps=0", "trainer.num_train_epochs=-1"),
    *("trainer.optim=nope", "trainer.lr_scheduler_type=nope", "model.dtype=float12", "lora={r: 0}"),
    *(f"seed={'9' * 5000}", "trainer.gradient_accumulation_steps=0", "trainer.max_grad_norm=-1"),
    *("trainer.optim_args=nope", "trainer.lr_scheduler_kwargs=nope", "trainer.max_steps=true", "seed=true"),
    *("trainer.torch_compile_backend=nope", "trainer.torch_compile_mode=nope", "data.limit=yes"),
    "trainer.gradient_checkpointing_kwargs={nope: 1}",
)


@pytest.mark.parametrize("stage", ["sft", "metarm"])
@pytest.mark.parametrize("value", EVERYWHERE, ids=lambda value: value[:40])
@pytest.mark.slow
def test_a_value_that_no_stage_can_use_is_refused(stage: str, value: str) -> None:
    sets = ("--set", f"model.path={MODEL}", "--set", f"data.train={ROOT / 'README.md'}", "--set", value)
    said = here(stage, "--config", ROOT / "configs" / "sandbox" / f"{stage}.yaml", *sets, "--dry-run")
    assert said.returncode == 2, said.stderr
    message = summary(said)["message"]
    assert value.partition("=")[0].removeprefix("data.") in message
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
