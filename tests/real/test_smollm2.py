"""A real language model judges real rows, with its own tokenizer and template, and says what it says elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reasrm.generation.hf import HFBackend
from reasrm.requests import PromptMessage, Request, SamplingParams
from tests.commands import ROOT, here, rows_of, summary
from tests.tokenizer_families import ours

pytestmark = pytest.mark.slow

DOCS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
ASKED = (
    "Which is the capital of France? Answer in one word.",
    "Write two lines about rain.",
    "Größe, 你好, 🙂: which of these is German?",
)


@pytest.mark.parametrize(
    "name",
    ["llmbar/natural.json", "rewardbench/filtered-00000-of-00001.parquet"],
    ids=["llmbar", "rewardbench"],
)
def test_eight_rows_of_a_benchmark_are_judged(
    name: str, smollm2: str, shortest: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "judged.jsonl"
    named = {"rows.jsonl": shortest(name), "judged.jsonl": out, "128": "24"}
    (line,) = [line for line in DOCS.splitlines() if line.startswith(f"reasrm judge --judge {smollm2} ")]
    words = [named.get(word, word) for word in shlex.split(line)[1:]]
    done = here(*words)
    assert done.returncode in (0, 3), done.stderr  # 3: nothing was readable
    said, judged = summary(done), rows_of(out)
    assert (said["progress"]["done"], said["progress"]["failed"]) == (8, 0)
    assert len({row["id"] for row in judged}) == 8
    for row in judged:
        assert row["judge"]["name"] == "smollm2"
        assert [judgment["order"] for judgment in row["judgments"]] == ["AB", "BA"]
        assert {judgment["status"] for judgment in row["judgments"]} <= {"ok", "truncated", "no_verdict"}
        for judgment in row["judgments"]:
            assert judgment["finish_reason"] == ("stop" if judgment["num_tokens"] < 24 else "length")
    assert here(*words).returncode == done.returncode
    assert rows_of(out) == judged, "run again, it is done"


def test_it_knows_the_capital_of_france(stock: tuple[Any, Any]) -> None:
    backend = HFBackend.from_loaded(*stock, "smollm2")
    (done,) = backend.generate([_ask("q", ASKED[0])])
    assert (done.text, done.finish_reason) == ("The capital of France is Paris.", "stop")


def test_greedy_tokens_are_those_of_stock_generate(stock: tuple[Any, Any]) -> None:
    model, tokenizer = stock
    requests = [_ask(str(n), text) for n, text in enumerate(ASKED)]
    done = {
        int(c.request_id): c for c in HFBackend.from_loaded(model, tokenizer, "smollm2").generate(requests)
    }
    for number, text in enumerate(ASKED):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        with torch.inference_mode():
            whole = model.generate(ids, do_sample=False, max_new_tokens=16)
        assert list(done[number].token_ids or ()) == whole[0, ids.shape[1] :].tolist()


def _ask(name: str, text: str) -> Request:
    return Request(name, (PromptMessage("user", (ours(text),)),), SamplingParams(0.0, 1.0, 16, 0))
