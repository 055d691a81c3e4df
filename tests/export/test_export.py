"""What is exported is what was trained; what is not, is not exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from reasrm.errors import ConfigError, InternalError
from reasrm.export import export_judge, folder
from reasrm.generation.hf import HFBackend
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.encoder import PromptEncoder
from reasrm.records import Comparison, Message
from reasrm.requests import Request, SamplingParams
from tests.export.runs import FILES, SPEC, adapter_model, files_below, full_model, nothing_beside
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow


def greedy(model, tokenizer) -> tuple[str, tuple[int, ...]]:
    """A judgment of a row that the export never saw."""
    row = Comparison(
        id="x", prompt=(Message("user", "Name a prime."),), response_a="seven", response_b="eight"
    )
    (ask, *_) = plan_row(SPEC, row, JudgingOptions(orders="given"))
    request = Request("x", ask.request.messages, SamplingParams(max_tokens=48))
    (completion,) = HFBackend.from_loaded(model, tokenizer, "m").generate([request])
    return completion.text, completion.token_ids


def logits(model, tokenizer) -> torch.Tensor:
    row = Comparison(
        id="x", prompt=(Message("user", "Name a prime."),), response_a="seven", response_b="eight"
    )
    (ask, *_) = plan_row(SPEC, row, JudgingOptions(orders="given"))
    ids = PromptEncoder(tokenizer).encode(ask.request.messages).ids
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def test_a_full_checkpoint_is_exported_bit_for_bit(full_run, tmp_path):
    said = export_judge(tmp_path / "judge", run=full_run)
    assert files_below(tmp_path / "judge") == FILES
    assert (said["checkpoint_step"], said["logits_max_abs_diff"], said["greedy_identical"]) == (7, 0.0, True)
    trained = full_model(full_run.parent / "base", seed=7)
    written = load_file(tmp_path / "judge" / "model" / "model.safetensors")
    for name, weight in trained.state_dict().items():
        assert torch.equal(written[name], weight), name
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "judge" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "judge" / "model")
    assert torch.equal(logits(loaded, tokenizer), logits(trained, tokenizer))
    assert greedy(loaded, tokenizer) == greedy(trained, tokenizer)
    assert loaded.config.use_cache is True, "what the trainer switched off does not slow the judge"
    assert loaded.config.max_position_embeddings == trained.config.max_position_embeddings


def test_an_older_checkpoint_can_be_asked_for(full_run, tmp_path):
    by_step = export_judge(tmp_path / "step", run=full_run, checkpoint=3)
    by_path = export_judge(
        tmp_path / "path", run=full_run, checkpoint=str(full_run / "checkpoints" / "checkpoint-3")
    )
    by_name = export_judge(tmp_path / "name", run=full_run, checkpoint="checkpoint-3")
    newest = export_judge(tmp_path / "newest", run=full_run)
    assert by_step["checkpoint_step"] == by_path["checkpoint_step"] == by_name["checkpoint_step"] == 3
    assert by_step["weights_sha256"] == by_path["weights_sha256"] != newest["weights_sha256"]
    assert files_below(tmp_path / "step") == FILES


def test_a_merged_adapter_says_what_the_adapter_says(lora_run, tmp_path):
    said = export_judge(tmp_path / "judge", run=lora_run)
    assert files_below(tmp_path / "judge") == FILES
    assert said["merged_adapter"] is True
    assert 0 < said["logits_max_abs_diff"] <= 1e-5 * said["largest_logit"]
    model_folder = tmp_path / "judge" / "model"
    loaded, tokenizer = (
        AutoModelForCausalLM.from_pretrained(model_folder),
        AutoTokenizer.from_pretrained(model_folder),
    )
    base = AutoModelForCausalLM.from_pretrained(lora_run.parent / "base")
    before, text_before = logits(base, tokenizer), greedy(base, tokenizer)
    unmerged = adapter_model(lora_run.parent / "base", seed=7).get_base_model()
    expected = logits(unmerged, tokenizer)
    scale = expected.abs().max().item()
    assert (logits(loaded, tokenizer) - expected).abs().max().item() <= 1e-5 * scale
    assert greedy(loaded, tokenizer) == greedy(unmerged, tokenizer)
    assert (before - expected).abs().max().item() > 0.1, "an adapter that does nothing proves nothing"
    assert text_before != greedy(loaded, tokenizer)


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
def test_a_rounded_export_is_the_rounded_model(full_run, lora_run, tmp_path, lora):
    said = export_judge(tmp_path / "judge", run=lora_run if lora else full_run, dtype="bfloat16")
    assert said["dtype"] == "bfloat16"
    assert 1e-3 < said["logits_max_abs_diff"] < 1
    assert ("merge_logits_max_abs_diff" in said) is lora
    written = load_file(tmp_path / "judge" / "model" / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "judge" / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    if not lora:
        trained = full_model(full_run.parent / "base", seed=7).state_dict()
        assert all(torch.equal(written[name], weight.bfloat16()) for name, weight in trained.items())
    again = export_judge(tmp_path / "again", model=tmp_path / "judge" / "model", spec=SPEC)
    assert (again["dtype"], again["weights_sha256"]) == ("bfloat16", said["weights_sha256"])


def test_a_half_precision_base_is_merged_exactly_and_rounded_once(lora_run, tmp_path):
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(lora_run.parent / "base").bfloat16().save_pretrained(half)
    AutoTokenizer.from_pretrained(lora_run.parent / "base").save_pretrained(half)
    adapter = lora_run / "checkpoints" / "checkpoint-7"
    said = export_judge(tmp_path / "judge", model=half, adapter=adapter, spec=SPEC)
    assert said["dtype"] == "bfloat16"
    merged = adapter_model_from(half, adapter)
    written = load_file(tmp_path / "judge" / "model" / "model.safetensors")
    assert all(torch.equal(written[name], weight.bfloat16()) for name, weight in merged.items())


def adapter_model_from(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """Base plus alpha / r · B·A, in float32, by the formula."""
    weights = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).state_dict()
    lora = load_file(adapter / "adapter_model.safetensors")
    for name in [name for name in lora if name.endswith("lora_A.weight")]:
        target = name.removeprefix("base_model.model.").replace("lora_A.", "")
        weights[target] = weights[target] + 2.0 * (lora[name.replace("lora_A", "lora_B")] @ lora[name])
    return weights


def test_the_merge_is_the_formula(lora_run, tmp_path):
    export_judge(tmp_path / "judge", run=lora_run)
    expected = adapter_model_from(lora_run.parent / "base", lora_run / "checkpoints" / "checkpoint-7")
    written = load_file(tmp_path / "judge" / "model" / "model.safetensors")
    for name, weight in expected.items():
        torch.testing.assert_close(written[name], weight, rtol=1e-6, atol=1e-6, msg=name)


def test_tied_embeddings_stay_tied(tmp_path):
    base = build_tiny_model(tmp_path / "untied")
    config = json.loads((base / "config.json").read_text())
    weights = load_file(base / "model.safetensors")
    del weights["lm_head.weight"]
    (base / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    adapted = adapter_model(base)
    adapted.save_pretrained(tmp_path / "adapter")
    for adapter, dtype in ((None, "auto"), (tmp_path / "adapter", "auto"), (None, "bfloat16")):
        export_judge(tmp_path / "judge", model=base, adapter=adapter, spec=SPEC, dtype=dtype, force=True)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "judge" / "model")
        assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
        assert "lm_head.weight" not in load_file(tmp_path / "judge" / "model" / "model.safetensors")


def test_shards_are_kept(full_run, tmp_path):
    model = full_model(full_run.parent / "base")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    AutoTokenizer.from_pretrained(full_run.parent / "base").save_pretrained(tmp_path / "sharded")
    (tmp_path / "sharded" / "stray.safetensors").write_bytes(b"not of the model")
    export_judge(tmp_path / "judge", model=tmp_path / "sharded", spec=SPEC)
    shards = {path.name for path in (tmp_path / "sharded").glob("model-*.safetensors")}
    assert len(shards) > 1
    assert {path.name for path in (tmp_path / "judge" / "model").glob("*.safetensors")} == shards
    identity = json.loads((tmp_path / "judge" / "judge.json").read_text())
    assert set(identity["weights"]) == shards
    index = tmp_path / "sharded" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = dict.fromkeys(content["weight_map"], "../judge/model/x.safetensors")
    index.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="no weight file of this folder"):
        export_judge(tmp_path / "other", model=tmp_path / "sharded", spec=SPEC)


def test_every_stop_token_and_the_specs_sampling_are_in_the_generation_config(full_run, tmp_path):
    base = shutil.copytree(full_run.parent / "base", tmp_path / "base")
    theirs = GenerationConfig(eos_token_id=[2, 4], do_sample=True, top_k=20, repetition_penalty=1.05)
    theirs.save_pretrained(base)
    export_judge(tmp_path / "judge", model=base, spec=SPEC)
    ours = json.loads((tmp_path / "judge" / "model" / "generation_config.json").read_text())
    assert ours["eos_token_id"] == [2, 4]
    assert ours["do_sample"] is False
    assert not {"top_k", "repetition_penalty", "temperature"} & set(ours)
    warm = SPEC.model_copy(update={"sampling": SPEC.sampling.model_copy(update={"temperature": 0.6})})
    export_judge(tmp_path / "warm", model=base, spec=warm)
    ours = json.loads((tmp_path / "warm" / "model" / "generation_config.json").read_text())
    assert (ours["do_sample"], ours["temperature"], ours["top_p"], ours["top_k"]) == (True, 0.6, 1.0, 0)


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_wrong_merge_is_caught(lora_run, tmp_path, monkeypatch, dtype):
    def wrong(adapted):
        model = adapted.merge_and_unload()
        model.model.layers[1].mlp.down_proj.weight.data[3, 5] += 0.05
        return model

    monkeypatch.setattr(folder, "merge", wrong)
    with pytest.raises(InternalError, match=r"logits differ by up to \d.*, allowed are"):
        export_judge(tmp_path / "judge", run=lora_run, dtype=dtype)
    assert nothing_beside(tmp_path / "judge")


def test_a_forgotten_merge_is_caught(lora_run, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "merge", lambda adapted: adapted.unload())
    with pytest.raises(InternalError, match="logits differ"):
        export_judge(tmp_path / "judge", run=lora_run)
    assert nothing_beside(tmp_path / "judge")


def tamper_weights(folder_: Path) -> None:
    path = folder_ / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, path, metadata={"format": "pt"})


def tamper_template(folder_: Path) -> None:
    path = folder_ / "chat_template.jinja"
    path.write_text(path.read_text().replace("assistant", "user"))


def tamper_stops(folder_: Path) -> None:
    path = folder_ / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 4}))


def add_code(folder_: Path) -> None:
    path = folder_ / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoConfig": "x.Y"}}))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (tamper_weights, "logits differ by up to .* allowed are 0 "),
        (tamper_template, "other prompt ids"),
        (tamper_stops, "other tokens end an answer"),
        (add_code, "auto_map"),
    ],
    ids=["weights", "chat template", "stop tokens", "own code"],
)
def test_files_that_are_not_the_model_are_caught(full_run, tmp_path, monkeypatch, tamper, said):
    write = folder._write_model

    def write_wrongly(source, plan, folder_, say):
        result = write(source, plan, folder_, say)
        tamper(folder_)
        return result

    monkeypatch.setattr(folder, "_write_model", write_wrongly)
    with pytest.raises((InternalError, ConfigError), match=said):
        export_judge(tmp_path / "judge", run=full_run)
    assert nothing_beside(tmp_path / "judge")


def test_a_weight_that_no_prompt_reaches_is_compared_by_its_hash(full_run, tmp_path, monkeypatch):
    copy = folder._copy_weights

    def copy_wrongly(checkpoint, folder_):
        copy(checkpoint, folder_)
        path = folder_ / "model.safetensors"
        weights = load_file(path)
        weights["model.embed_tokens.weight"][4] += 1  # </think>, in no prompt
        save_file(weights, path, metadata={"format": "pt"})

    monkeypatch.setattr(folder, "_copy_weights", copy_wrongly)
    with pytest.raises(InternalError, match="not copied faithfully"):
        export_judge(tmp_path / "judge", run=full_run)
    assert nothing_beside(tmp_path / "judge")


def test_the_folder_opens_as_a_judge_with_the_runs_spec(full_run, tmp_path):
    said = export_judge(tmp_path / "judge", run=full_run)
    judge = open_judge(str(tmp_path / "judge"), dtype="float32")
    assert judge.spec == SPEC
    row = {"id": "q", "prompt": "Name a prime.", "response_a": "seven", "response_b": "eight"}
    (result,) = judge.judge([row])
    judge.backend.close()
    assert len(result.judgments) == 2
    identity = json.loads((tmp_path / "judge" / "judge.json").read_text())
    assert identity["spec_hash"] == judge.spec.hash == said["spec_hash"]
    assert identity["weights_sha256"] == said["weights_sha256"]
    said_of = identity["trained"]
    assert (said_of["stage"], said_of["step"], said_of["seed"], said_of["rows"]) == ("sft", 7, 5, 8)
    assert set(said_of["inputs"]) == {"train:0"}
    assert identity["earlier"] == []
    assert identity["base"]["name"] == "base"
    assert str(full_run) not in (tmp_path / "judge" / "judge.json").read_text()


def test_two_exports_are_the_same_bytes(lora_run, tmp_path):
    for name in ("one", "two"):
        export_judge(tmp_path / name / "judge", run=lora_run)
    for name in FILES:
        assert (tmp_path / "one" / "judge" / name).read_bytes() == (
            tmp_path / "two" / "judge" / name
        ).read_bytes()
