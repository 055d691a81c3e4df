"""The SFT stage: its loss against the formula, and what changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl.trainer import utils as trl_utils

from reasrm.errors import ConfigError, EnvironmentProblem, InputError
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.runs import RunFolder
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.sft.data import Example
from reasrm.training.sft.stage import (
    JudgeSFTTrainer,
    SFTData,
    build_trainer,
    encode_data,
    plan,
    set_up,
    train,
)
from reasrm.training.stage.listening import Listener
from tests.commands import rows_of
from tests.refusals import refused
from tests.training.stages import SPEC, sft_row, write_rows, write_stage

pytestmark = pytest.mark.slow

Step = tuple[float, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage for all tests, with one batch of eight rows of different lengths per step."""
    return write_stage(
        tmp_path_factory.mktemp("stage"),
        trainer={"per_device_train_batch_size": 8, "max_grad_norm": 0.0, "optim": "sgd", "max_steps": 1},
    )


def data_of(config: Path, *overrides: str) -> SFTData:
    return encode_data(set_up(load_sft_stage(config, overrides), str(config), config.parent))


def trainer_for(
    config: Path, folder: Path, *overrides: str, listener: Listener | None = None
) -> JudgeSFTTrainer:
    """The trainer of a new run in a folder below the given one."""
    path = folder / f"run{len(list(folder.iterdir()))}"
    setup = set_up(load_sft_stage(config, overrides), str(config), path / "checkpoints")
    data = encode_data(setup)
    run = RunFolder.open(path, stage="sft", config=setup.resolved(), inputs={}, seed=0, resume=False)
    return build_trainer(setup, data, run, listener)


def examples_of(config: Path, *overrides: str) -> list[Example]:
    return data_of(config, *overrides).train.examples


def first_step(config: Path, folder: Path, *overrides: str) -> Step:
    """Loss and weight change of one step of plain SGD with learning rate 1: minus the gradient."""
    logs: list[float] = []
    listener = Listener(steps=lambda done, total, values: logs.append(values.get("loss", 0.0)))
    sgd = ("trainer.learning_rate=1.0", "trainer.lr_scheduler_type=constant")
    trainer = trainer_for(config, folder, *sgd, *overrides, listener=listener)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    return logs[0], {name: before[name] - after[name].detach() for name in before}


@pytest.fixture(scope="module")
def plain_step(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The step with all rows in one padded batch."""
    return first_step(config, tmp_path_factory.mktemp("plain"))


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


def test_loss_and_gradients_are_those_of_the_formula(config: Path, tmp_path: Path, plain_step: Step) -> None:
    expected_loss, expected = reference(trainer_for(config, tmp_path), examples_of(config))
    loss, gradients = plain_step
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
def test_how_rows_are_laid_out_changes_nothing(
    config: Path, tmp_path: Path, plain_step: Step, overrides: list[str]
) -> None:
    loss, gradients = plain_step
    other_loss, other = first_step(config, tmp_path, *overrides)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert_same(gradients, other)


def test_only_completions_carry_loss(config: Path, tmp_path: Path) -> None:
    trainer = trainer_for(config, tmp_path, "trainer.shuffle_dataset=false")
    batch = next(
        iter(torch.utils.data.DataLoader(trainer.train_dataset, 8, collate_fn=trainer.data_collator))
    )
    for row, example in enumerate(examples_of(config)):
        labels = batch["labels"][row].tolist()
        learned = example.ids[example.num_prompt :].tolist()
        ignored = len(labels) - len(example.ids)
        assert labels == [-100] * example.num_prompt + learned + [-100] * ignored


def test_prompts_are_not_projected_on_the_vocabulary(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    projected: list[int] = []
    real = trl_utils._ChunkedLogProbFunction

    def apply(hidden: torch.Tensor, *rest: Any) -> Any:
        projected.append(len(hidden))
        return real.apply(hidden, *rest)

    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", SimpleNamespace(apply=apply))
    trainer = trainer_for(config, tmp_path)
    trainer.train()
    assert projected == [trainer.trained_tokens]


def test_padding_carries_no_loss_but_completions_do(config: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow
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
    setup = set_up(load_sft_stage(config, settings), str(config), tmp_path)
    data = encode_data(setup)
    trainer = trainer_for(config, tmp_path, *settings)
    trainer.train()
    examples = data.train.examples
    assert trainer.state.global_step == plan(setup, data)["batches"]["total_steps"] == 6
    assert trainer._total_train_tokens == 2 * sum(len(e.ids) for e in examples)
    assert trainer.trained_tokens == 2 * sum(len(e.ids) - e.num_prompt for e in examples)


def test_validation_loss_is_the_mean_over_its_tokens(config: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "held_out.jsonl", [sft_row(n) for n in (20, 23)])
    held_out = examples_of(config, f"data.train={rows}")
    trainer = trainer_for(config, tmp_path, f"data.validation={rows}", "trainer.per_device_eval_batch_size=2")
    expected, _ = reference(trainer, held_out)
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
        (["trainer.optim=adamm"], "trainer.optim: no such value: 'adamm'; did you mean"),
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


@pytest.mark.parametrize("tracker", ["wandb", "clearml", "dvclive"])
def test_a_missing_tracker_is_named(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: str
) -> None:
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", list)
    with pytest.raises(EnvironmentProblem, match=f"pip install {tracker}"):
        trainer_for(config, tmp_path, f"trainer.report_to=[{tracker}]")


@pytest.mark.parametrize("value", ["nope", "[nope]", "[none, wandbb]", "[tensorbord]"])
def test_a_tracker_that_nobody_knows_is_refused(config: Path, tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.report_to"):
        trainer_for(config, tmp_path, f"trainer.report_to={value}")


def weights_of(checkpoint: str) -> bytes:
    return (Path(checkpoint) / "model.safetensors").read_bytes()


class Stopped(Exception):
    """A training was stopped by the test."""


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_bits(config: Path, tmp_path: Path) -> None:
    settings = ["trainer.per_device_train_batch_size=2", "trainer.max_steps=6", "trainer.save_steps=2"]
    stage = load_sft_stage(config, settings)
    whole = train(stage, str(config), tmp_path / "whole")

    def stop_at_five(done: int, total: int, logs: Mapping[str, Any]) -> None:
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train(stage, str(config), tmp_path / "cut", listener=Listener(steps=stop_at_five))
    resumed = train(stage, str(config), tmp_path / "cut", resume=True)
    assert weights_of(resumed["checkpoint"]) == weights_of(whole["checkpoint"])
    same = ("steps", "loss", "rows", "trained_tokens", "processed_tokens")
    assert {name: resumed[name] for name in same} == {name: whole[name] for name in same}


def test_a_finished_run_is_left_alone(config: Path, tmp_path: Path) -> None:
    stage = load_sft_stage(config)
    first = train(stage, str(config), tmp_path / "run")
    said: list[str] = []
    assert (
        train(stage, str(config), tmp_path / "run", resume=True, listener=Listener(say=said.append)) == first
    )
    assert said == [f"{tmp_path / 'run'} is finished; nothing is left to do"]
    with pytest.raises(ConfigError, match="pass --resume"):
        train(stage, str(config), tmp_path / "run")


@pytest.mark.parametrize("longer", ["trainer.max_steps=4", "trainer.num_train_epochs=5"])
def test_a_run_keeps_its_length_and_another_begins_from_its_result(
    config: Path, tmp_path: Path, longer: str
) -> None:
    """The schedule of a longer run is another from its first step on; the refusal says how to train on."""
    folder = tmp_path / "run"
    first = train(load_sft_stage(config), str(config), folder)
    with refused(ConfigError, folder, longer.partition("=")[0], f"model.path: {folder}"):
        train(load_sft_stage(config, [longer]), str(config), folder, resume=True)
    more = load_sft_stage(config, [longer, f"model.path={folder}"])
    second = train(more, str(config), tmp_path / "more")
    base = json.loads((tmp_path / "more" / "config.json").read_text())["base"]
    assert base["path"] == first["checkpoint"]
    assert second["loss"] < first["loss"]


@pytest.mark.parametrize("strategy", ["no", "epoch", "steps"])
def test_the_end_is_sealed_whatever_the_save_strategy(config: Path, tmp_path: Path, strategy: str) -> None:
    settings = [f"trainer.save_strategy={strategy}", "trainer.max_steps=2", "trainer.logging_steps=50"]
    summary = train(load_sft_stage(config, settings), str(config), tmp_path / "run")
    assert Path(summary["checkpoint"]).name == "checkpoint-2"
    assert summary["loss"] is not None


def test_a_run_says_by_itself_what_it_trained(config: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [sft_row(0), sft_row(1, "no verdict"), sft_row(2)])
    said: list[str] = []
    stage = load_sft_stage(config, [f"data.train={rows}"])
    summary = train(stage, str(config), tmp_path / "run", listener=Listener(say=said.append))
    assert (summary["rows"], summary["dropped"]) == (2, {"unreadable": 1})
    assert "warning: 1 training rows dropped (1 unreadable), 2 kept" in said
    run = RunFolder.join(tmp_path / "run")
    (dropped,) = rows_of(run.path / "dropped.jsonl")
    assert (dropped["id"], dropped["line"], dropped["code"]) == ("q1", 2, "unreadable")
    kept = run.read_config()
    assert JudgeSpec.model_validate(kept["spec"]).hash == load_spec(SPEC).hash
    assert kept["base"]["path"] == str(config.parent / "model")


def test_a_folder_that_cannot_be_written_is_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o555)
    with pytest.raises(EnvironmentProblem, match="name a folder with --run-dir that you may write to"):
        train(load_sft_stage(config), str(config), tmp_path / "run")


def test_a_missing_file_of_rows_is_named(config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass the path of an existing file"):
        train(load_sft_stage(config, ["data.train=no.jsonl"]), str(config), tmp_path / "run")
