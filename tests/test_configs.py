"""Every file under `configs/` is read by what reads it in earnest, and does the arithmetic that it claims."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.config import load_config
from reasrm.demo.config import DemoConfig
from reasrm.protocol.sft_rows import read_sft_row
from reasrm.protocol.spec import load_spec
from reasrm.world.english.config import EnglishConfig
from tests.commands import ROOT
from tests.commands import here as run
from tests.recipes import expect_taken

CONFIGS = ROOT / "configs"
RECIPES = sorted(
    p for folder in ("sandbox", "smollm2", "qwen2.5", "qwen3") for p in (CONFIGS / folder).glob("sft*")
)
DEMOS = sorted((CONFIGS / "sandbox").glob("[!mrs]*"))
RLVR = sorted(CONFIGS.glob("*/rlvr*.yaml"))  # tests/test_configs_rlvr.py
METARM = sorted(CONFIGS.glob("*/metarm*.yaml"))  # tests/test_configs_metarm.py
LAUNCHERS = sorted((CONFIGS / "accelerate").iterdir())
ENGINES = sorted((CONFIGS / "deepspeed").iterdir())
SPECS = sorted((CONFIGS / "specs").iterdir())
CURATIONS = sorted((CONFIGS / "data").iterdir())
DISTILLATIONS = [*sorted((CONFIGS / "distill").iterdir()), CONFIGS / "smollm2" / "distill.yaml"]
ENGLISH = CONFIGS / "smollm2" / "world.yaml"
SYNTHESES = sorted((CONFIGS / "rubrics").iterdir())
NAMES = [str(path.relative_to(CONFIGS)) for path in RECIPES]

# What the papers and the released code say: rows per step, learning rate, epochs, longest row. Where paper and code
# disagree (RM-R1's learning rates) it is the paper's number.
PUBLISHED = {
    "qwen2.5/sft-7b-instruct.yaml": (128, 5e-6, 1, 12288),
    "qwen2.5/sft-14b-instruct.yaml": (128, 3e-6, 1, 12288),
    "qwen2.5/sft-32b-instruct.yaml": (128, 2e-6, 1, 12288),
    "qwen3/sft-8b-cdrrm.yaml": (64, 5e-5, 2, 25000),
    "qwen3/sft-14b-cdrrm.yaml": (64, 5e-5, 2, 25000),
    "qwen3/sft-8b-rubric-rm.yaml": (64, 5e-6, 2, 6144),
    "qwen3/sft-8b-rubric-writer.yaml": (128, 8e-6, 1, 3072),
    "qwen3/sft-8b-cdrrm-writer.yaml": (64, 5e-5, 2, 25000),
    "qwen2.5/sft-7b-lora-1gpu.yaml": (128, None, 1, 12288),
    "qwen3/sft-8b-lora-1gpu.yaml": (64, None, 2, 6144),
    "qwen3/sft-8b-rubric-writer-lora-1gpu.yaml": (128, None, 1, 3072),
}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in configs mean the working directory."""
    monkeypatch.chdir(ROOT)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def launch_line(path: Path) -> list[str]:
    """The words of the launch line in a config's head."""
    text = path.read_text(encoding="utf-8")
    (lines,) = re.findall(r"# Launch: (.*\n(?:#  +.*\n)*)", text)
    return str(lines.replace("#", " ")).split()


def num_processes(words: list[str]) -> int:
    if words[0] == "reasrm":
        return 1
    assert words[:3] == ["accelerate", "launch", "--config_file"]
    return int(read(ROOT / words[3])["num_processes"])


def test_no_file_is_left_out() -> None:
    known = {
        *RECIPES,
        *DEMOS,
        *LAUNCHERS,
        *ENGINES,
        *SPECS,
        *CURATIONS,
        *DISTILLATIONS,
        *SYNTHESES,
        *RLVR,
        *METARM,
        ENGLISH,
    }
    assert {p for p in CONFIGS.rglob("*") if p.is_file()} == known
    ours = {f"sandbox/{name}.yaml" for name in ("sft", "sft-rubric-writer")}
    ours |= {f"smollm2/{name}.yaml" for name in ("sft", "sft-lora")}
    assert set(PUBLISHED) | ours == set(NAMES)
    documented = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    for path in known:
        assert f"`{path.relative_to(CONFIGS)}`" in documented, path


@pytest.mark.parametrize("path", DEMOS, ids=[path.stem for path in DEMOS])
def test_a_demo_config_shapes_a_demo(path: Path) -> None:
    config = load_config(DemoConfig, path)
    given = read(path)
    assert config.model_dump(mode="json")["trainer"] == given.get(
        "trainer", DemoConfig().model_dump(mode="json")["trainer"]
    )
    assert (config == DemoConfig()) is (path.stem == "demo"), "demo.yaml writes the defaults down"


def test_the_english_world_of_the_real_model_is_the_default_one_but_for_its_demands() -> None:
    plain = EnglishConfig().model_dump()
    changed = {
        name
        for name, value in load_config(EnglishConfig, ENGLISH).model_dump().items()
        if value != plain[name]
    }
    assert changed == {"num_rules", "held_out_kinds"}


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_is_a_stage_that_trl_accepts(path: Path, tmp_path: Path) -> None:
    from reasrm.training.sft.config import load_sft_stage
    from reasrm.training.sft.stage import sft_arguments

    stage = load_sft_stage(path)
    arguments = sft_arguments(stage, tmp_path, stage.data.max_tokens, str(path))
    for name, value in read(path)["trainer"].items():
        taken = getattr(arguments, {"gradient_checkpointing": "activation_checkpointing"}.get(name, name))
        assert taken == value, name
    assert arguments.seed == arguments.data_seed == read(path)["seed"]
    assert arguments.max_length is None, "nothing is cut"
    assert load_spec(stage.spec).protocol == ("rubric" if "writer" in path.stem else "pairwise")


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_no_field_of_a_recipe_is_ignored(path: Path) -> None:
    from reasrm.training.sft.config import load_sft_stage

    stage = load_sft_stage(path).model_dump(mode="json")

    expect_taken(read(path), stage, path.name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_what_is_trained(name: str) -> None:
    from reasrm.training.sft.config import load_sft_stage

    path = CONFIGS / name
    stage = load_sft_stage(path)
    trainer = stage.trainer
    rows = trainer["per_device_train_batch_size"] * trainer["gradient_accumulation_steps"]
    batch, rate, epochs, longest = PUBLISHED[name]
    assert rows * num_processes(launch_line(path)) == batch
    assert trainer["learning_rate"] == pytest.approx(rate or 10 * learning_rate_of_all_weights(name))
    assert (trainer["num_train_epochs"], stage.data.max_tokens) == (epochs, longest)
    assert (stage.lora is None) is ("lora" not in name)
    assert trainer["packing"] is False, "a pack is not a row"


def learning_rate_of_all_weights(name: str) -> float:
    full = {
        "qwen2.5/sft-7b-lora-1gpu.yaml": "qwen2.5/sft-7b-instruct.yaml",
        "qwen3/sft-8b-lora-1gpu.yaml": "qwen3/sft-8b-rubric-rm.yaml",
        "qwen3/sft-8b-rubric-writer-lora-1gpu.yaml": "qwen3/sft-8b-rubric-writer.yaml",
    }[name]
    return float(read(CONFIGS / full)["trainer"]["learning_rate"])


@pytest.mark.parametrize("name", PUBLISHED)
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
        assert words[words.index("-m") :][:3] == ["-m", "reasrm", "sft"]
        assert (ROOT / words[3]).parent == CONFIGS / "accelerate"


@pytest.mark.parametrize("path", LAUNCHERS, ids=[path.stem for path in LAUNCHERS])
def test_accelerate_reads_its_files(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    given = read(path)
    config = load_config_from_file(str(path))
    assert config.mixed_precision is None, "the training config decides"
    kinds = {"NO": None, "MULTI_GPU": "multi_gpu", "DEEPSPEED": "use_deepspeed", "FSDP": "use_fsdp"}
    args = launch_command_parser().parse_args(["--config_file", str(path), "-m", "reasrm", "sft"])
    args, _, _ = _validate_launch_command(args)
    for kind in filter(None, kinds.values()):
        assert getattr(args, kind) is (kind == kinds[given["distributed_type"]])
    assert (args.num_processes, args.num_machines) == (given["num_processes"], given["num_machines"])
    assert args.use_cpu is given["use_cpu"]
    options = {**given.get("fsdp_config", {}), **given.get("deepspeed_config", {})}
    flags = vars(launch_command_parser().parse_args(["-m", "reasrm", "sft"]))
    for key, value in options.items():
        assert key in flags, f"accelerate has no option {key}"
        assert getattr(args, key) == value
    if "deepspeed_config" in given:
        assert ROOT / options["deepspeed_config_file"] in ENGINES
    numbers = re.match(r"(?:cpu-(\d)|(\d)gpu|(\d)nodes)", path.stem)
    assert numbers is not None
    cpus, gpus, nodes = (int(n) if n else 0 for n in numbers.groups())
    assert given["num_processes"] == cpus + gpus + 8 * nodes


@pytest.mark.parametrize("path", ENGINES, ids=[path.stem for path in ENGINES])
def test_deepspeed_files_leave_to_the_trainer_what_is_the_trainers(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    zero = config["zero_optimization"]
    assert zero["stage"] == int(path.stem[4])
    assert ("offload_optimizer" in zero) is ("offload" in path.stem)
    shared = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert {config[name] for name in (*shared, "gradient_clipping")} == {"auto"}
    assert config["bf16"] == {"enabled": "auto"}
    assert set(config.get("optimizer", {}).get("params", {}).values()) <= {"auto"}
    if zero["stage"] == 3:
        assert zero["stage3_gather_16bit_weights_on_model_save"], (
            "else a checkpoint holds no weights to export"
        )


@pytest.mark.parametrize("path", ENGINES, ids=[path.stem for path in ENGINES])
def test_deepspeed_knows_every_key_of_its_files(path: Path) -> None:
    pytest.importorskip("deepspeed", reason="needs the extra deepspeed")
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    config = json.loads(path.read_text(encoding="utf-8"))["zero_optimization"]
    known = {field.alias or name for name, field in DeepSpeedZeroConfig.model_fields.items()}
    known |= set(DeepSpeedZeroConfig.model_fields)
    assert set(config) <= known


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_a_spec_without_thinking_is_the_built_in_one_otherwise(path: Path) -> None:
    ours, builtin = load_spec(str(path)), load_spec(path.stem.removesuffix("-no-thinking"))
    assert ours.template_options == {"enable_thinking": False}
    ignored = {"name", "description", "template_options"}
    assert ours.model_dump(exclude=ignored) == builtin.model_dump(exclude=ignored)
    assert ours.hash != builtin.hash


@pytest.mark.parametrize("path", DISTILLATIONS, ids=[str(p.relative_to(CONFIGS)) for p in DISTILLATIONS])
def test_a_distillation_is_one(path: Path) -> None:
    from reasrm.distillation.config import DistillConfig

    config = load_config(DistillConfig, path)
    assert load_spec(config.spec).protocol == "pairwise"
    assert launch_line(path) == ["reasrm", "distill", "--config", str(path.relative_to(ROOT))]


def test_each_config_of_the_real_model_reads_what_the_one_before_it_writes() -> None:
    def run_of(name: str) -> str:
        words = launch_line(CONFIGS / "smollm2" / f"{name}.yaml")
        return words[words.index("--run-dir") + 1]

    config = {path.stem: read(path) for path in (CONFIGS / "smollm2").iterdir() if path != ENGLISH}
    traces = f"{config['distill']['output']}/sft.jsonl"
    assert {config[name]["data"]["train"] for name in ("sft", "sft-lora")} == {traces}
    assert config["rlvr"]["model"]["path"] == run_of("sft")
    head = (CONFIGS / "smollm2" / "metarm.yaml").read_text(encoding="utf-8").split("stage:")[0]
    assert f"--run {run_of('sft')} --output judges/smollm2-sft" in head
    assert f"--output {config['metarm']['data']['judgments']} --orders random" in head
    assert config["rlvr-critique"]["model"]["path"] == run_of("rlvr")
    for key in ("rewards", "critique", "data"):
        mine = {name: config[name][key] for name in ("rlvr-critique", "metarm")}
        pairs = {name: part["train"] if key == "data" else part for name, part in mine.items()}
        assert pairs["rlvr-critique"] == pairs["metarm"], key
    assert {stage["spec"] for stage in config.values()} == {"english"}


@pytest.mark.parametrize("path", SYNTHESES, ids=[path.stem for path in SYNTHESES])
def test_a_synthesis_is_one(path: Path) -> None:
    from reasrm.rubrics.config import SynthesisConfig

    config = load_config(SynthesisConfig, path)
    assert config.writer is not None
    assert config.verify is not None
    assert load_spec(config.writer.spec).protocol == "rubric"
    assert config.author.judge != config.verify.judge
    assert launch_line(path) == ["reasrm", "rubrics", "synthesize", "--config", str(path.relative_to(ROOT))]


@pytest.mark.parametrize("path", CURATIONS, ids=[path.stem for path in CURATIONS])
def test_a_curation_is_one(path: Path) -> None:
    from reasrm.cli.curation import load_curation_config

    config = load_curation_config(path)
    words = launch_line(path)
    assert words[:5] == ["reasrm", "data", "curate", "--config", str(path.relative_to(ROOT))]
    assert load_curation_config(path, [Path("x")], Path("y")).output == "y"
    if path.stem == "curate":
        given = read(path)
        assert set(given) == set(type(config).model_fields), "it shows every section"
        for name in ("length", "decontaminate", "duplicates", "consistency"):
            section = getattr(config, name)
            missing = set(type(section).model_fields) - set(given[name]) - {"tokenizer", "run"}
            assert not missing, f"{name} shows every key"


# --- what the documentation shows


def test_the_documented_stage_and_row_are_read(tmp_path: Path) -> None:
    from reasrm.training.sft.config import load_sft_stage

    text = (ROOT / "docs" / "sft.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "stage.yaml").write_text(example, encoding="utf-8")
    stage = load_sft_stage(tmp_path / "stage.yaml")
    assert stage.trainer["learning_rate"] == 5e-6
    (line,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    row = read_sft_row(json.loads(line), "docs/sft.md")
    assert [span.text for span in row.messages[0].spans if not span.trusted] == ["yes", "no"]
    assert row.meta["spec_hash"] == load_spec(stage.spec).hash


@pytest.mark.slow
def test_documented_lines_name_files_and_flags_that_exist() -> None:
    known = set(re.findall(r"--[a-z-]+", run("sft", "--help").stdout)) | {"--config_file"}
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("sft.md", "configs.md")]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 9
    for words in [*map(str.split, lines), *map(launch_line, RECIPES)]:
        assert words[:2] in (["reasrm", "sft"], ["reasrm", "rlvr"], ["accelerate", "launch"])
        for word in words:
            if word.startswith("--") and word not in ("--machine_rank", "--main_process_ip"):
                assert word in known, word
            if word.startswith(("configs/", "train/")):
                assert (ROOT / word).is_file(), word


def test_the_page_names_what_shares_a_recipe_out() -> None:
    page = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    hardware = dict(re.findall(r"^\| `(.*?)` \| .*? \| (.*?) \|", page, re.MULTILINE))
    said = {path: hardware[str(path.relative_to(CONFIGS))] for path in (*RECIPES, *RLVR, *METARM)}
    engines = {"zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp2": "FSDP2"}
    named = [(path, file) for path in said for file, engine in engines.items() if engine in said[path]]
    assert len(named) >= 10
    for path, file in named:
        assert file in " ".join(launch_line(path)), path


@pytest.mark.parametrize("path", [*RECIPES, *RLVR, *METARM], ids=lambda path: path.stem)
def test_a_kill_at_an_early_moment_loses_little(path: Path) -> None:
    """At most twenty steps, a fifth of a run of known length."""
    trainer = read(path)["trainer"]
    assert trainer["save_steps"] <= min(20, trainer.get("max_steps", 100) / 5)
