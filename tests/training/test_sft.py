"""The SFT stage: its loss against the formula, and what changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.training.config import load_sft_stage
from reasrm.training.data import Example
from reasrm.training.sft import JudgeSFTTrainer, Listener, build_trainer, plan, prepare
from tests.training.stages import sft_row, write_rows, write_stage


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage for all tests, with one batch of eight rows of different lengths per step."""
    return write_stage(
        tmp_path_factory.mktemp("stage"),
        trainer={"per_device_train_batch_size": 8, "max_grad_norm": 0.0, "optim": "sgd", "max_steps": 1},
    )


def trainer_for(
    config: Path, folder: Path, *overrides: str, listener: Listener | None = None
) -> JudgeSFTTrainer:
    prepared = prepare(load_sft_stage(config, overrides), str(config), folder)
    return build_trainer(prepared, listener)


def examples_of(config: Path, folder: Path) -> list[Example]:
    return prepare(load_sft_stage(config), str(config), folder).rows.examples


def first_step(config: Path, folder: Path, *overrides: str) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and weight change of one step of plain SGD with learning rate 1: minus the gradient."""
    logs: list[float] = []
    listener = Listener(steps=lambda done, total, values: logs.append(values.get("loss", 0.0)))
    sgd = ("trainer.learning_rate=1.0", "trainer.lr_scheduler_type=constant")
    trainer = trainer_for(config, folder, *sgd, *overrides, listener=listener)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    return logs[0], {name: before[name] - after[name].detach() for name in before}


def reference(
    trainer: JudgeSFTTrainer, examples: list[Example]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean over all completion tokens of -log p(token | all before it), row by row, and its gradient."""
    model = trainer.model
    terms = []
    for example in examples:
        ids = torch.tensor(example.ids.astype(int))
        logprobs = model(input_ids=ids[None]).logits[0].log_softmax(-1)  # (T, V)
        terms += [-logprobs[t - 1, ids[t]] for t in range(example.num_prompt, len(ids))]
    loss = torch.stack(terms).mean()
    names, weights = zip(*model.named_parameters(), strict=True)
    return loss.detach(), dict(zip(names, torch.autograd.grad(loss, weights), strict=True))


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=2e-6, msg=name)


def test_loss_and_gradients_are_those_of_the_formula(config: Path, tmp_path: Path) -> None:
    expected_loss, expected = reference(trainer_for(config, tmp_path), examples_of(config, tmp_path))
    loss, gradients = first_step(config, tmp_path)
    assert loss == pytest.approx(expected_loss.item(), rel=1e-5)
    assert max(gradient.abs().max().item() for gradient in gradients.values()) > 1e-3
    assert_same(gradients, expected)


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.per_device_train_batch_size=1", "trainer.gradient_accumulation_steps=8"],
        ["trainer.per_device_train_batch_size=3", "trainer.gradient_accumulation_steps=3"],
        ["trainer.pad_to_multiple_of=64"],
        ["trainer.packing=true"],
        ["trainer.padding_free=true"],
        ["trainer.gradient_checkpointing=true"],
        ["model.attn_implementation=eager"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_how_rows_are_laid_out_changes_nothing(config: Path, tmp_path: Path, overrides: list[str]) -> None:
    loss, gradients = first_step(config, tmp_path)
    other_loss, other = first_step(config, tmp_path, *overrides)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert_same(gradients, other)


def test_only_completions_carry_loss(config: Path, tmp_path: Path) -> None:
    """Labels of prompts and padding, set to anything, are not there to be learned."""
    trainer = trainer_for(config, tmp_path, "trainer.shuffle_dataset=false")
    batch = next(
        iter(torch.utils.data.DataLoader(trainer.train_dataset, 8, collate_fn=trainer.data_collator))
    )
    for row, example in enumerate(examples_of(config, tmp_path)):
        labels = batch["labels"][row].tolist()
        learned = example.ids[example.num_prompt :].tolist()
        ignored = len(labels) - len(example.ids)
        assert labels == [-100] * example.num_prompt + learned + [-100] * ignored


def test_perturbing_prompts_labels_changes_no_loss_but_completions_do(config: Path, tmp_path: Path) -> None:
    trainer = trainer_for(config, tmp_path)
    rows = trainer.train_dataset[:]
    batch = trainer.data_collator(
        [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    )
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    ignored = batch["labels"] == -100
    other_input = torch.where(ignored & (batch["attention_mask"] == 0), 7, batch["input_ids"])
    assert trainer.compute_loss(trainer.model, {**batch, "input_ids": other_input}).item() == pytest.approx(
        loss
    )
    other_labels = torch.where(ignored, -100, 7)
    assert trainer.compute_loss(trainer.model, {**batch, "labels": other_labels}).item() != pytest.approx(
        loss
    )


def losses(config: Path, folder: Path, *overrides: str) -> list[float]:
    seen: list[float] = []
    listener = Listener(steps=lambda done, total, logs: seen.extend([logs["loss"]] if "loss" in logs else []))
    trainer_for(config, folder, "trainer.max_steps=4", *overrides, listener=listener).train()
    return seen


def test_the_same_seed_gives_the_same_losses(config: Path, tmp_path: Path) -> None:
    settings = ("trainer.per_device_train_batch_size=2", "lora.r=2", "lora.dropout=0.1")
    first = losses(config, tmp_path, *settings)
    assert len(first) == 4
    assert losses(config, tmp_path, *settings) == first
    assert losses(config, tmp_path, *settings, "seed=1") != first


def test_lora_trains_adapters_only(config: Path, tmp_path: Path) -> None:
    fast = ("trainer.optim=adamw_torch", "trainer.learning_rate=0.1", "trainer.max_steps=2")
    trainer = trainer_for(config, tmp_path, "lora.r=2", *fast)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {n for n, weight in trainer.model.named_parameters() if not torch.equal(before[n], weight)}
    assert moved == {name for name in before if "lora_" in name}
    assert not any("lm_head" in name for name in moved)


def test_modules_to_save_are_trained_beside_adapters(config: Path, tmp_path: Path) -> None:
    trainer = trainer_for(
        config, tmp_path, "lora.r=2", "lora.modules_to_save=[lm_head]", "trainer.learning_rate=0.5"
    )
    trained = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    heads = {name for name in trained if "lm_head" in name}
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert heads
    assert all(not torch.equal(before[name], dict(trainer.model.named_parameters())[name]) for name in heads)


def test_tokens_are_counted_and_the_plan_holds(config: Path, tmp_path: Path) -> None:
    settings = ["trainer.per_device_train_batch_size=3", "trainer.max_steps=-1", "trainer.num_train_epochs=2"]
    prepared = prepare(load_sft_stage(config, settings), str(config), tmp_path)
    planned = plan(prepared)
    trainer = build_trainer(prepared)
    trainer.train()
    examples = prepared.rows.examples
    assert trainer.state.global_step == planned["batches"]["total_steps"] == 6
    assert trainer.counter.processed == 2 * sum(len(e.ids) for e in examples)
    assert trainer.counter.trained == 2 * sum(len(e.ids) - e.num_prompt for e in examples)


def test_validation_loss_is_the_mean_over_its_tokens(config: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "held_out.jsonl", [sft_row(n) for n in (20, 23)])
    held_out = prepare(load_sft_stage(config, [f"data.train={rows}"]), str(config), tmp_path).rows
    trainer = trainer_for(config, tmp_path, f"data.validation={rows}", "trainer.per_device_eval_batch_size=2")
    expected, _ = reference(trainer, held_out.examples)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["trainer.use_cpu=false"],
            "trainer.use_cpu: false needs a GPU, but torch finds no GPU; leave it out",
        ),
        (["trainer.fp16=true"], "trainer.fp16: true needs a GPU"),
        (["trainer.tf32=true"], "trainer.tf32: true needs a GPU"),
        (["model.attn_implementation=flash_attention_2"], "flash_attention_2 needs a GPU"),
        (["trainer.packing=true", "trainer.packing_strategy=wrapped"], "cuts rows in the middle; use bfd"),
        (["trainer.deepspeed=no.json"], "there is no file 'no.json'"),
        (["trainer.optim=adamm"], "TRL refuses these arguments"),
        (["model.path=nowhere/at/all"], "nowhere/at/all"),
        (["spec=rm-r2"], "did you mean 'rm-r1'?"),
        (["trainer.eval_strategy=epoch"], "set data.validation"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")
def test_what_is_asked_and_not_there_is_refused(
    config: Path, tmp_path: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        trainer_for(config, tmp_path, *overrides)
    assert words in str(caught.value)


def test_a_missing_tracker_is_named(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasrm.training import arguments

    monkeypatch.setattr(arguments.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="pip install wandb"):
        trainer_for(config, tmp_path, "trainer.report_to=[wandb]")
