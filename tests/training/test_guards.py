"""Steps that must not be taken: NaN and infinite gradients, memory that does not suffice."""

from __future__ import annotations

import gc

import pytest
import torch
from transformers import TrainerCallback

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.runs import latest_checkpoint
from reasrm.training.safety.guards import all_finite, explain_out_of_memory
from reasrm.training.safety.states import load_state
from tests.sealed import complete_checkpoints
from tests.training.toy import NUM_STEPS, build_toy, logged, weights

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module", autouse=True)
def _still_heap():
    """Every training collects garbage; that of the imported libraries need not be looked at each time."""
    gc.freeze()
    yield
    gc.unfreeze()


class Poison(TrainerCallback):
    """Puts a value into one gradient of some steps, and keeps the weights before and after each step."""

    def __init__(self, trainer, steps, value=NAN) -> None:
        self.trainer, self.steps, self.value = trainer, set(steps), value
        self.seen = {}
        # Before the guard: callbacks are asked in their order.
        trainer.callback_handler.callbacks.insert(0, self)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        step = state.global_step + 1
        self.seen[step] = [weights(self.trainer)]
        if step in self.steps:
            gradient = self.trainer.model.transformer.wte.weight.grad
            gradient[0, 0] = self.value

    def on_step_end(self, args, state, control, **kwargs):
        self.seen[state.global_step].append(weights(self.trainer))


def same(before, after) -> bool:
    return all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_bad_step_is_skipped_and_counted(tmp_path, value):
    trainer = build_toy(tmp_path / "run")
    poison = Poison(trainer, [2, 5, 6], value)
    trainer.train()
    trainer.run.close()
    moved = {step: not same(*poison.seen[step]) for step in poison.seen}
    # The last step of the schedule has learning rate 0 only after it.
    assert moved == {step: step not in (2, 5, 6) for step in range(1, NUM_STEPS + 1) if step != 1} | {
        1: moved[1]
    }
    assert [record.get("skipped_steps") for record in logged(tmp_path / "run")] == [1, 3, None]
    steps_taken = {
        float(s["step"])
        for s in load_state(latest_checkpoint(tmp_path / "run").path, "optimizer")["state"].values()
    }
    assert steps_taken == {NUM_STEPS - 3.0}


def test_a_loss_that_is_not_finite_counts_even_if_gradients_are(tmp_path):
    trainer = build_toy(tmp_path / "run")
    trainer._losses_finite = torch.tensor(False)
    before = weights(trainer)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer._guard_step()
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert trainer.skipped_steps == 1
    assert same(before, weights(trainer))
    trainer.run.close()


def test_training_stops_after_some_bad_steps_in_a_row(tmp_path):
    trainer = build_toy(tmp_path / "run")
    poison = Poison(trainer, range(3, 20))
    with pytest.raises(EnvironmentProblem, match=r"3 steps in a row, up to step 5; lower the learning rate"):
        trainer.train()
    trainer.run.close()
    assert same(poison.seen[2][1], weights(trainer))
    assert [info.step for info in complete_checkpoints(tmp_path / "run")] == [2, 4]


def test_how_many_is_an_option(tmp_path):
    trainer = build_toy(tmp_path / "run", options={"max_skipped_in_a_row": 1})
    Poison(trainer, [3])
    with pytest.raises(EnvironmentProblem, match="1 steps in a row, up to step 3"):
        trainer.train()
    with pytest.raises(ConfigError, match="max_skipped_in_a_row is 0"):
        build_toy(tmp_path / "run", run=trainer.run, options={"max_skipped_in_a_row": 0})
    trainer.run.close()


def test_the_counts_survive_a_resume(tmp_path):
    trainer = build_toy(tmp_path / "run")
    Poison(trainer, [3, 4, 5, 6, 7, 8])
    with pytest.raises(EnvironmentProblem):
        trainer.train()
    trainer.run.close()
    again = build_toy(tmp_path / "run", resume=True)
    Poison(again, [5])
    with pytest.raises(EnvironmentProblem, match="3 steps in a row, up to step 5"):
        again.train(resume_from_checkpoint=True)
    again.run.close()
    assert again.skipped_steps == 3


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    trainer = build_toy(tmp_path / "run")

    class Break(TrainerCallback):
        def on_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 3:
                with torch.no_grad():
                    trainer.model.transformer.wte.weight[0, 0] = INF

    trainer.add_callback(Break())
    with pytest.raises(EnvironmentProblem, match="weights are not finite after step 4; they were not saved"):
        trainer.train()
    trainer.run.close()
    assert [info.step for info in complete_checkpoints(tmp_path / "run")] == [2]


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ([], True),
        ([torch.zeros(0), torch.tensor([1, 2])], True),
        ([torch.full((3,), 3e38), torch.full((5,), -3e38)], True),
        ([torch.ones(2), torch.tensor([0.0, NAN])], False),
        ([torch.tensor([-INF])], False),
        ([torch.tensor([NAN, 1.0], dtype=torch.bfloat16)], False),
        ([torch.full((9,), 60000.0, dtype=torch.float16)], True),
    ],
    ids=["none", "nothing of floats", "large", "nan", "minus infinity", "bfloat16", "large float16"],
)
def test_all_finite(tensors, expected):
    assert bool(all_finite(tensors)) is expected


# Memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["gpu", "cpu", "python"],
)
def test_out_of_memory_says_the_sizes_and_what_to_do(tmp_path, monkeypatch, error):
    trainer = build_toy(tmp_path / "run")
    honest = type(trainer).compute_loss

    def compute_loss(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise error
        return honest(self, *args, **kwargs)

    monkeypatch.setattr(type(trainer), "compute_loss", compute_loss)
    with pytest.raises(EnvironmentProblem) as caught:
        trainer.train()
    trainer.run.close()
    assert caught.value.exit_code == 5
    text = str(caught.value)
    assert "out of memory in step 4 with a batch of 2 x 6 tokens" in text
    assert "per_device_train_batch_size to 1 and gradient_accumulation_steps to 4" in text
    assert "gradient_checkpointing" in text
    info = latest_checkpoint(tmp_path / "run")
    assert info is not None
    assert info.step == 2


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory(None):
        raise RuntimeError("shapes do not fit")
