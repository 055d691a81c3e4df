"""The base model as a folder: whole or absent, made once, the same for the same configuration, like any other model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.judging.aggregate import RowResult
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.prompts import build_prompt
from reasrm.sandbox import base
from reasrm.sandbox.base import BaseConfig, BaseTraining, ModelShape, build_base
from tests.refusals import refused
from tests.sandbox.shared import SPEC, encoders, pairs

TINY = BaseConfig(
    model=ModelShape(hidden_size=16, intermediate_size=24, num_layers=1, num_heads=2, head_dim=8, max_positions=512),
    training=BaseTraining(steps=3, batch_size=4, warmup_steps=1),
)  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with one_thread():
        return build_base(TINY, tmp_path_factory.mktemp("base") / "new" / "tiny")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def same(a: Path, b: Path) -> bool:
    ours, theirs = weights(a), weights(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_folder_is_a_model_like_any_other(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.config.hidden_size == 16
    assert len(tokenizer) == model.config.vocab_size
    prompts, completions = encoders()
    (message,) = build_prompt(SPEC, pairs()[0].present(0))
    chat = [{"role": "user", "content": message.text}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert tuple(ids) == prompts.encode([message]).ids
    assert model.generation_config.eos_token_id == completions.end_of_turn_id == tokenizer.eos_token_id
    written = model.generate(torch.tensor([ids]), max_new_tokens=3, do_sample=False)
    assert len(ids) < written.shape[1] <= len(ids) + 3
    assert torch.isfinite(model(torch.tensor([ids])).logits).all()


def test_it_judges_like_any_other(folder: Path) -> None:
    judge = open_judge(str(folder), spec="sandbox", device="cpu")
    options = JudgingOptions(sampling=judge.sampling(max_tokens=4))
    results = list(judge.judge(pairs()[:2], options))
    assert len(results) == 2
    assert all(isinstance(result, RowResult) and len(result.judgments) == 2 for result in results)
    judge.backend.close()


def test_base_json_says_what_it_is(folder: Path) -> None:
    record = json.loads((folder / "base.json").read_text("utf-8"))
    assert BaseConfig.model_validate(record["config"]) == TINY
    assert record["hash"] == TINY.hash
    assert record["num_parameters"] == sum(tensor.numel() for tensor in weights(folder).values())
    assert record["num_parameters"] < 1_000_000


def test_it_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(base, "_train", None)
    assert build_base(TINY, folder) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_training_moves_the_weights_and_tells_of_it(tmp_path: Path, folder: Path) -> None:
    """And the same configuration leads to the same bits."""
    heard: list[tuple[int, int, float]] = []
    again = build_base(TINY, tmp_path / "again", lambda *progress: heard.append(progress))
    assert same(again, folder)
    assert [progress[:2] for progress in heard] == [(1, 3), (3, 3)]
    assert all(loss > 0 for *_, loss in heard)
    fresh = base.new_model(TINY, base.build_tokenizer()).state_dict()
    moved = [name for name, tensor in weights(folder).items() if not torch.equal(tensor, fresh[name])]
    assert set(moved) == set(fresh)


@pytest.mark.slow
def test_building_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_base(TINY.model_copy(update={"seed": 2}), tmp_path / "other")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 1}, {"world": {"seed": 1}}, {"documents": {"facts": 0.5}}, {"model": {"num_layers": 2}}),
        *({"training": {"steps": 4}}, {"world": {"shortcut": {"kind": "length"}}}),
    ],
    ids=lambda change: json.dumps(change).replace('"', ""),
)
def test_everything_that_shapes_a_base_is_in_its_name(change: dict[str, Any]) -> None:
    def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
        nested = {k: merged(ours[k], v) if isinstance(v, dict) else v for k, v in theirs.items()}
        return {**ours, **nested}

    changed = BaseConfig.model_validate(merged(TINY.model_dump(), change))
    assert changed.hash != TINY.hash
    assert BaseConfig.model_validate(TINY.model_dump(mode="json")).hash == TINY.hash


def test_another_base_or_anything_else_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for config, place in ((TINY.model_copy(update={"seed": 1}), folder), (TINY, tmp_path)):
        with pytest.raises(
            ConfigError, match="holds another base or other files; choose another folder"
        ) as caught:
            build_base(config, place)
        assert caught.value.place == str(place)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((folder / "base.json").read_text("utf-8"))["hash"] == TINY.hash


# --- whole or not at all


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_base(TINY, tmp_path / "base", stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "write_json_atomic", full)
    with refused(EnvironmentProblem, tmp_path / "base", "No space left on device"):
        build_base(TINY, tmp_path / "base")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        build_base(TINY, tmp_path / "file" / "base")


KILLED = """
import os, signal, sys
from pathlib import Path
from reasrm.sandbox import base
config = base.BaseConfig.model_validate_json(sys.argv[1])
print(base.build_tokenizer().backend_tokenizer.to_str(), config.hash, sep="\\n", flush=True)
base.write_json_atomic = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
base.build_base(config, Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_build_is_not_taken_for_a_base(tmp_path: Path, folder: Path) -> None:
    """Killed when all is written but the last file; the next build needs nobody's help and ends with the same bits.

    The other process had the same tokenizer and the same name for the base.
    """
    place = tmp_path / "base"
    command = [sys.executable, "-c", KILLED, TINY.model_dump_json(), str(place)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert result.returncode == -signal.SIGKILL
    said = [base.build_tokenizer().backend_tokenizer.to_str(), TINY.hash]
    assert result.stdout.splitlines()[:2] == said  # libraries may say more
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {".base.lock", ".base.partial"}
    assert build_base(TINY, place) == place
    assert same(place, folder)


# --- the loss


def test_padding_does_nothing_and_tokens_weigh_what_they_should() -> None:
    model = base.new_model(TINY, base.build_tokenizer()).eval()
    rows = [([5, 6, 7, 8], [0.0, 0.1, 1.0, 1.0]), ([9, 10], [0.1, 0.5])]
    expected = total = 0.0
    for ids, weighed in rows:
        logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for place in range(1, len(ids)):
            expected -= weighed[place] * logprobs[place - 1, ids[place]].item()
            total += weighed[place]
    ids_BT = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    weights_BT = torch.tensor([[0.0, 0.1, 1.0, 1.0], [0.1, 0.5, 0.0, 0.0]])
    assert base._loss(model, ids_BT, weights_BT).item() == pytest.approx(expected / total, rel=1e-5)
