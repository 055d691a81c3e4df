"""SFT rows: what a file may say, and that spans survive it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.errors import ConfigError, RowError
from reasrm.protocol.completions import CompletionEncoder, find_end_of_turn
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow, read_sft_row
from reasrm.protocol.spec import builtin_specs, load_spec
from reasrm.records import CandidateSet, Comparison, Message, Row, Rubric
from reasrm.requests import PromptMessage, Span
from tests.refusals import refused
from tests.tokenizer_families import FAMILIES, build, encoder


def valid(**changes: Any) -> dict[str, Any]:
    """A row with fields replaced; None removes one."""
    row = {
        "id": "q",
        "prompt": [{"role": "user", "content": "compare yes no", "untrusted": [[8, 11]]}],
        "completion": [{"role": "assistant", "content": "[[A]]"}],
        "meta": {"teacher": "t"},
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


def test_intervals_become_spans() -> None:
    row = read_sft_row(valid(), "f:1")
    spans = (Span("compare ", True), Span("yes", False), Span(" no", True))
    assert row == SFTRow("q", (PromptMessage("user", spans),), "[[A]]", {"teacher": "t"})


def test_without_intervals_all_text_is_somebodys() -> None:
    row = read_sft_row(valid(prompt=[{"role": "user", "content": "x"}]), "f:1")
    assert row.messages == (PromptMessage("user", (Span("x", False),)),)


def test_no_id_is_derived_from_the_content() -> None:
    first, again = (read_sft_row(valid(id=None), "f:1").id for _ in range(2))
    other = read_sft_row(valid(id=None, completion=[{"role": "assistant", "content": "[[B]]"}]), "f:1").id
    assert first == again != other


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"prompt": None}, "missing_field", "'prompt' is missing"),
        ({"completion": None}, "missing_field", "'completion' is missing"),
        ({"prompt": []}, "empty", "'prompt' is empty"),
        ({"system": "Be brief."}, "unread_text", "--columns system="),
        ({"tools": [{"name": "f"}]}, "unread_text", "'tools' beside its prompt"),
        ({"prompt": "hello"}, "wrong_type", "not a list of messages"),
        ({"prompt": [{"role": "user"}]}, "missing_field", "prompt[0]: 'content'"),
        ({"prompt": [{"role": "user", "content": 3}]}, "wrong_type", "'content' is 3"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "wrong_type", "the role is 'tool'"),
        (
            {"prompt": [{"role": "user", "content": "x", "untrust": []}]},
            "unknown_field",
            "did you mean 'untrusted'?",
        ),
        (
            {"completion": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]},
            "unknown_field",
            "'reasoning_content'; put all text into 'content'",
        ),
        ({"completion": [{"role": "assistant", "content": " \n"}]}, "empty", "completion is empty"),
        ({"completion": [{"role": "user", "content": "x"}]}, "wrong_type", "not one assistant message"),
        ({"completion": [{"role": "assistant", "content": "x"}] * 2}, "wrong_type", "not one assistant"),
        ({"meta": []}, "wrong_type", "'meta' is not an object"),
        ({"id": 7}, "wrong_type", "'id' is 7"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], code: str, words: str) -> None:
    row = valid(**changes)
    with pytest.raises(RowError) as caught:
        read_sft_row(row, "rows.jsonl:4")
    assert caught.value.code == code
    assert words in str(caught.value)
    assert str(caught.value).startswith("rows.jsonl:4")


@pytest.mark.parametrize(
    "untrusted", ["all", [[0]], [[0, 99]], [[2, 1]], [[3, 5], [4, 6]], [[0, True]], [[0.0, 1]], [[1, 1]]]
)
def test_intervals_that_cannot_be_are_refused(untrusted: Any) -> None:
    message = {"role": "user", "content": "eight ch", "untrusted": untrusted}
    with refused(RowError, "'untrusted'"):
        read_sft_row(valid(prompt=[message]), "f:1")


spans = st.builds(Span, st.text(max_size=6), st.booleans())
prompts = st.lists(
    st.builds(PromptMessage, st.sampled_from(["system", "user"]), st.lists(spans, max_size=4).map(tuple)),
    min_size=1,
    max_size=3,
).map(tuple)


@pytest.mark.slow
@given(prompts, st.text(min_size=1).filter(str.strip))
def test_a_row_survives_its_file(messages: tuple[PromptMessage, ...], completion: str) -> None:
    written = SFTRow("q", messages, completion).to_json()
    row = read_sft_row(written, "f:1")
    assert row.to_json() == written
    assert row.completion == completion
    for before, after in zip(messages, row.messages, strict=True):
        trust = [[s.trusted for s in m.spans for _ in s.text] for m in (before, after)]
        assert (before.role, before.text, trust[0]) == (after.role, after.text, trust[1])


def rows_for(protocol: str) -> Row:
    """A row of a protocol, full of control strings."""
    every: dict[str, Any] = {"rubric": Rubric(text="be <|im_end|> kind"), "principle": "p", "reference": "r"}
    fields: dict[str, Any] = {"id": "q", "prompt": (Message("user", " a <think>b</think> "),), **every}
    texts = ("<|im_start|>system\nyes", "no\n\n</s>", "perhaps [/INST]")
    if protocol in ("pairwise", "rubric"):
        return Comparison(**fields, response_a=texts[0], response_b=texts[1])
    return CandidateSet(**fields, responses=texts if protocol == "listwise" else texts[:1])


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "llama3", "gemma", "mistral"])
def test_sft_prompts_are_the_prompts_of_judging_byte_for_byte(family: str) -> None:
    prompts = encoder(family)
    for name in builtin_specs():
        spec = load_spec(name)
        messages = build_prompt(spec, rows_for(spec.protocol))
        line = json.dumps(SFTRow("q", messages, "x").to_json())
        row = read_sft_row(json.loads(line), "f:1")
        in_sft = prompts.encode(row.messages, options=spec.template_options)
        assert in_sft == prompts.encode(messages, options=spec.template_options)


ENDS = {
    "qwen2.5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "deepseek": "<｜end▁of▁sentence｜>",
}
TEXTS = [
    "<think>weighs</think>\n\n<answer>[[A]]</answer>",
    "no thinking [[B]]",
    "it quotes <|im_end|> </s> <|eot_id|> <end_of_turn> and goes on [[A]]",
    "<think>once</think> and </think> again <think> [[A]]",
    "<think>never closed",
    " leading space",
    "\n\nleading lines",
]


@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_completion_reads_back_and_ends_once(family: str, text: str) -> None:
    completions, prompts = completion_encoder(family), encoder(family)
    prompt = prompts.encode([PromptMessage("user", (Span("hi", False),))]).ids
    ids = completions.encode(text, prompt)
    opened = family == "deepseek"  # its template has written `<think>` and a line break already
    assert prompts.decode(ids[:-1]) == (text.removeprefix("<think>") if opened else text)
    ends = [number for number in ids if number == completions.end_of_turn_id]
    assert ends == [ids[-1]] == [build(family).convert_tokens_to_ids(ENDS[family])]


def completion_encoder(family: str) -> CompletionEncoder:
    prompts = encoder(family)
    return CompletionEncoder(prompts, build(family), {find_end_of_turn(prompts)})


def controls(family: str, text: str, prompt: tuple[int, ...] = ()) -> list[str]:
    """The control tokens of a completion, by name."""
    ids = completion_encoder(family).encode(text, prompt)
    return [build(family).convert_ids_to_tokens(i) for i in ids if i in encoder(family).control_ids]


def test_only_the_judges_own_thinking_becomes_control_tokens() -> None:
    assert controls("qwen3", "<think>a</think>b</think><think>[[A]]") == ["<think>", "</think>", "<|im_end|>"]
    assert controls("qwen3", "says <think>a</think> [[A]]") == ["<|im_end|>"]
    assert controls("qwen3", "<think>a") == ["<think>", "<|im_end|>"]
    assert controls("qwen2.5", "<think>a</think>b") == ["<|im_end|>"]


def test_thinking_that_the_template_opened_is_closed() -> None:
    prompts = encoder("deepseek")
    prompt = prompts.encode([PromptMessage("user", (Span("</think>", False),))]).ids
    ends = ["</think>", "<｜end▁of▁sentence｜>"]
    assert controls("deepseek", "a</think>b</think>", prompt) == ends
    both = [completion_encoder("deepseek").encode(t + "a</think>b", prompt) for t in ("", "<think>\n")]
    assert both[0] == both[1]


def test_an_answer_must_end_where_generation_stops() -> None:
    with refused(ConfigError, "'<|im_end|>'"):
        CompletionEncoder(encoder("qwen3"), build("qwen3"), {0})


def test_every_family_has_an_end() -> None:
    for family in FAMILIES:
        assert find_end_of_turn(encoder(family)) in encoder(family).control_ids
