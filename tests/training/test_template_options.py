"""Options of the chat template are the same in training as in judging: they come from the spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from reasrm.errors import ConfigError
from reasrm.generation.encoding import encode_window
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import load_spec
from reasrm.training.data import Example, RowEncoder
from tests.tiny import CHAT_TEMPLATE, build_tiny_model
from tests.training.stages import comparison


def test_prompt_ids_of_training_are_those_of_judging_with_thinking_off(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build_tiny_model(tmp_path / "model"))
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "assistant\n{% endif %}",
        "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    )
    prompts = PromptEncoder(tokenizer)
    completions = CompletionEncoder(prompts, tokenizer, {tokenizer.eos_token_id})
    trained, judged = {}, {}
    for thinking in (True, False):
        spec = load_spec("sandbox").model_copy(update={"template_options": {"enable_thinking": thinking}})
        (ask,) = plan_row(spec, comparison(1), JudgingOptions(orders="given"))
        row = SFTRow("q1", ask.request.messages, "<answer>[[A]]</answer>", {"spec_hash": spec.hash})
        example = RowEncoder(spec, prompts, completions, max_tokens=500).encode(row, "rows.jsonl:1")
        assert isinstance(example, Example)
        trained[thinking] = tuple(example.ids[: example.num_prompt].tolist())
        (fitting,), _ = encode_window([ask.request], prompts, None)
        judged[thinking] = fitting.ids
    assert trained == judged
    opened, closed = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert [i for i in trained[False] if i in (opened, closed)] == [opened, closed]
    assert not {opened, closed} & set(trained[True])


def test_a_day_is_frozen_in_training_and_judging_alike_or_both_refuse(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build_tiny_model(tmp_path / "model"))
    tokenizer.chat_template = "Today: {{ strftime_now('%d %b %Y') }}\n" + CHAT_TEMPLATE
    prompts = PromptEncoder(tokenizer)
    completions = CompletionEncoder(prompts, tokenizer, {tokenizer.eos_token_id})
    moving = load_spec("sandbox")
    frozen = moving.model_copy(update={"template_options": {"date_string": "2024-07-26"}})
    assert frozen.hash != moving.hash
    requests, encoders, rows = {}, {}, {}
    for spec in (moving, frozen):
        (ask,) = plan_row(spec, comparison(1), JudgingOptions(orders="given"))
        requests[spec.hash] = ask.request
        encoders[spec.hash] = RowEncoder(spec, prompts, completions, max_tokens=500)
        rows[spec.hash] = SFTRow("q1", ask.request.messages, "<answer>[[A]]</answer>", {})
    with pytest.raises(ConfigError, match="today's date"):
        encode_window([requests[moving.hash]], prompts, None)
    with pytest.raises(ConfigError, match=r"rows.jsonl:1.*today's date"):
        encoders[moving.hash].encode(rows[moving.hash], "rows.jsonl:1")
    example = encoders[frozen.hash].encode(rows[frozen.hash], "rows.jsonl:1")
    assert isinstance(example, Example)
    (fitting,), _ = encode_window([requests[frozen.hash]], prompts, None)
    assert tuple(example.ids[: example.num_prompt].tolist()) == fitting.ids
    assert prompts.decode(fitting.ids).startswith("Today: 26 Jul 2024\n<|im_start|>user")
