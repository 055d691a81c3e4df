"""The transformers backend on a tiny model: what comes out depends on the request, not its neighbours."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasrm.errors import ConfigError, EnvironmentProblem, InputError, InternalError
from reasrm.generation.base import ScoringBackend
from reasrm.generation.encoding import EncodedRequest
from reasrm.generation.hf import HFBackend
from reasrm.requests import Completion, Request
from tests.fakes import ask
from tests.refusals import refused
from tests.tiny import CHAT_TEMPLATE, build_tiny_model

PROMPTS = [
    "Is 7 + 5 = 12?",
    "x",
    "A long prompt. " * 20,
    "Überprüfe: 漢字 <|im_end|>",
    "",
    "a\n\nb",
    "[[A]] or [[B]]?",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "judge", context=512)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def open_tiny(loaded: tuple[Any, Any], batch_size: int = 4, **options: Any) -> HFBackend:
    return HFBackend.from_loaded(*loaded, "tiny", batch_size=batch_size, **options)


def by_id(completions: Sequence[Completion]) -> dict[str, Completion]:
    return {completion.request_id: completion for completion in completions}


def sampled(max_tokens: int = 20) -> list[Request]:
    return [
        ask(f"q{n}", text, temperature=1.3, top_p=0.95, max_tokens=max_tokens, seed=100 + n)
        for n, text in enumerate(PROMPTS)
    ]


def test_greedy_is_the_argmax_of_each_step(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    (completion,) = open_tiny(loaded).generate([ask("q1", "Is 7 + 5 = 12?", max_tokens=6)])
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Is 7 + 5 = 12?"}], add_generation_prompt=True, return_dict=False
    )
    assert completion.num_prompt_tokens == len(ids)
    for token in completion.token_ids or ():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        assert token == int(logits.argmax())
        ids.append(token)
    assert completion.num_tokens == len(completion.token_ids or ())


@pytest.mark.slow
def test_a_sample_does_not_depend_on_its_batch(loaded: tuple[Any, Any]) -> None:
    alone = by_id([c for request in sampled() for c in open_tiny(loaded, 1).generate([request])])
    together = by_id(list(open_tiny(loaded, 4).generate(sampled())))
    backwards = by_id(list(open_tiny(loaded, 7).generate(sampled()[::-1])))
    assert alone == together == backwards
    assert len(alone) == len(PROMPTS)
    assert len({completion.token_ids for completion in alone.values()}) == len(PROMPTS)


def test_the_seed_decides_and_nothing_else(loaded: tuple[Any, Any]) -> None:
    requests = [
        ask(f"q{seed}-{n}", "x", temperature=1.0, max_tokens=8, seed=seed) for seed in (1, 2) for n in (0, 1)
    ]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    ids = {c.request_id: c.token_ids for c in open_tiny(loaded).generate(requests)}
    assert ids["q1-0"] == ids["q1-1"] != ids["q2-0"] == ids["q2-1"]
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_of_a_batch_keep_their_own_settings(loaded: tuple[Any, Any]) -> None:
    requests = [
        ask("greedy", "x", max_tokens=3),
        ask("hot", "x", temperature=2.0, max_tokens=9, seed=4),
        ask("cold", "x", temperature=1e-4, max_tokens=3, seed=4),
        ask("narrow", "x", temperature=1.0, top_p=1e-9, max_tokens=3, seed=4),
    ]
    completions = by_id(list(open_tiny(loaded).generate(requests)))
    assert completions["greedy"].token_ids == completions["cold"].token_ids == completions["narrow"].token_ids
    assert completions["greedy"].finish_reason == "length"
    assert completions["greedy"].num_tokens == 3
    assert completions["hot"].token_ids != completions["greedy"].token_ids


def test_stop_means_that_the_model_ended(loaded: tuple[Any, Any]) -> None:
    stops = {loaded[1].eos_token_id, loaded[1].pad_token_id}
    requests = [ask(f"q{n}", "x", temperature=2.0, max_tokens=30, seed=n) for n in range(24)]
    completions = list(open_tiny(loaded, 8).generate(requests))
    assert {c.finish_reason for c in completions} == {"stop", "length"}
    for completion in completions:
        *before, last = completion.token_ids or ()
        assert stops.isdisjoint(before)
        assert (last in stops) is (completion.finish_reason == "stop")
        assert "<|im_end|>" not in completion.text
        assert "<|endoftext|>" not in completion.text


def test_too_long_names_the_numbers_and_generates_nothing(loaded: tuple[Any, Any]) -> None:
    requests = [ask("fits", "x", max_tokens=4), ask("long", "x" * 490, max_tokens=40)]
    completions = by_id(list(open_tiny(loaded).generate(requests)))
    assert completions["fits"].finish_reason == "length"
    long = completions["long"]
    assert (long.finish_reason, long.text, long.token_ids) == ("too_long", "", None)
    prompt = long.num_prompt_tokens
    assert prompt is not None
    assert prompt > 490
    assert all(str(number) in (long.error or "") for number in (prompt, 40, prompt + 40, 512, "'long'"))


def test_the_context_can_be_set(loaded: tuple[Any, Any]) -> None:
    (width,) = (c.num_prompt_tokens or 0 for c in open_tiny(loaded).generate([ask("q", "x", max_tokens=1)]))
    for room, reason in ((4, "length"), (3, "too_long")):
        backend = open_tiny(loaded, max_context=width + room)
        assert [c.finish_reason for c in backend.generate([ask("q", "x", max_tokens=4)])] == [reason]


def failing(
    backend: HFBackend,
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[Sequence[EncodedRequest]], Exception | None],
) -> list[int]:
    """Let the backend's batches fail as told; return the list that their sizes go into."""
    run, sizes = backend._run, []

    def checked(batch: Sequence[EncodedRequest]) -> list[Completion]:
        sizes.append(len(batch))
        if (error := fails(batch)) is not None:
            raise error
        return run(batch)

    monkeypatch.setattr(backend, "_run", checked)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["cuda", "cpu"],
)
def test_out_of_memory_halves_the_batch(
    error: Exception,
    loaded: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    requests = [ask(f"q{n}", "x", temperature=1.0, max_tokens=5, seed=n) for n in range(24)]
    expected = by_id(list(open_tiny(loaded, 8).generate(requests)))
    backend = open_tiny(loaded, 8)
    sizes = failing(backend, monkeypatch, lambda batch: error if len(batch) > 3 else None)
    with caplog.at_level(logging.WARNING, "reasrm"):
        assert by_id(list(backend.generate(requests))) == expected
    assert sizes[:4] == [8, 4, 2, 2]
    assert max(sizes[4:]) <= 4  # learned, not tried again with 8
    assert "out of memory with 8 requests" in caplog.text


def test_out_of_memory_with_one_request_is_its_error(
    loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_tiny(loaded)
    failing(
        backend,
        monkeypatch,
        lambda batch: (
            torch.OutOfMemoryError("out of memory") if any(e.request.id == "big" for e in batch) else None
        ),
    )
    requests = [ask(f"q{n}", "x", max_tokens=3) for n in range(5)] + [ask("big", "x" * 200, max_tokens=3)]
    completions = by_id(list(backend.generate(requests)))
    assert [c.request_id for c in completions.values() if c.finish_reason == "error"] == ["big"]
    assert "out of memory" in (completions["big"].error or "")
    assert len(completions) == 6


@pytest.mark.parametrize("poison", [{"q0"}, {"q3"}, {"q1", "q6"}, {f"q{n}" for n in range(8)}], ids=len)
def test_poison_rows_are_isolated(
    poison: set[str], loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_tiny(loaded, 8)
    failing(
        backend,
        monkeypatch,
        lambda batch: IndexError("engine crash") if poison & {e.request.id for e in batch} else None,
    )
    requests = [ask(f"q{n}", "x" * n, max_tokens=3) for n in range(8)]
    completions = by_id(list(backend.generate(requests)))
    assert len(completions) == 8
    assert {c.request_id for c in completions.values() if c.finish_reason == "error"} == poison
    for name in poison:
        assert "IndexError: engine crash" in (completions[name].error or "")
        assert repr(name) in (completions[name].error or "")


def test_a_row_that_cannot_be_encoded_is_its_own_error(loaded: tuple[Any, Any]) -> None:
    completions = by_id(
        list(open_tiny(loaded).generate([ask("ok", "x", max_tokens=2), ask("bad", "\ud83d", max_tokens=2)]))
    )
    assert completions["ok"].finish_reason == "length"
    assert completions["bad"].finish_reason == "error"


def test_a_lost_gpu_ends_the_run(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_tiny(loaded)
    monkeypatch.setattr(backend, "_device", torch.device("cuda"))
    failing(backend, monkeypatch, lambda _: RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(EnvironmentProblem, match="context is lost"):
        list(backend.generate([ask("q1", "x", max_tokens=2)]))


def test_score_is_log_softmax_under_teacher_forcing(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    backend = open_tiny(loaded, 2)
    assert isinstance(backend, ScoringBackend)
    continuations = ["[[A]]", "B", "", "<think>so</think> [[B]]<|im_end|>"]
    scores = backend.score(ask("q1", "Which?"), continuations)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Which?"}], add_generation_prompt=True, return_dict=False
    )
    model.requires_grad_(False)
    for text, score in zip(continuations, scores, strict=True):
        tail = tokenizer(text, add_special_tokens=False)["input_ids"]
        logits = model(input_ids=torch.tensor([prompt + tail])).logits[0].double()
        expected = [float(logits[len(prompt) + i - 1].log_softmax(-1)[token]) for i, token in enumerate(tail)]
        assert score.token_ids == tuple(tail)
        assert score.logprobs == pytest.approx(expected, abs=1e-4)
    assert tokenizer.eos_token_id == scores[3].token_ids[-1]


def test_probabilities_of_all_next_tokens_sum_to_one(loaded: tuple[Any, Any]) -> None:
    tokenizer = loaded[1]
    single = {
        text: i for i in range(len(tokenizer)) if tokenizer(text := tokenizer.decode([i]))["input_ids"] == [i]
    }
    scores = open_tiny(loaded, 64).score(ask("q1", "Which?"), list(single))
    total = torch.tensor([score.logprobs[0] for score in scores]).exp().sum()
    assert 0.3 < total < 1.0  # bytes that are no text alone are left out


def test_score_refuses_what_does_not_fit(loaded: tuple[Any, Any]) -> None:
    with refused(InputError, "512"):
        open_tiny(loaded).score(ask("q1", "x" * 490), ["[[A]]" * 20])


def test_the_checkpoints_own_sampling_defaults_do_not_count(folder: Path, tmp_path: Path) -> None:
    other = build_tiny_model(tmp_path / "m", context=512)
    config = json.loads((other / "generation_config.json").read_text())
    changes = {
        "repetition_penalty": 5.0,
        "do_sample": True,
        "top_k": 2,
        "min_new_tokens": 12,
        "suppress_tokens": [*range(90)],
    }
    (other / "generation_config.json").write_text(json.dumps(config | changes))
    texts = [
        [(c.request_id, c.text) for c in HFBackend(path).generate(sampled(max_tokens=12))]
        for path in (folder, other)
    ]
    assert texts[0] == texts[1]


def test_a_model_in_training_is_lent_and_given_back(loaded: tuple[Any, Any]) -> None:
    model, _ = loaded
    own_config = model.generation_config
    model.train()
    try:
        backend = open_tiny(loaded)
        list(backend.generate([ask("q1", "x", max_tokens=2)]))
        backend.score(ask("q1", "x"), ["A"])
        assert model.training
        assert model.generation_config is own_config
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        model.eval()
    backend.close()
    with pytest.raises(InternalError):
        next(backend.generate([ask("q1", "x")]))


def test_identity_is_known_before_loading_and_follows_the_files(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    backend = HFBackend(folder, device="cpu")
    assert backend._model is None
    assert backend.name == str(folder)
    identity = backend.identity
    assert identity == HFBackend(folder, device="cpu").identity
    assert (identity["model"], identity["revision"], identity["dtype"]) == (str(folder), "local", "float32")
    list(backend.generate([ask("q", "x", max_tokens=1)]))
    assert backend.identity == identity
    backend.close()
    assert [c.num_tokens for c in backend.generate([ask("q", "x", max_tokens=1)])] == [1]
    with (folder / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert HFBackend(folder).identity["fingerprint"] != identity["fingerprint"]


@pytest.mark.parametrize(
    ("stored", "fast", "expected"),
    [
        ("float32", True, "float32"),
        ("bfloat16", True, "bfloat16"),
        ("bfloat16", False, "float32"),
        ("float16", True, "float32"),
    ],
)
def test_dtype_auto_on_a_cpu(
    stored: str,
    fast: bool,
    expected: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("reasrm.generation.hf.has_fast_bfloat16", lambda: fast)
    copy = tmp_path / "m"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text()) | {"dtype": stored}
    (copy / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.INFO, "reasrm"):
        assert HFBackend(copy, device="cpu").identity["dtype"] == expected
    assert (expected in caplog.text) is (stored != "float32")
    assert HFBackend(copy, device="cpu", dtype="fp32").identity["dtype"] == "float32"


@pytest.mark.parametrize(
    ("options", "named"),
    [({"dtype": "int3"}, "int3"), ({"device": "warp"}, "warp"), ({"batch_size": 0}, "batch_size")],
)
def test_unusable_options(options: dict[str, Any], named: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        HFBackend(folder, **options)


def test_template_options_reach_the_prompt(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "{% endif %}", "{% if enable_thinking is false %}<think></think>{% endif %}{% endif %}"
    )
    backend = open_tiny((AutoModelForCausalLM.from_pretrained(folder), tokenizer))
    requests = [
        replace(ask(f"{thinking}", "x", max_tokens=4), template_options={"enable_thinking": thinking})
        for thinking in (True, False)
    ]
    completions = by_id(list(backend.generate(requests)))
    chat = [{"role": "user", "content": "x"}]
    for thinking in (True, False):
        ids = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_dict=False, enable_thinking=thinking
        )
        assert completions[f"{thinking}"].num_prompt_tokens == len(ids)
    on, off = (backend.score(request, [" [[A]]"])[0] for request in requests)
    assert on.token_ids == off.token_ids
    assert on.logprobs != off.logprobs
    greedy = [completions[name].token_ids for name in ("True", "False")]
    assert greedy[0] != greedy[1]
