"""The MetaRM itself: its numbers by another way, padding, folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from reasrm.errors import ConfigError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.metarm import model as module
from reasrm.metarm.card import CARD, MetaCard
from reasrm.metarm.model import MetaRM, find_folder, read_card
from reasrm.metarm.precision import ExactLinear
from reasrm.protocol.spec import load_spec
from reasrm.training.stage.config import LoraSection
from reasrm.training.stage.models import adapter_config
from tests.metarm.models import BASES, build_base, build_metarm, differing, disturb, encode, weights
from tests.refusals import refused

pytestmark = pytest.mark.slow

KINDS = list(BASES)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for kind in ("decoder", "encoder"):
        build_base(folder / kind, kind)
    return folder


def base_of(bases: Path, kind: str) -> Path:
    return bases / ("encoder" if kind == "encoder" else "decoder")


@pytest.fixture(scope="module")
def made(bases: Path) -> dict[str, MetaRM]:
    """A MetaRM of two members of each kind, no weight at its beginning."""
    return {k: disturb(build_metarm(base_of(bases, k), members=2, **BASES[k])) for k in KINDS}


# What its numbers are


def test_the_likelihood_readout_is_what_it_says(made: dict[str, MetaRM]) -> None:
    """Each row alone, probabilities of all places by a plain softmax: their geometric mean, and the least."""
    metarm = made["likelihood"]
    rows = encode(metarm)
    found = metarm.score(rows, batch_size=3)
    for number, member in enumerate(metarm.members):
        language, readout = member.backbone, member.readout
        for row, score in zip(rows, found[:, number], strict=True):
            ids = torch.tensor([row.ids])
            with torch.no_grad():
                hidden_D = language.model(input_ids=ids).last_hidden_state[0, -1]
                probabilities_TV = language(input_ids=ids).logits[0].softmax(-1).double()
            said = [probabilities_TV[t - 1, row.ids[t]] for t in range(row.start, len(row.ids))]
            mean, least = torch.stack(said).log().mean().exp(), min(said)
            centred_D = (hidden_D - hidden_D.mean()) / (hidden_D.var(correction=0) + 1e-5).sqrt()
            features = torch.cat([centred_D / hidden_D.numel() ** 0.5, torch.stack([mean, least]).float()])
            with torch.no_grad():
                expected = module._GAIN * (readout.weight[0] @ features + readout.bias[0])
            assert float(score) == pytest.approx(float(expected), abs=1e-4)


def test_an_untrained_likelihood_likes_what_it_would_have_written(bases: Path) -> None:
    """Its score lies between slope and three times the slope, and rises with both numbers."""
    metarm = build_metarm(bases / "decoder", readout="likelihood")
    rows = encode(metarm)
    language = metarm.members[0].backbone
    for row, score in zip(rows, metarm.score(rows)[:, 0], strict=True):
        with torch.no_grad():
            logprobs = language(input_ids=torch.tensor([row.ids])).logits[0, :-1].log_softmax(-1)
        said = torch.stack([logprobs[t - 1, row.ids[t]] for t in range(row.start, len(row.ids))])
        expected = module._SLOPE * (1 + said.mean().exp() + said.min().exp())
        assert float(score) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_the_last_token_readout_is_the_classifier_of_transformers(
    kind: str, made: dict[str, MetaRM], tmp_path: Path
) -> None:
    metarm = made[kind]
    metarm.save(tmp_path)
    rows = encode(metarm)
    found = metarm.score(rows, batch_size=4)
    for number in range(2):
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / f"member-{number}")
        assert theirs.config.num_labels == 1
        for row, score in zip(rows, found[:, number], strict=True):
            with torch.no_grad():
                expected = theirs(input_ids=torch.tensor([row.ids])).logits
            assert expected.shape == (1, 1)
            assert float(score) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_the_company_of_other_rows_change_nothing(kind: str, made: dict[str, MetaRM]) -> None:
    metarm = made[kind]
    rows = encode(metarm)
    assert len({len(row.ids) for row in rows}) > 3
    alone = torch.cat([metarm.score([row]) for row in rows])
    assert alone.shape == (7, 2)
    assert float(alone.std()) > 0.01
    for size in (2, 3, 64):
        assert torch.allclose(metarm.score(rows, batch_size=size), alone, atol=1e-5, rtol=0)
    backwards = metarm.score(rows[::-1], batch_size=3)
    assert torch.allclose(backwards.flip(0), alone, atol=1e-5, rtol=0)
    assert metarm.score([]).shape == (0, 2)


def test_a_base_that_names_another_padding_than_its_tokenizer_is_read_right(
    bases: Path, tmp_path: Path
) -> None:
    """Classifiers of decoders look for the last token that is no padding."""
    base = shutil.copytree(bases / "decoder", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"pad_token_id": 7}))
    metarm = disturb(build_metarm(base))
    assert metarm.pad_id == 0
    rows = encode(metarm)
    alone = torch.cat([metarm.score([row]) for row in rows])
    assert torch.allclose(metarm.score(rows), alone, atol=1e-5, rtol=0)
    metarm.save(tmp_path / "metarm")
    assert torch.equal(MetaRM.open(tmp_path / "metarm").score(rows), metarm.score(rows))


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_leaves_mode_weights_and_gradients_alone(kind: str, made: dict[str, MetaRM]) -> None:
    metarm = made[kind]
    before = weights(metarm)
    for training in (True, False):
        metarm.train(training)
        metarm.score(encode(metarm, 2))
        assert metarm.training is training
    assert differing(before, weights(metarm)) == []
    assert all(weight.grad is None for weight in metarm.parameters())


# Made


def test_members_share_a_base_and_have_heads_of_their_own(bases: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one = build_metarm(bases / "decoder", members=2)
    assert torch.equal(torch.rand(1), expected)  # nobody else's draws are moved
    assert differing(weights(one), weights(build_metarm(bases / "decoder", members=2))) == []
    other = build_metarm(bases / "decoder", members=2, seed=1)
    assert differing(weights(one), weights(other)) == [f"members.{m}.backbone.score.weight" for m in (0, 1)]
    first, second = (dict(member.named_parameters()) for member in one.members)
    assert [name for name in first if not torch.equal(first[name], second[name])] == ["backbone.score.weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_train_with_the_whole_head_and_are_merged_when_saved(
    kind: str, bases: Path, tmp_path: Path
) -> None:
    lora = adapter_config(LoraSection(r=4), "CAUSAL_LM" if kind == "likelihood" else "SEQ_CLS")
    metarm = build_metarm(base_of(bases, kind), members=2, lora=lora, **BASES[kind])
    head = {"decoder": ".score.", "encoder": ".classifier.", "likelihood": ".readout."}[kind]
    names = list(metarm.trained())
    assert {"lora_A" in name or "lora_B" in name or head in name for name in names} == {True}
    for part in ("lora_A", "lora_B", head):
        assert sum(part in name for name in names) >= 2  # in each member
    plain = metarm.score(encode(metarm))
    disturb(metarm)
    before, found = weights(metarm), metarm.score(encode(metarm))
    assert float((found - plain).abs().max()) > 0.01
    metarm.save(tmp_path)
    assert differing(before, weights(metarm)) == []
    assert torch.equal(metarm.score(encode(metarm)), found)
    opened = MetaRM.open(tmp_path)
    assert not any("lora" in name for name in weights(opened))
    assert torch.allclose(opened.score(encode(opened)), found, atol=1e-5, rtol=0)
    again = MetaRM.open(tmp_path, lora=lora)
    assert set(again.trained()) == set(names)
    assert torch.allclose(again.score(encode(again)), found, atol=1e-5, rtol=0)


# Folders


@pytest.fixture(scope="module")
def folders(made: dict[str, MetaRM], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metarms")
    for kind, metarm in made.items():
        metarm.save(folder / kind)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_back_the_same_bits(kind: str, made: dict[str, MetaRM], folders: Path) -> None:
    opened = MetaRM.open(folders / kind)
    assert opened.card == made[kind].card
    assert differing(weights(opened), weights(made[kind])) == []
    assert encode(opened) == encode(made[kind])
    # Equal weights at other addresses may take other kernels: the last bit of a score is the machine's.
    assert torch.allclose(
        opened.score(encode(opened)), made[kind].score(encode(made[kind])), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_holds_tensors_and_json_only(kind: str, folders: Path) -> None:
    files = [path for path in (folders / kind).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".txt"}
    assert {path.name for path in files} >= {CARD, "model.safetensors", "tokenizer.json", "config.json"}
    assert ("readout.safetensors" in {path.name for path in files}) is (kind == "likelihood")


def test_a_run_is_named_for_the_folder_in_it(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "decoder", tmp_path / "run" / "metarm")
    assert find_folder(tmp_path / "run") == tmp_path / "run" / "metarm"
    assert find_folder(str(folders / "decoder")) == folders / "decoder"
    assert find_folder(tmp_path / "none") == tmp_path / "none"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def without(path: Path, name: str) -> None:
    state = load_file(path)
    del state[name]
    save_file(state, path, metadata={"format": "pt"})


def with_card(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# What is done to a folder → kind, damage, place, words.
DAMAGES: dict[str, tuple[str, Any, str, str]] = {
    "no card": ("decoder", lambda f: (f / CARD).unlink(), "", f"has no {CARD}"),
    "half a card": ("decoder", lambda f: cut(f / CARD), CARD, ""),
    "another version": ("decoder", lambda f: with_card(f / CARD, version=2), CARD, "version"),
    "an unknown key": ("decoder", lambda f: with_card(f / CARD, readot="x"), CARD, "did you mean 'readout'"),
    "no member": ("decoder", lambda f: shutil.rmtree(f / "member-1"), "member-1", "no such folder"),
    "no weights": (
        "decoder",
        lambda f: (f / "member-1" / "model.safetensors").unlink(),
        "member-1",
        "no weights",
    ),
    "half the weights": (
        "decoder",
        lambda f: cut(f / "member-0" / "model.safetensors"),
        "member-0",
        "cannot load",
    ),
    "no head": (
        "decoder",
        lambda f: without(f / "member-0" / "model.safetensors", "score.weight"),
        "member-0",
        "lack 'score.weight'",
    ),
    "no head of an encoder": (
        "encoder",
        lambda f: without(f / "member-1" / "model.safetensors", "classifier.weight"),
        "member-1",
        "lack 'classifier.weight'",
    ),
    "no tokenizer": (
        "decoder",
        lambda f: [p.unlink() for p in f.glob("member-0/token*")],
        "member-0",
        "no tokenizer.json",
    ),
    "no readout": (
        "likelihood",
        lambda f: (f / "member-1" / "readout.safetensors").unlink(),
        "member-1",
        "missing",
    ),
    "half a readout": (
        "likelihood",
        lambda f: cut(f / "member-0" / "readout.safetensors"),
        "member-0/readout.safetensors",
        "",
    ),
    "another readout": (
        "likelihood",
        lambda f: save_file({"weight": torch.zeros(1, 3)}, f / "member-0" / "readout.safetensors"),
        "member-0/readout.safetensors",
        "damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_folder_that_is_not_whole_is_refused(name: str, folders: Path, tmp_path: Path) -> None:
    kind, damage, place, words = DAMAGES[name]
    folder = shutil.copytree(folders / kind, tmp_path / "metarm")
    damage(folder)
    with pytest.raises(ConfigError) as caught:
        MetaRM.open(folder)
    assert str(folder / place) in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.remedy or "key " in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused(ConfigError, "metarm.json") as caught:
        read_card(tmp_path / "nowhere")
    assert caught.value.place == str(tmp_path / "nowhere")
    assert "reasrm metarm" in str(caught.value.remedy)


def test_a_card_says_what_is_not_said(made: dict[str, MetaRM]) -> None:
    card = MetaCard(spec=made["decoder"].card.spec)
    said = (card.form, card.readout, card.target, card.weight, card.members)
    assert said == ("judge", "last_token", "reward", 0.5, 1)


# Number formats


def half(bases: Path, kind: str, **options: Any) -> MetaRM:
    """A MetaRM whose body is bfloat16."""
    card = MetaCard(**{"spec": load_spec("sandbox"), "max_tokens": 512, **BASES[kind]})
    base = Checkpoint(str(base_of(bases, kind)))
    return MetaRM.create(base, card, dtype=torch.bfloat16, seed=0, **options)


def is_head(name: str) -> bool:
    return any(part in name for part in (".score.", ".classifier.", ".readout."))


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_is_float32_whatever_the_body_is(kind: str, bases: Path, tmp_path: Path) -> None:
    """It computes so, too, and a folder keeps its last bit."""
    metarm = half(bases, kind)
    formats = {name: weight.dtype for name, weight in metarm.named_parameters()}
    assert {dtype for name, dtype in formats.items() if is_head(name)} == {torch.float32}
    assert {dtype for name, dtype in formats.items() if not is_head(name)} == {torch.bfloat16}
    head = next(module for name, module in metarm.named_modules() if isinstance(module, ExactLinear))
    with torch.no_grad():
        head.weight += 1e-4 * torch.rand(head.weight.shape, generator=torch.Generator().manual_seed(1))
    rows = encode(metarm, 2)
    found = metarm.score(rows)
    metarm.save(tmp_path)
    again = MetaRM.open(tmp_path, torch.bfloat16)
    assert differing(weights(metarm), weights(again)) == []
    assert torch.allclose(again.score(rows), found, atol=1e-6)
    assert not torch.equal(head.weight, head.weight.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        output = head(torch.ones(1, head.in_features)).detach()
    exact = head.weight.sum() + (0 if head.bias is None else head.bias.sum())
    assert output.dtype == torch.float32
    assert float(output.sum()) == pytest.approx(float(exact.detach()), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_merged_in_float32_and_rounded_once(kind: str, bases: Path, tmp_path: Path) -> None:
    lora = adapter_config(LoraSection(r=4), "CAUSAL_LM" if kind == "likelihood" else "SEQ_CLS")
    metarm = disturb(half(bases, kind, lora=lora))
    assert {weight.dtype for weight in metarm.trained().values()} == {torch.float32}
    metarm.save(tmp_path)
    stored = load_file(tmp_path / "member-0" / "model.safetensors")
    assert not any("lora" in name or "base_layer" in name or "modules_to_save" in name for name in stored)
    merged = 0
    for name, layer in metarm.members[0].backbone.get_base_model().named_modules():
        if not hasattr(layer, "lora_A"):
            continue
        change_OI = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        exact_OI = (layer.base_layer.weight.double() + change_OI.double()).bfloat16()
        assert torch.equal(stored[f"{name}.weight"], exact_OI), name
        merged += 1
    assert merged >= 4
    head = {name: weight.dtype for name, weight in stored.items() if is_head(f".{name}")}
    assert set(head.values()) == (set() if kind == "likelihood" else {torch.float32})


def test_adapters_of_a_seed_are_the_same_everywhere(bases: Path, tmp_path: Path) -> None:
    """Every process draws them for itself."""
    build_metarm(bases / "decoder", members=2).save(tmp_path)
    lora = adapter_config(LoraSection(r=2), "SEQ_CLS")
    torch.manual_seed(1)
    one = weights(MetaRM.open(tmp_path, lora=lora, seed=3))
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    assert differing(one, weights(MetaRM.open(tmp_path, lora=lora, seed=3))) == []
    assert torch.equal(torch.rand(1), expected)
    other = differing(one, weights(MetaRM.open(tmp_path, lora=lora, seed=4)))
    assert other
    assert all("lora_A" in name for name in other)
