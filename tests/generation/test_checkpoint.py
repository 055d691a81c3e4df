"""A model folder is data: what could run code is refused by name, before anything of it is read."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from reasrm.errors import ConfigError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.hf import HFBackend
from tests.tiny import build_tiny_model


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "judge")


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "judge"
    copy.mkdir()
    for file in built.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def add_to_json(path: Path, **entries: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | entries))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "consolidated.00.pth"]
)
def test_only_pickled_weights(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "fired")))
    with pytest.raises(ConfigError, match=name):
        HFBackend(folder)
    assert not (tmp_path / "fired").exists()


def test_pickles_beside_safetensors_are_not_touched(folder: Path, tmp_path: Path) -> None:
    for name in (
        "pytorch_model.bin",
        "optimizer.pt",
        "rng_state.pth",
        "training_args.bin",
        "adapter_model.bin",
    ):
        (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "fired")))
    HFBackend(folder).load()
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own(name: str, folder: Path) -> None:
    add_to_json(folder / name, auto_map={"AutoModelForCausalLM": "modeling.Judge"})
    with pytest.raises(ConfigError, match=rf"{name}.*auto_map"):
        HFBackend(folder)


@pytest.mark.parametrize(
    ("removed", "added", "named"),
    [
        ("config.json", {}, "config.json"),
        ("model.safetensors", {}, "no weights"),
        ("config.json", {"adapter_config.json": "{}"}, "adapter"),
        ("", {"config.json": "{"}, "not valid JSON"),
        ("", {"config.json": "[]"}, "JSON object"),
        ("", {"config.json": '{"model_type": "nonesuch"}'}, "nonesuch"),
    ],
    ids=["no config", "no weights", "adapter", "torn config", "config is a list", "unknown architecture"],
)
def test_folders_that_are_no_model(removed: str, added: dict[str, str], named: str, folder: Path) -> None:
    if removed:
        (folder / removed).unlink()
    for name, content in added.items():
        (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=named) as caught:
        HFBackend(folder)
    assert str(folder) in str(caught.value)


def test_torn_weights_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="judge"):
        HFBackend(folder).load()


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"]
)
def test_fingerprint_follows_what_makes_the_judge(name: str, folder: Path) -> None:
    before = Checkpoint(str(folder)).fingerprint()
    (folder / "notes.txt").write_text("not part of it")
    assert Checkpoint(str(folder)).fingerprint() == before
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert Checkpoint(str(folder)).fingerprint() != before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{parent}/judge/config.json", "the model is a file"),
        ("{parent}/jugde", "there is no such folder; did you mean '.*/judge'"),
        ("runs/sandbox/base", "runs/sandbox/base: there is no such folder; make it first"),
        ("./nothing", "there is no such folder"),
    ],
    ids=["file", "typo", "two slashes", "dot"],
)
def test_what_cannot_be_a_hub_id_was_meant_to_be_a_folder(name: str, said: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        Checkpoint(name.format(parent=folder.parent)).check()


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen2.5-7B-Instruct"])
def test_hub_ids_are_for_the_hub_to_find(name: str) -> None:
    Checkpoint(name).check()
