"""Ids to completions: where an answer ends and what its text is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from reasrm.generation.checkpoint import stop_ids
from reasrm.generation.encoding import EncodedRequest, read_ids, windows
from reasrm.protocol.encoder import PromptEncoder
from tests.fakes import ask
from tests.tiny import build_tiny_model


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> PromptEncoder:
    folder = build_tiny_model(tmp_path_factory.mktemp("tiny") / Path("judge"))
    return PromptEncoder(AutoTokenizer.from_pretrained(folder))


@pytest.mark.parametrize(
    ("written", "text", "finish_reason", "num_tokens_after"),
    [
        ("<think>hm</think> [[A]]<|im_end|>", "<think>hm</think> [[A]]", "stop", 0),
        (" [[A]]<|endoftext|>", " [[A]]", "stop", 0),
        ("[[A]]<|im_end|><|endoftext|><|endoftext|>[[B]]", "[[A]]", "stop", 7),
        ("<|im_start|>user", "<|im_start|>user", "length", 0),
        ("<|im_end|>", "", "stop", 0),
        (" 漢 \n", " 漢 \n", "length", 0),
    ],
    ids=[
        "special think tags survive",
        "either end",
        "rubbish after the end",
        "other control tokens",
        "empty",
        "text",
    ],
)
def test_text_is_what_the_model_wrote(
    written: str, text: str, finish_reason: str, num_tokens_after: int, encoder: PromptEncoder
) -> None:
    tokenizer = encoder._tokenizer
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    stops = frozenset({tokenizer.eos_token_id, tokenizer.pad_token_id})
    encoded = EncodedRequest(ask("q1", max_tokens=64), (1, 2, 3))
    completion = read_ids(encoded, ids, encoder=encoder, stop_ids=stops, pad_id=tokenizer.pad_token_id)
    assert (completion.text, completion.finish_reason) == (text, finish_reason)
    end = next((n for n, token in enumerate(ids, 1) if token in stops), len(ids))
    assert completion.token_ids == tuple(ids[:end])
    assert (completion.num_tokens, completion.num_prompt_tokens) == (end, 3)
    assert (len(ids) > end) is (num_tokens_after > 0)


def test_what_comes_after_the_limit_is_not_the_answer(encoder: PromptEncoder) -> None:
    ids = encoder._tokenizer("abcdef", add_special_tokens=False)["input_ids"]
    encoded = EncodedRequest(ask("q1", max_tokens=2), ())
    completion = read_ids(encoded, [*ids, 2], encoder=encoder, stop_ids={2}, pad_id=0)
    assert (completion.num_tokens, completion.finish_reason) == (2, "length")


@pytest.mark.parametrize(
    ("prompt", "literals", "opened"),
    [
        ("assistant\n<think>\n", None, True),
        ("assistant\n<think>", None, True),
        ("assistant\n[THINK] \n\n", None, True),
        ("assistant\n<think>\n\n</think>\n\n", None, False),
        ("write <think> first<|im_end|>\n<|im_start|>assistant\n", None, False),
        ("assistant\n<reason>\n", ("<reason>",), True),
        ("assistant\n<think>\n", ("<reason>",), False),
        ("", None, False),
    ],
    ids=[
        "r1",
        "no line break",
        "mistral",
        "closed",
        "mentioned",
        "the spec's own",
        "not the spec's",
        "empty",
    ],
)
def test_the_prompt_tells_whether_thinking_is_open(
    prompt: str, literals: tuple[str, ...] | None, opened: bool, encoder: PromptEncoder
) -> None:
    ids = encoder._tokenizer(prompt, add_special_tokens=False)["input_ids"]
    request = ask("q1") if literals is None else replace(ask("q1"), thinking_start=literals)
    encoded = EncodedRequest(request, tuple(ids))
    completion = read_ids(encoded, [5, 2], encoder=encoder, stop_ids={2}, pad_id=0)
    assert completion.thinking_open is opened


def test_windows_pull_no_further_than_the_list_in_hand() -> None:
    source = iter([ask(str(n)) for n in range(5)])
    lists = windows(source, 2)
    assert [request.id for request in next(lists)] == ["0", "1"]
    assert next(source).id == "2"
    assert [[request.id for request in window] for window in lists] == [["3", "4"]]


def test_stop_ids_are_collected_from_all_holders() -> None:
    class Holder:
        def __init__(self, eos: int | list[int] | None) -> None:
            self.eos_token_id = eos

    assert stop_ids(Holder(2), Holder([0, 2]), Holder(None), object(), None) == {0, 2}
