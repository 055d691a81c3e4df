"""The chat template in training and judging: its options come from the spec; thinking that it opens is open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from reasrm.errors import ConfigError
from reasrm.generation.encoding import encode_window
from reasrm.generation.hf import HFBackend
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import load_spec
from reasrm.records import Verdict
from reasrm.requests import Completion, SamplingParams
from reasrm.rewards.base import Rollout
from reasrm.rewards.parts.outcome import OutcomePart
from reasrm.sources.recorded import read_recordings
from reasrm.training.rlvr.comparisons import Prompt, read_judgment
from reasrm.training.sft.data import Example, RowEncoder
from reasrm.training.stage.config import ModelSection
from reasrm.training.stage.models import BaseModel, open_base
from reasrm.training.stage.rows import Dropped
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


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A model whose chat template opens the thinking, as R1's do."""
    folder = build_tiny_model(tmp_path_factory.mktemp("thinker"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return open_base(ModelSection(path=str(folder)))


ANSWER = "<eval>\nA is right.\n</eval>\n<answer>[[A]]</answer>"


@pytest.mark.parametrize(
    ("written", "status", "right"),
    [
        (ANSWER, "no_verdict", -1.0),
        (f"Let me see.</think>\n{ANSWER}", "ok", 1.0),
        (f"<think>{ANSWER}", "no_verdict", -1.0),
        (f"{ANSWER}\n</think>", "no_verdict", -1.0),
    ],
    ids=["never closed", "closed", "opened twice", "closed behind the answer"],
)
def test_a_rollout_in_thinking_that_the_template_opened_is_read_as_such(
    thinker: BaseModel, written: str, status: str, right: float
) -> None:
    spec, shown = load_spec("sandbox"), replace(comparison(1), target=Verdict("A"))
    prompt = Prompt(shown, np.array(thinker.prompts.encode(build_prompt(spec, shown)).ids, dtype=np.int32))
    ids = thinker.completions.encode(written, prompt.ids.tolist())
    judgment, _ = read_judgment(spec, thinker, prompt, ids, 500)
    assert judgment.thinking_open
    assert judgment.status == status
    assert (judgment.critique is None) is (status == "no_verdict")
    rollout = Rollout(shown, judgment, "g", num_tokens=9)
    assert OutcomePart(unparsed=-1.0).build()([rollout]) == [right]


def test_a_row_that_never_ends_the_thinking_of_the_template_is_not_learned_from(thinker: BaseModel) -> None:
    spec = load_spec("sandbox")
    encoder = RowEncoder(spec, thinker.prompts, thinker.completions, max_tokens=500)
    messages = build_prompt(spec, comparison(1))
    bare = encoder.encode(SFTRow("q1", messages, ANSWER, {}), "rows.jsonl:1")
    assert isinstance(bare, Dropped)
    assert (bare.code, "the prompt opened the thinking" in bare.message) == ("unreadable", True)
    for completion in (f"<think>\nHm.\n</think>\n{ANSWER}", f"</think>\n{ANSWER}"):
        assert isinstance(encoder.encode(SFTRow("q1", messages, completion, {}), "rows.jsonl:2"), Example)


def test_a_judge_whose_template_opens_the_thinking_is_replayed_as_it_was_read(
    thinker: BaseModel, tmp_path: Path
) -> None:
    backend = HFBackend(thinker.checkpoint.path, device="cpu")
    judge = Judge(spec=load_spec("sandbox"), backend=backend)
    options = JudgingOptions(orders="both", sampling=SamplingParams(max_tokens=3))
    (found,) = judge.judge([comparison(1)], options=options)
    backend.close()
    assert all(judgment.thinking_open for judgment in found.judgments)
    line = found.to_json(judge={}, seed=0)
    line["judgments"] = [{**item, "text": ANSWER, "finish_reason": "stop"} for item in line["judgments"]]
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps(line))
    (votes,) = read_recordings(path).values()
    for recordings in votes.values():
        replayed = parse(judge.spec, Completion.replayed("r", recordings[0]))
        assert (replayed.status, replayed.thinking_open) == ("no_verdict", True)


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
