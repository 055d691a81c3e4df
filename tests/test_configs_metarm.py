"""The MetaRM configs and docs/metarm.md: what RM-NLHF released is what they train, and what the page shows runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from reasrm.protocol.spec import load_spec
from reasrm.training.metarm.config import MetaRMStage, load_metarm_stage
from tests.cli.test_docs_training import commands, from_the_embedded_judge
from tests.commands import ROOT, here, rows_of, summary, timeless
from tests.recipes import expect_taken
from tests.test_configs import CONFIGS, METARM, launch_line, num_processes, read
from tests.test_configs_rlvr import read_value
from tests.tiny import build_tiny_model

NAMES = [str(path.relative_to(CONFIGS)) for path in METARM]
RM_NLHF = "r1-distill-qwen/metarm-7b.yaml"
SHORT: dict[str, tuple[str, ...]] = {
    "sandbox": ("--rows", "60"),
    "judge": ("--votes", "1"),
    "metarm": ("--set", "trainer.max_steps=2", "--set", "trainer.eval_steps=2"),
    "export": (),
}
"""What a command gets behind its words."""
PUBLISHED = [RM_NLHF, "qwen2.5/metarm-7b-lora-1gpu.yaml"]
PAGE = (ROOT / "docs" / "metarm.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in configs mean the working directory."""
    monkeypatch.chdir(ROOT)


def test_these_are_the_configs() -> None:
    assert set(NAMES) == {*PUBLISHED, "sandbox/metarm.yaml", "smollm2/metarm.yaml"}


@pytest.mark.parametrize("path", METARM, ids=NAMES)
def test_no_field_of_a_recipe_is_ignored(path: Path) -> None:
    stage = load_metarm_stage(path)
    expect_taken(read(path), stage.model_dump(mode="json"), path.name)
    assert load_spec(stage.spec).grammar.critique is not None


@pytest.mark.parametrize("path", METARM, ids=NAMES)
def test_a_recipe_tells_how_to_start_it(path: Path) -> None:
    words = launch_line(path)
    assert words[words.index("--config") + 1] == str(path.relative_to(ROOT))
    assert "--run-dir" in words
    if words[0] == "accelerate":
        assert words[words.index("-m") :][:3] == ["-m", "reasrm", "metarm"]
        assert "zero3" not in words[3]
        assert "fsdp" not in words[3]
    else:
        assert words[:2] == ["reasrm", "metarm"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_released_is_what_is_trained(name: str, tmp_path: Path) -> None:
    from reasrm.training.metarm.stage import set_up

    model = build_tiny_model(tmp_path / "model", context=16384)
    changes = [f"model={{path: {model}, dtype: float32}}", "critique={}", "trainer.bf16=false"]
    stage = load_metarm_stage(CONFIGS / name, changes)
    setup = set_up(stage, name, tmp_path / "checkpoints")
    args, processes = setup.arguments, num_processes(launch_line(CONFIGS / name))
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * processes == 512
    assert args.learning_rate == (1e-5 if name == RM_NLHF else 1e-4)
    assert (args.num_train_epochs, args.lr_scheduler_type.value, args.warmup_steps) == (3, "cosine", 0.01)
    assert (args.weight_decay, args.max_grad_norm) == (0.01, 1.0)
    card = setup.card
    assert (card.readout, card.target, card.weight, card.max_tokens) == ("last_token", "reward", 0.5, 10_240)
    assert card.form == ("plain" if name == RM_NLHF else "judge")
    assert (stage.data.holdout, stage.seed, card.members) == (0.05, 42, 1)
    assert stage.process[1].least == 0.5
    text = (CONFIGS / name).read_text(encoding="utf-8")
    (output,) = re.findall(r"--output (\S+)", text.split("stage:")[0])[-1:]
    assert stage.data.judgments == (output,), "the head says how they are drawn"
    assert "--votes 4" in text


def test_rlvr_takes_what_the_cold_start_makes() -> None:
    """The loop refuses a MetaRM that learned from another reward."""
    pairs = [
        (RM_NLHF, "r1-distill-qwen/rlvr-7b-rm-nlhf.yaml"),
        ("sandbox/metarm.yaml", "sandbox/rlvr-metarm.yaml"),
    ]
    for cold, loop in pairs:
        first, second = read(CONFIGS / cold), read(CONFIGS / loop)
        for key in ("rewards", "critique", "spec"):
            assert first[key] == second[key], (cold, key)
        words = launch_line(CONFIGS / cold)
        assert second["metarm"]["path"] == words[words.index("--run-dir") + 1]
        assert second["metarm"]["holdout"] == first["data"]["holdout"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_number_says_where_it_comes_from(name: str) -> None:
    lines = [line for line in (CONFIGS / name).read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    for line in lines:
        setting, _, comment = line.partition("#")
        if re.search(r": [\d{]", setting):
            assert re.match(r" \[(script|ours)\]", comment), line


def test_documented_sections_are_read() -> None:
    whole = next(block for block in BLOCKS if "stage" in block)
    for block in BLOCKS:
        MetaRMStage.model_validate({**whole, **block})
    assert len(BLOCKS) >= 2


def test_the_defaults_that_the_page_lists_are_the_defaults() -> None:
    from transformers import TrainingArguments

    from reasrm.training.metarm.setup import _DEFAULTS

    (table,) = re.findall(r"\| `trainer` \| ours .*?\n\n", PAGE, re.DOTALL)
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:] if line
    ]
    theirs = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    assert {row[0] for row in rows} == set(_DEFAULTS)
    for name, our_value, their_value in rows:
        assert str(_DEFAULTS[name]) == str(read_value(our_value)), name
        default = theirs[name]
        assert str(getattr(default, "value", default)) == str(read_value(their_value)), name


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch) -> None:
    """The embedded judge stands for the base and the judge that the commands before these make."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "sandbox").mkdir(parents=True)
    for name in ("base", "sft"):
        (tmp_path / "runs" / "sandbox" / name).symlink_to(ROOT / "reasrm" / "sandbox_judge" / "model")
    *before, launch = commands(CONFIGS / "sandbox" / "metarm.yaml")
    page = commands(ROOT / "docs" / "metarm.md")
    assert [words[0] for words in before] == ["sandbox", "export", "judge"]
    assert [words[:2] for words in page[:4]] == [*[["metarm", "--config"]] * 3, ["metarm", "score"]]
    assert page.pop() == before[-1]
    assert launch == page[1]
    said = []
    for words in [*before, *page]:
        done = here(*from_the_embedded_judge(words), *([] if words[1] == "score" else SHORT[words[0]]))
        assert done.returncode == 0, done.stderr
        said.append(summary(done))
    *_, plan, trained, again, scored = said
    assert (plan["dry_run"], plan["rows"], plan["judgments"]) == (True, trained["rows"], trained["judgments"])
    assert timeless(trained) == timeless(again)
    assert trained["steps"] == 2
    assert scored["rows"] == len(rows_of(tmp_path / "runs" / "sandbox" / "metarm-scores.jsonl"))
    assert scored["scored"] >= trained["lessons"]
