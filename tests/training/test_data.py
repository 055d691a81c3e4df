"""SFT rows to ids: what is learned from, what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from reasrm.errors import ConfigError, InputError
from reasrm.generation.encoding import encode_window
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.sft_rows import read_sft_row
from reasrm.protocol.spec import load_spec
from reasrm.protocol.writer_rows import writer_row
from reasrm.requests import Completion, Request
from reasrm.training.sft.data import EncodedRows, Example, RowEncoder, encode_files, to_dataset
from reasrm.training.stage.config import ModelSection
from reasrm.training.stage.models import BaseModel, open_base
from reasrm.training.stage.rows import Dropped
from reasrm.world.rules import Rule, rubric_of
from tests.refusals import refused
from tests.tiny import build_tiny_model
from tests.training.stages import SPEC, comparison, sft_row, write_rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return open_base(ModelSection(path=str(build_tiny_model(tmp_path_factory.mktemp("base")))))


def row_encoder(
    base: BaseModel, max_tokens: int = 400, *, spec: str = SPEC, keep: bool = False
) -> RowEncoder:
    return RowEncoder(
        load_spec(spec), base.prompts, base.completions, max_tokens=max_tokens, keep_unreadable=keep
    )


def learned(outcome: Example | Dropped) -> Example:
    assert isinstance(outcome, Example), outcome
    return outcome


def test_ids_are_the_prompt_of_judging_and_the_answer_with_its_end(base: BaseModel) -> None:
    row = sft_row(1)
    example = learned(row_encoder(base).encode(row, "f:1"))
    ids = tuple(example.ids.tolist())
    assert ids[: example.num_prompt] == base.prompts.encode(row.messages).ids
    assert base.prompts.decode(ids[example.num_prompt : -1]) == row.completion
    assert ids[-1] == base.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_row_that_would_be_cut_never_trains(base: BaseModel) -> None:
    row = sft_row(1)
    length = len(learned(row_encoder(base).encode(row, "f:1")).ids)
    assert len(learned(row_encoder(base, length).encode(row, "f:1")).ids) == length
    dropped = row_encoder(base, length - 1).encode(row, "f:7")
    assert dropped == Dropped("q1", "f:7", "too_long", f"{length} tokens, more than {length - 1}", length)


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        ("I cannot decide.", "no_verdict"),
        ("<answer>[[A]]</answer> or <answer>[[B]]</answer>", "ambiguous"),
        ("<answer>[[C]]</answer>", "off_menu"),
        ("<think>so <answer>[[A]]</answer>", "no_verdict"),
    ],
)
def test_a_row_without_a_readable_verdict_is_left_out(base: BaseModel, completion: str, words: str) -> None:
    row = sft_row(1, completion)
    dropped = row_encoder(base).encode(row, "f:1")
    assert isinstance(dropped, Dropped)
    assert dropped.code == "unreadable"
    assert dropped.message.startswith(words)
    kept = learned(row_encoder(base, keep=True).encode(row, "f:1"))
    assert base.prompts.decode(kept.ids[kept.num_prompt : -1].tolist()) == completion


def test_listwise_rows_say_how_many_responses_they_show(base: BaseModel) -> None:
    answer = '{"scores": {"response-1": 5, "response-2": 2, "response-3": 1}, "best-to-worst": ' + (
        '["response-1", "response-2", "response-3"]}'
    )
    row = replace(sft_row(1, answer), meta={"num_candidates": 3})
    encoder = row_encoder(base, spec="principle-list")
    assert isinstance(encoder.encode(row, "f:1"), Example)
    assert isinstance(encoder.encode(replace(row, meta={}), "f:1"), Dropped)


def test_rows_of_another_spec_stop_the_stage(base: BaseModel) -> None:
    row = sft_row(1, spec_hash="0123")
    own = load_spec(SPEC).hash
    with pytest.raises(ConfigError, match=f"hash 0123, but spec 'sandbox' has hash {own}"):
        row_encoder(base).encode(row, "f:1")
    assert isinstance(row_encoder(base).encode(replace(row, meta={}), "f:1"), Example)


def test_every_row_is_accounted_for(base: BaseModel, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [sft_row(0), sft_row(1, "no verdict"), sft_row(2, "x" * 900)])
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"id": "q3", "prompt": 1}\n{"broken\n')
    other = write_rows(tmp_path / "b.jsonl", [sft_row(4)])
    seen: list[int] = []
    rows = encode_files([path, other], row_encoder(base), progress=seen.append)
    assert [example.id for example in rows.examples] == ["q0", "q4"]
    assert rows.reasons == {"unreadable": 1, "too_long": 1, "wrong_type": 1, "bad_json": 1}
    assert seen == [1, 2, 3, 4, 5, 6]
    third = rows.dropped[2].to_json()
    assert (third["id"], third["file"], third["line"], third["code"]) == ("q3", "a.jsonl", 4, "wrong_type")


def test_a_limit_stops_reading(base: BaseModel, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [sft_row(0), sft_row(1, "no verdict"), sft_row(2)])
    rows = encode_files([path], row_encoder(base), limit=2)
    assert (len(rows.examples), len(rows.dropped)) == (1, 1)


def test_nothing_to_learn_from_names_the_commonest_reason(base: BaseModel, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [sft_row(0, "?"), sft_row(1), sft_row(2)])
    with pytest.raises(InputError, match=r"none of 3 rows .* 3 are too_long.*raise data.max_tokens"):
        encode_files([path], row_encoder(base, 10))
    empty = write_rows(tmp_path / "b.jsonl", [])
    with pytest.raises(InputError, match="holds no rows"):
        encode_files([empty], row_encoder(base))


def test_the_dataset_marks_completions(base: BaseModel) -> None:
    rows = EncodedRows([learned(row_encoder(base).encode(sft_row(n), "f:1")) for n in range(2)])
    dataset = to_dataset(rows.examples)
    for example, row in zip(rows.examples, dataset, strict=True):
        assert row["input_ids"] == example.ids.tolist()
        rest = len(example.ids) - example.num_prompt
        assert row["completion_mask"] == [0] * example.num_prompt + [1] * rest
    prompts, completions = rows.lengths()
    assert (prompts + completions).tolist() == [len(example.ids) for example in rows.examples]


GOLDEN = Path(__file__).parents[1] / "golden" / "sft-prompts.json"


class Listening:
    """A backend that only takes down the ids it would be given."""

    name = "listening"
    identity: ClassVar[dict[str, str]] = {}

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self.heard: list[tuple[int, ...]] = []

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        for request in requests:
            fitting, _ = encode_window([request], self._base.prompts, None)
            self.heard.append(fitting[0].ids)
            yield Completion(request.id, "<answer>[[A]]</answer>")

    def close(self) -> None:
        return


@pytest.mark.parametrize("name", ["sandbox", "rm-r1-short"])
def test_a_judge_is_trained_on_the_ids_that_it_judges_by(base: BaseModel, name: str) -> None:
    """SFT row → file → ids, and row → judge → backend → ids: equal, and as the golden file says."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    backend = Listening(base)
    judge = Judge(spec=load_spec(name), backend=backend)
    options = JudgingOptions(orders="given", sampling=judge.sampling())
    list(judge.judge([comparison(3)], options))
    line = json.dumps(sft_row(3, spec=name).to_json())
    row = read_sft_row(json.loads(line), "f:1")
    example = learned(row_encoder(base, 10_000, spec=name, keep=True).encode(row, "f:1"))
    in_sft = tuple(example.ids[: example.num_prompt].tolist())
    assert backend.heard == [in_sft]
    assert {"text": base.prompts.decode(in_sft), "ids": list(in_sft)} == golden


def test_a_row_whose_rubric_carries_its_label_is_refused_unless_it_is_meant(base: BaseModel) -> None:
    row = sft_row(1, rubric_saw_label=True)
    with refused(ConfigError, "f:3", "'q1'", "rubrics_that_saw_labels"):
        row_encoder(base).encode(row, "f:3")
    taking = RowEncoder(
        load_spec(SPEC), base.prompts, base.completions, max_tokens=400, rubrics_that_saw_labels=True
    )
    assert isinstance(taking.encode(row, "f:3"), Example)


def test_a_writers_row_teaches_a_rubric_that_can_be_read(base: BaseModel) -> None:
    spec = load_spec("sandbox-rubric-writer")
    row = writer_row(spec, comparison(1), rubric_of([Rule("count", "two", 2), Rule("warm")]))
    learned(row_encoder(base, spec=spec.name).encode(row, "f:1"))
    for text in ("1. count two [Hard Rule]\n1. warm [Principle]", "count two"):
        dropped = row_encoder(base, spec=spec.name).encode(replace(row, completion=text), "f:1")
        assert isinstance(dropped, Dropped)
        assert dropped.code == "unreadable"
