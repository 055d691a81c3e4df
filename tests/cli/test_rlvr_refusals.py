"""What `reasrm rlvr` says to a stage that cannot be run: an exit code, and one line that ends in a remedy."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from reasrm.cli import console
from reasrm.cli.app import app
from tests.training.stages import preference, write_rlvr_stage

pytestmark = pytest.mark.slow

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")
needs_no_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is not None, reason="about a machine without vLLM"
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    unlabelled = {"id": "u", "prompt": "question", "response_a": "yes", "response_b": "no"}
    (folder / "unlabelled.jsonl").write_text(json.dumps(unlabelled) + "\n", encoding="utf-8")
    (folder / "empty.jsonl").write_text("", encoding="utf-8")
    twice = json.dumps(preference(1)) + "\n"
    (folder / "twice.jsonl").write_text(twice + twice, encoding="utf-8")
    return write_rlvr_stage(folder)


@pytest.fixture
def rlvr(config, tmp_path, monkeypatch, capfd):
    """Run `reasrm rlvr` in this process; return its exit code, its lines on stderr, and its summary."""

    def leave(code):
        raise SystemExit(code)

    def call(*overrides, path=config, run_dir=tmp_path / "run", flags=()):
        sets = [word for override in overrides for word in ("--set", override)]
        arguments = ["rlvr", "--config", str(path), "--run-dir", str(run_dir), *sets, *flags]
        monkeypatch.chdir(config.parent)
        with pytest.raises(SystemExit) as caught:
            app(arguments, standalone_mode=False)
        out, err = capfd.readouterr()
        return caught.value.code, err.splitlines(), json.loads(out.splitlines()[-1])

    monkeypatch.setattr(console, "exit_with", leave)
    return call


DIGITS = "9" * 5000

# Values out of range, of every kind; each is one line that names the key, with exit code 2.
OUT_OF_RANGE = [
    *(f"trainer.temperature={value}" for value in ("-1", "0", ".nan", ".inf")),
    *(f"trainer.beta={value}" for value in ("-1", ".nan")),
    *(f"trainer.epsilon={value}" for value in ("-1", "0")),
    "trainer.epsilon_high=-0.1",
    "trainer.delta=-1",
    "trainer.top_p=1.5",
    "trainer.top_p=0",
    "trainer.learning_rate=-1e-6",
    "trainer.learning_rate=.inf",
    "trainer.weight_decay=-0.1",
    "trainer.max_grad_norm=-1",
    "trainer.warmup_steps=-5",
    "trainer.adam_beta2=1.0",
    "trainer.adam_epsilon=0",
    "trainer.max_steps=0",
    "trainer.max_steps=-2",
    "trainer.num_train_epochs=0",
    "trainer.num_train_epochs=-1",
    "trainer.per_device_train_batch_size=0",
    "trainer.per_device_train_batch_size=-8",
    "trainer.gradient_accumulation_steps=0",
    "trainer.generation_batch_size=0",
    "trainer.steps_per_generation=0",
    "trainer.num_iterations=0",
    "trainer.num_generations=0",
    "trainer.max_completion_length=0",
    "trainer.save_steps=0",
    "trainer.logging_steps=0",
    "trainer.dataloader_num_workers=-1",
    "trainer.loss_type=nope",
    "trainer.loss_type=nll",
    "trainer.importance_sampling_level=word",
    "trainer.lr_scheduler_type=cosine_with_min_lr",
    "trainer.lr_scheduler_type=straight",
    "trainer.max_steps=" + "9" * 15,
    "trainer.max_steps=" + DIGITS,
    "trainer.max_steps=0x" + DIGITS,
    "seed=-1",
    "seed=" + DIGITS,
    "data.limit=0",
    "data.train=[]",
    "data.max_prompt_tokens=-1",
    "validation={splits: {}}",
    "validation={splits: {held: []}}",
    "validation={splits: {held: pairs.jsonl}, every: 0}",
    "validation={splits: {held: pairs.jsonl}, temperature: .inf}",
    "validation={splits: {held: pairs.jsonl}, batch_size: 0}",
    "rewards.parts.outcome={kind: outcome, right: 1, wrong: 1}",
    "rewards.parts.outcome={kind: outcome, right: -1, wrong: 1}",
    "rewards.parts.outcome={kind: outcome, unparsed: 1}",
    "rewards.parts.outcome={kind: outcome, predicted_tie: 2}",
    "rewards.parts.outcome={kind: outcome, statuses: {truncated: 1}}",
    "rewards.parts.outcome={kind: outcome, right: .nan}",
    "rewards.parts.outcome={kind: outcome, weight: .inf}",
    "rewards.parts.outcome={kind: outcome, weight: -1}",
    "rewards.parts={outcome: {kind: outcome, weight: 0}}",
    "rewards.parts={}",
    "rewards.parts.cosine={kind: cosine_length, max_tokens: 9, right: [1, 0], wrong: [-1, 0]}",
    "advantages.eps=-1",
    "advantages.outlier_sigma=0",
    "rollouts.batch_size=0",
    "rollouts.refill=-1",
    "pre_clip={low: 0}",
    "pre_clip={high: .inf}",
    "watch.samples=-1",
    "watch.alarms=[{metric: rollouts/covrage, below: 0.5}]",
    "watch.alarms=[{metric: eval/held/accuracy, below: 0.5}]",
    "watch.alarms=[{metric: reward/style/mean, below: 0.5}]",
    "watch.alarms=[{metric: loss, below: .nan}]",
    "watch.alarms=[{metric: loss, above: 1, patience: 0}]",
    "watch.alarms=[{metric: '', above: 1}]",
    "checkpoints.keep=1",
    "lora={target_modules: [nope]}",
    "lora={target_modules: [q_proj, nope]}",
    "lora={target_modules: []}",
    "lora={target_modules: ['']}",
    "lora={modules_to_save: [nope]}",
    "lora={target_modules: [input_layernorm]}",
    "lora={r: 0}",
    "lora={alpha: .inf}",
    "lora={alpha: -1}",
    "lora={dropout: 1}",
]

# What is wrong → exit code and words of the line. Several changes are separated by spaces.
WRONG = {
    # keys and values
    "traner.max_steps=1": (2, "did you mean 'trainer'?"),
    "trainer.num_generation=4": (2, "did you mean 'num_generations'?"),
    "data.order=both": (2, "did you mean 'orders'?"),
    "rewards.parts.outcome.rihgt=1": (2, "did you mean 'right'?"),
    "rewards.parts.style={kind:style}": (2, "rewards.parts.style"),
    "trainer.max_steps=soon": (2, "expected int, got 'soon'"),
    "advantages.kind=best": (2, "advantages.kind"),
    # what the stage sets itself
    "trainer.reward_weights=[1.0]": (2, "the stage sets this itself; set rewards and advantages at the top"),
    "trainer.scale_rewards=batch": (2, "set rewards and advantages at the top of the file"),
    "trainer.eval_strategy=steps": (2, "set validation at the top of the file"),
    "trainer.output_dir=x": (2, "pass --run-dir"),
    "trainer.chat_template_kwargs={}": (2, "set template_options in the spec"),
    "trainer.log_completions=true": (2, "set watch.samples"),
    "trainer.generation_kwargs={}": (2, "leave it out: rollouts are drawn by the judge's own sampler"),
    "trainer.top_k=5": (2, "leave top_k out; temperature and top_p say how to draw"),
    # batches
    "trainer.num_generations=3": (2, "must be divisible by num_generations"),
    "trainer.num_generations=1": (2, "at least 2 generations"),
    "trainer.steps_per_generation=2 trainer.save_steps=3": (2, "save_steps: is 3, and a generation batch"),
    "trainer.steps_per_generation=2 trainer.max_steps=3": (2, "max_steps: is 3, and a generation batch"),
    "trainer.num_generations=8 data.orders=both": (2, "with data.orders: both it takes an even number"),
    "trainer.generation_batch_size=40 trainer.max_steps=5": (
        2,
        "a generation batch takes 10 prompts, and there are 8",
    ),
    # sections that do not go together
    "rollouts.refill=2 data.orders=both": (2, "tear the two orders of a pair apart"),
    "rollouts.refill=2 trainer.use_vllm=true": (2, "draws through transformers only"),
    "selection.patience=2": (2, "selection needs validation"),
    "validation.splits.held=pairs.jsonl selection.split=hold": (2, "selection.split 'hold' is none of: held"),
    "rewards.parts.ladder={kind: consistency_ladder}": (2, "`referee`"),
    "rewards.combine={kind: multiplicative, outcome: outcom}": (2, "'outcom' is none of the parts"),
    "watch.alarms=[{metric: reward/mean}]": (2, "an alarm has either below or above"),
    # spec, model, data
    "spec=pointwise-10": (2, "choose a pairwise spec"),
    "spec=no-such-spec": (2, "no-such-spec"),
    "model.path=no/such/model": (2, "no/such/model"),
    "trainer.max_completion_length=512": (2, "leaves nothing of the model's context of 512 tokens"),
    "data.train=no.jsonl": (4, "pass the path of an existing file"),
    "data.train=empty.jsonl": (4, "holds no rows; name a file of preference pairs"),
    "data.train=unlabelled.jsonl": (4, "give preference pairs, or comparisons with a label"),
    "data.train=twice.jsonl": (2, "make the ids unique"),
    "data.max_prompt_tokens=10": (4, "raise data.max_prompt_tokens"),
    "validation.splits.held=no.jsonl": (4, "no.jsonl"),
}
ON_THIS_MACHINE = {
    "trainer.use_cpu=false": (2, "torch finds no GPU; leave it out"),
    "model.attn_implementation=flash_attention_2": (2, "needs a GPU"),
    "trainer.tf32=true": (2, "needs a GPU"),
}


@pytest.mark.parametrize("changes", WRONG)
def test_a_wrong_config(rlvr, changes: str) -> None:
    check(rlvr, changes, *WRONG[changes])


@pytest.mark.parametrize("change", OUT_OF_RANGE, ids=lambda change: change[:60])
def test_a_value_out_of_range_is_refused_before_anything_is_loaded(rlvr, change: str) -> None:
    """In training and in a dry run, which would otherwise promise what training cannot keep."""
    key = change.partition("=")[0].rpartition(".")[2]
    for flags in ((), ("--dry-run",)) if "lora" in change else ((),):
        returned, (*_, line), said = rlvr(change, flags=flags)
        assert (returned, said["exit_code"]) == (2, 2), line
        assert line == f"error: {said['message']}"
        assert key in line
        assert len(line) < 700
        assert "\n" not in said["message"]


@pytest.mark.parametrize("number", [DIGITS, "0x" + DIGITS, "2001-99-99", "-" + "9" * 30])
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_number_in_a_file_that_nothing_can_hold(rlvr, config: Path, number: str, suffix: str) -> None:
    if suffix == "json" and not number.lstrip("-").isdigit():
        return
    path = config.with_name(f"wrong.{suffix}")
    path.write_text(f'{{"stage": "rlvr", "seed": {number}}}', encoding="utf-8")
    returned, (*_, line), _ = rlvr(path=path)
    assert returned == 2
    assert str(path) in line
    assert len(line) < 700


@needs_no_gpu
@pytest.mark.parametrize("changes", ON_THIS_MACHINE)
def test_what_needs_a_gpu(rlvr, changes: str) -> None:
    check(rlvr, changes, *ON_THIS_MACHINE[changes])


@needs_no_vllm
def test_rollouts_by_a_vllm_that_is_not_installed(rlvr) -> None:
    check(rlvr, "trainer.use_vllm=true", 5, "reasrm[vllm]")


def check(rlvr, changes: str, code: int, words: str) -> None:
    overrides = changes.split(" ") if "{" not in changes and "[" not in changes else [changes]
    returned, (*_, line), said = rlvr(*overrides)
    assert (returned, said["exit_code"]) == (code, code), line
    assert line == f"error: {said['message']}"
    assert words in line


def test_a_config_that_is_not_there(rlvr, tmp_path: Path) -> None:
    returned, (line,), said = rlvr(path=tmp_path / "no.yaml")
    assert (returned, said["error"]) == (2, "ConfigError")
    assert "no.yaml" in line


def test_a_config_of_another_stage(rlvr, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "sft.yaml"
    other.write_text(
        config.read_text(encoding="utf-8").replace("stage: rlvr", "stage: sft"), encoding="utf-8"
    )
    returned, (line,), _ = rlvr(path=other)
    assert returned == 2
    assert "stage" in line


def test_a_run_that_was_begun_with_another_config(rlvr, config: Path, tmp_path: Path) -> None:
    app(
        ["rlvr", "--config", str(config), "--run-dir", str(tmp_path / "run"), "--quiet", "--set", "seed=1"],
        standalone_mode=False,
    )
    returned, (*_, line), _ = rlvr("seed=2", flags=["--resume"])
    assert returned == 2
    assert "seed" in line
    returned, (*_, line), _ = rlvr("seed=1")
    assert returned == 2
    assert "--resume" in line
