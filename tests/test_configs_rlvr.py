"""The RLVR configs: what RM-R1 published is what they train, on as many GPUs as they say, from the files they name."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.cli.app import app
from reasrm.config import read_yaml
from reasrm.demo.config import RLConfig
from reasrm.protocol.spec import load_spec
from tests.commands import ROOT
from tests.recipes import expect_taken
from tests.test_configs import launch_line, num_processes, read
from tests.tiny import build_tiny_model
from tests.training.stages import preference

CONFIGS = ROOT / "configs"
RECIPES = sorted(CONFIGS.glob("*/rlvr*.yaml"))
NAMES = [str(path.relative_to(CONFIGS)) for path in RECIPES]

# What RM-R1 (arXiv 2505.02387, section 4 and appendix) and its released scripts (github.com/RM-R1-UIUC/RM-R1 at
# d4c2542, rm_r1/scripts/RLVR and the config under rm_r1/verl) say for every size: rollouts per prompt, prompts per
# rollout batch and per update, clip, KL coefficient and entropy bonus, temperature, top-p, longest prompt and response,
# epochs, gradient clip, schedule, weight decay (of the framework).
EVERY_SIZE = {
    "num_generations": 7,
    "prompts": 1024,
    "mini_batch": 128,
    "epsilon": 0.2,
    "beta": 1e-3,
    "entropy_coef": 0.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_prompt_tokens": 4096,
    "max_completion_length": 8192,
    "num_train_epochs": 1,
    "num_iterations": 1,
    "max_grad_norm": 1.0,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.01,
    "loss_type": "grpo",
}
# GPUs that train and the learning rate: the paper's, where a script disagrees. Model, spec and data follow from the
# kind: instruct models go on from distillation, on what it left over; reasoning models start as they are, on all.
BY_SIZE = {
    "qwen2.5/rlvr-7b-instruct.yaml": (8, 1e-6),
    "qwen2.5/rlvr-14b-instruct.yaml": (16, 7e-7),
    "qwen2.5/rlvr-32b-instruct.yaml": (32, 5e-7),
    "r1-distill-qwen/rlvr-7b.yaml": (8, 1e-6),
    "r1-distill-qwen/rlvr-14b.yaml": (16, 1e-6),
    "r1-distill-qwen/rlvr-32b.yaml": (32, 8e-7),
}
RM_NLHF = "r1-distill-qwen/rlvr-7b-rm-nlhf.yaml"
R1_REWARD = "r1-distill-qwen/rlvr-7b-r1-reward.yaml"
OTHERS = {
    *("qwen2.5/rlvr-7b-lora-1gpu.yaml", "sandbox/rlvr.yaml", "sandbox/rlvr-metarm.yaml"),
    *("smollm2/rlvr.yaml", "smollm2/rlvr-critique.yaml"),
    *(RM_NLHF, R1_REWARD),
}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in configs mean the working directory."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"), context=16384)


def set_up_on(monkeypatch: pytest.MonkeyPatch, path: Path, model: Path, processes: int) -> Any:
    """Set a config up as one of many processes would, with a tiny model and without what only a GPU can do."""
    from transformers import TrainingArguments

    from reasrm.training.rlvr.config import load_rlvr_stage
    from reasrm.training.rlvr.setup import set_up

    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda _: processes))
    here = [f"model.path={model}", "model.attn_implementation=sdpa", "trainer.use_vllm=false"]
    return set_up(load_rlvr_stage(path, here), str(path), model / "checkpoints")


def test_the_table_is_complete() -> None:
    assert set(NAMES) == set(BY_SIZE) | OTHERS


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_is_a_stage_and_none_of_its_fields_is_ignored(path: Path) -> None:
    from reasrm.training.rlvr.config import load_rlvr_stage

    stage = load_rlvr_stage(path).model_dump(mode="json")

    expect_taken(read(path), stage, path.name)


@pytest.mark.parametrize("name", BY_SIZE)
def test_what_is_published_is_what_is_trained(name: str, model: Path, monkeypatch) -> None:
    gpus, rate = BY_SIZE[name]
    path = CONFIGS / name
    assert num_processes(launch_line(path)) == gpus
    setup = set_up_on(monkeypatch, path, model, gpus)
    stage, args = setup.stage, setup.arguments
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * gpus
    trained = {
        **{key: getattr(args, key) for key in EVERY_SIZE if hasattr(args, key)},
        "lr_scheduler_type": args.lr_scheduler_type.value,
        "prompts": args.generation_batch_size / args.num_generations,
        "mini_batch": per_step / args.num_generations,
        "max_prompt_tokens": setup.max_tokens,
    }
    assert trained == EVERY_SIZE
    assert (args.learning_rate, args.warmup_steps) == (rate, 0)
    assert args.epsilon_high is None, "clipped alike on both sides"
    (outcome,) = stage.rewards.parts.values()
    assert (outcome.kind, outcome.right, outcome.wrong, outcome.unparsed) == ("outcome", 1, -1, -1)
    assert (stage.advantages.kind, stage.advantages.outlier_sigma) == ("group", None)
    assert (stage.lora, stage.pre_clip, stage.rollouts.refill) == (None, None, 0)


@pytest.mark.parametrize("name", [*BY_SIZE, "qwen2.5/rlvr-7b-lora-1gpu.yaml"])
def test_a_generation_batch_divides_as_trl_and_checkpoints_want(name: str, model: Path, monkeypatch) -> None:
    processes = num_processes(launch_line(CONFIGS / name))
    args = set_up_on(monkeypatch, CONFIGS / name, model, processes).arguments
    steps = args.steps_per_generation * args.num_iterations / args.gradient_accumulation_steps
    assert steps == (8 if name in BY_SIZE else 4)
    assert args.save_steps % steps == 0
    assert args.save_steps <= 4 * steps, "a kill loses four batches of rollouts at most"
    assert args.generation_batch_size == args.steps_per_generation * processes


def test_r1_reward_trains_as_released() -> None:
    from reasrm.training.rlvr.config import load_rlvr_stage

    path = CONFIGS / R1_REWARD
    processes = num_processes(launch_line(path))
    stage = load_rlvr_stage(path)
    (ladder,) = stage.rewards.parts.values()
    assert (ladder.kind, ladder.format_weight, ladder.consistency_weight) == ("consistency_ladder", 0.5, 0.5)
    assert (stage.advantages.kind, stage.advantages.outlier_sigma) == ("whitened", 3)
    assert (stage.pre_clip.low, stage.pre_clip.high) == (1e-3, 1e3)
    args = stage.trainer
    assert args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * processes == 128
    assert (args["generation_batch_size"], args["learning_rate"], args["beta"]) == (256, 3e-7, 1e-3)
    assert args["save_steps"] % (256 // 128) == 0


def test_rm_nlhf_trains_as_released() -> None:
    from reasrm.training.rlvr.config import load_rlvr_stage

    stage = load_rlvr_stage(CONFIGS / RM_NLHF)
    args = stage.trainer
    processes = num_processes(launch_line(CONFIGS / RM_NLHF))
    per_step = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * processes
    assert per_step == args["generation_batch_size"] == 256 * 8, "256 prompts × 8, on policy"
    assert (args["learning_rate"], args["beta"], args["temperature"]) == (1e-6, 1e-3, 0.7)
    assert (stage.data.max_prompt_tokens, args["max_completion_length"]) == (6144, 8192)
    parts = stage.rewards.parts
    assert (parts["critique"].weight, parts["critique"].least) == (0.5, 0.5)
    assert (parts["format"].max_lines, parts["format"].max_characters) == (4, 1500)
    assert (stage.rewards.combine.bad_format, stage.rewards.combine.gated) == (-1, True)
    meta = stage.metarm
    assert (meta.max_grad_norm, meta.epochs) == (1.0, 1)
    assert (meta.learning_rate, meta.dtype, meta.lora.r) == (5e-5, "bfloat16", 32), "ours: by adapters"
    assert (meta.mode, meta.bonus_scale) == ("online", "published")


def test_another_number_of_gpus_needs_another_accumulation(model: Path, monkeypatch) -> None:
    from reasrm.errors import ConfigError

    path = CONFIGS / "qwen2.5" / "rlvr-7b-instruct.yaml"
    with pytest.raises(ConfigError, match="must be divisible by the global batch size"):
        set_up_on(monkeypatch, path, model, 24)


@pytest.mark.parametrize("name", BY_SIZE)
def test_where_a_size_starts_and_what_it_reads(name: str) -> None:
    config = read(CONFIGS / name)
    size = re.search(r"(\d+)b", name)
    assert size is not None
    if name.startswith("qwen2.5"):
        before = f"sft-{size[1]}b-instruct"
        assert config["model"]["path"] == f"judges/{before}/model"
        assert f"export --run runs/{before} --output judges/{before}" in (CONFIGS / name).read_text("utf-8")
        assert f"runs/{before}" in launch_line(CONFIGS / "qwen2.5" / f"{before}.yaml")
        assert (config["spec"], config["data"]["train"]) == ("rm-r1", "data/rm-r1-after-distill.jsonl")
    else:
        assert config["model"]["path"] == f"deepseek-ai/DeepSeek-R1-Distill-Qwen-{size[1]}B"
        assert (config["spec"], config["data"]["train"]) == ("rm-r1-short", "data/rm-r1-all.jsonl")
    assert load_spec(config["spec"]).protocol == "pairwise"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("sandbox", "smollm2"))])
def test_every_number_says_where_it_comes_from(name: str) -> None:
    lines = [line for line in (CONFIGS / name).read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    for line in lines:
        setting, _, comment = line.partition("#")
        if re.search(r": [\d{]", setting):
            assert re.match(r" \[(paper|script|framework|ours)\]", comment), line


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_tells_how_to_start_it(path: Path) -> None:
    words = launch_line(path)
    assert words[words.index("--config") + 1] == str(path.relative_to(ROOT))
    assert "--run-dir" in words
    if words[0] == "accelerate":
        assert words[words.index("-m") :][:3] == ["-m", "reasrm", "rlvr"]
        assert (ROOT / words[3]).parent == CONFIGS / "accelerate"
    else:
        assert words[:2] == ["reasrm", "rlvr"]


@pytest.mark.parametrize("path", [p for p in RECIPES if "32b" in p.name], ids=lambda p: p.stem)
def test_the_server_generates_with_the_model_that_is_trained(path: Path) -> None:
    from trl.scripts.vllm_serve import ScriptArguments

    (lines,) = re.findall(r"# Server: (.*\n(?:#  +.*\n)*)", path.read_text(encoding="utf-8"))
    words = str(lines.replace("#", " ")).split()
    assert words[:2] == ["trl", "vllm-serve"]
    flags = dict(zip(words[2::2], words[3::2], strict=True))
    known = {f"--{field.name}" for field in dataclasses.fields(ScriptArguments)}
    assert set(flags) <= known
    config = read(path)
    longest = config["data"]["max_prompt_tokens"] + config["trainer"]["max_completion_length"]
    assert flags["--model"] == config["model"]["path"]
    assert (int(flags["--max_model_len"]), flags["--tensor_parallel_size"]) == (longest, "4")
    assert config["trainer"]["vllm_mode"] == "server"
    assert "trainer.vllm_server_host=SERVER" in launch_line(path)


def test_the_sandbox_does_what_the_demo_does() -> None:
    config, demo = read(CONFIGS / "sandbox" / "rlvr.yaml"), RLConfig()
    assert demo.trainer.items() <= config["trainer"].items()
    assert config["trainer"]["max_completion_length"] == load_spec(config["spec"]).sampling.max_tokens
    assert config["rewards"]["parts"] == {
        "outcome": {"kind": "outcome", "right": 1.0, "wrong": -1.0, "unparsed": -1.0}
    }
    text = (CONFIGS / "sandbox" / "rlvr.yaml").read_text(encoding="utf-8")
    assert f"--rows {demo.pairs} " in text


def test_a_dry_run_estimates_the_memory_of_a_recipe_for_a_model_at_hand(
    model: Path, tmp_path: Path, capfd
) -> None:
    rows = tmp_path / "pairs.jsonl"
    rows.write_text("".join(json.dumps(preference(n)) + "\n" for n in range(64)), encoding="utf-8")
    words = ["rlvr", "--config", "configs/qwen2.5/rlvr-7b-lora-1gpu.yaml", "--dry-run"]
    changes = {
        "model.path": model,
        "data.train": rows,
        "trainer.bf16": "false",
        "trainer.use_vllm": "false",
        "rollouts.batch_size": 16,
    }
    sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    app([*words, *sets], standalone_mode=False)
    out, err = capfd.readouterr()
    told = json.loads(out)
    memory, batches = told["memory_gib"], told["batches"]
    assert memory["reference"] == 0, "adapters are switched off instead of a second model"
    # keys and values, 2 layers of 2 heads of 8, 4 bytes, 16 rollouts at a time
    longest = told["lengths"]["prompt"]["max"] + told["max_completion_tokens"]
    assert memory["rollouts"] == round(2 * 2 * 2 * 8 * 4 * longest * 16 / 2**30, 3) > 0
    assert memory["total"] >= memory["rollouts"]
    assert told["parameters"]["trained"] < told["parameters"]["total"]
    assert (batches["prompts_per_generation_batch"], batches["rollouts_per_step"]) == (64, 112)
    assert "64 prompts × 7 rollouts = 448" in err
    assert "memory per process, estimated, in GiB" in err


# --- what the documentation shows


def test_documented_sections_are_read() -> None:
    from reasrm.training.rlvr.config import RLVRStage

    text = (ROOT / "docs" / "rlvr.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    whole = next(block for block in blocks if "stage" in block)
    for block in blocks:
        RLVRStage.model_validate({**whole, **block})
    assert len(blocks) >= 5


def test_documented_lines_name_files_and_flags_that_exist() -> None:
    page = (ROOT / "docs" / "rlvr.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    flags = {"--config_file", "--config", "--run-dir", "--resume", "--dry-run", "--set"}
    for words in map(shlex.split, lines):
        for word in words:
            if words[:2] in (["reasrm", "rlvr"], ["accelerate", "launch"]) and word.startswith("--"):
                assert word in flags, word
            if word.startswith(("configs/", "train/")):
                assert (ROOT / word).is_file(), word
    assert any(words[0] == "accelerate" for words in map(shlex.split, lines))


def test_the_defaults_that_the_page_lists_are_the_defaults(model: Path, monkeypatch) -> None:
    from trl.trainer.grpo_config import GRPOConfig

    page = (ROOT / "docs" / "rlvr.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| `trainer` \| ours .*?\n\n", page, re.DOTALL)
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:] if line
    ]
    path = model / "bare.yaml"
    path.write_text(
        f"stage: rlvr\nmodel: {{path: {model}}}\nspec: sandbox\ndata: {{train: x.jsonl}}\n", encoding="utf-8"
    )
    ours = set_up_on(monkeypatch, path, model, 1).arguments
    theirs = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    assert len(rows) >= 8
    for name, our_value, their_value, *_ in rows:
        taken = getattr(ours, name)
        assert str(getattr(taken, "value", taken)) == str(read_value(our_value)), name
        default = theirs[name]
        assert str(getattr(default, "value", default)) == str(read_value(their_value)), name


def read_value(cell: str) -> Any:
    value = yaml.safe_load(cell)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_launch_files_are_yaml() -> None:
    assert read_yaml(CONFIGS / "accelerate" / "2nodes-zero3.yaml") == {
        **read(CONFIGS / "accelerate" / "4nodes-zero3.yaml"),
        "num_machines": 2,
        "num_processes": 16,
    }
