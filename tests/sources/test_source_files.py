"""Whole files: detection row by row, damaged rows, and the counts of the real benchmark files."""

from __future__ import annotations

import codecs
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import InputError
from reasrm.jsonl import TruncatedInput
from reasrm.records import CandidateSet, Comparison, Order, PreferencePair
from reasrm.sources import SourceRow, get, read_file
from tests.refusals import refused

PAIR = {"prompt": "Q", "response_a": "x", "response_b": "y", "label": "A"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: Any, name: str = "in.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


def codes(items: list[SourceRow]) -> list[str | None]:
    return [None if item.error is None else item.error.code for item in items]


def test_rows_of_different_schemas_are_each_read_as_what_they_are(write: Callable[..., Path]) -> None:
    judgebench = dict(get("judgebench").example)
    path = write(
        PAIR, {"prompt": "Q", "chosen": "x", "rejected": "y"}, judgebench, {"prompt": "Q", "response": "x"}
    )
    items = list(read_file(path))
    assert [item.source for item in items] == ["rows", "trl", "judgebench", "rows"]
    assert [item.place for item in items] == [f"in.jsonl:{n}" for n in (1, 2, 3, 4)]
    assert [item.id_is_derived for item in items] == [True, True, False, True]


def test_an_incomplete_row_is_an_error_that_names_the_field_even_before_the_first_good_one(
    write: Callable[..., Path],
) -> None:
    items = list(read_file(write({"id": "a", "prompt": "Q"}, PAIR, {"id": "b", "response": "x"})))
    assert codes(items) == ["missing_field", None, "missing_field"]
    assert "'response'" in str(items[0].error)
    assert str(items[2].error) == "in.jsonl:3: field 'prompt' is missing; the row has 'id', 'response'"
    assert [item.id for item in items] == ["a", None, "b"]


def test_a_named_source_is_not_second_guessed(write: Callable[..., Path]) -> None:
    (item,) = read_file(write(PAIR), "llmbar")
    assert codes([item]) == ["missing_field"]
    assert item.source == "llmbar"


def test_a_file_of_no_known_schema_is_refused_with_its_keys(write: Callable[..., Path]) -> None:
    path = write({"question_id": 1, "turns": ["Q"]})
    with refused(InputError, "in.jsonl:1", "'question_id'", "'turns'"):
        list(read_file(path))


def test_a_file_without_readable_rows_has_no_source(write: Callable[..., Path]) -> None:
    assert list(read_file(write())) == []
    (item,) = read_file(write("not json"))
    assert (codes([item]), item.source) == (["bad_json"], None)


def test_damaged_rows_are_errors_and_the_others_are_read(write: Callable[..., Path]) -> None:
    nan = '{"prompt": "Q", "response": "x", "label": NaN}'
    surrogate = '{"prompt": "\\ud800", "response": "x"}'
    items = list(read_file(write("{", PAIR, nan, surrogate, "[1]", PAIR)))
    assert codes(items) == ["bad_json", None, "not_finite", "bad_utf8", "not_object", None]


def test_duplicate_keys_are_an_error(write: Callable[..., Path]) -> None:
    path = write('{"prompt": "Q", "prompt": "P", "response": "x"}')
    assert codes(list(read_file(path))) == ["duplicate_key"]
    assert codes(list(read_file(path, "rows"))) == ["duplicate_key"]


def test_line_ends_and_byte_order_marks_change_no_id(tmp_path: Path) -> None:
    lines = [
        json.dumps({**PAIR, "prompt": f"Q{n}\u2028\u0085"}, ensure_ascii=False).encode() for n in range(3)
    ]
    forms = {
        "lf": b"\n".join(lines) + b"\n",
        "crlf": b"\r\n".join(lines) + b"\r\n",
        "bom": codecs.BOM_UTF8 + b"\n".join(lines),
        "blank": b"\n\n".join(lines) + b"\n\n",
    }
    ids = set()
    for name, content in forms.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(content)
        ids.add(tuple(row.id for item in read_file(path) for row in item.rows))
    assert len(ids) == 1
    assert len(set(ids.pop())) == 3


def test_the_complete_rows_of_a_cut_file_come_before_the_error(tmp_path: Path) -> None:
    rows = [{**PAIR, "id": f"r{n}", "prompt": f"{n * 7919:x}" * 50} for n in range(10_000)]
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    seen: list[SourceRow] = []
    with pytest.raises(TruncatedInput) as caught:
        seen.extend(read_file(path))
    assert len(seen) == caught.value.num_rows > 100
    assert all(item.error is None for item in seen)


REAL = {
    "judgebench/gpt-4o-2024-05-13.jsonl": ("judgebench", 350, 350),
    "judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl": ("judgebench", 350, 350),
    "judgebench/judgments_gpt-4o_rm_internlm2-7b.jsonl": ("judgebench", 350, 350),
    "llmbar/natural.json": ("llmbar", 100, 100),
    "llmbar/adv_neighbor.json": ("llmbar", 134, 134),
    "llmbar/judge_natural_chatgpt_swapcot.result.json": ("llmbar", 100, 100),
    "llmbar/judge_natural_chatgpt_vanilla.result.json": ("llmbar", 100, 100),
    "pandalm/testset-v1.json": ("pandalm", 999, 993),
    "prometheus/hhh_alignment_eval.json": ("prometheus-hhh", 221, 221),
    "prometheus/mt_bench_eval.json": ("prometheus-absolute", 320, 320),
    "rm-bench/chat_filtered.json": ("rm-bench", 129, 9 * 129),
    "rm-bench/safety-refuse_filtered.json": ("rm-bench", 284, 9 * 284),
    "hh-rlhf/harmless-base_test.jsonl.gz": ("hh-rlhf", 2312, 2307),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_recognised_in_every_row_and_counted(real_data: Path, name: str) -> None:
    source, rows, records = REAL[name]
    items = list(read_file(real_data / name))
    assert {item.source for item in items} == {source}
    assert len(items) == rows
    ids = [row.id for item in items for row in item.rows]
    assert (len(ids), len(set(ids))) == (records, records)


def comparisons(path: Path, **options: Any) -> list[Comparison]:
    rows = [row for item in read_file(path, **options) for row in item.rows]
    assert all(isinstance(row, Comparison) for row in rows)
    return [row for row in rows if isinstance(row, Comparison)]


def winners(rows: list[Comparison]) -> Counter[str]:
    return Counter(row.target.winner for row in rows if row.target is not None)


def test_real_labels_are_counted_as_published(real_data: Path) -> None:
    pandalm = comparisons(real_data / "pandalm/testset-v1.json", coerce_scalars=True)
    assert winners(pandalm) == {"B": 472, "A": 422, "tie": 105}
    assert winners(comparisons(real_data / "llmbar/natural.json")) == {"A": 42, "B": 58}
    assert winners(comparisons(real_data / "judgebench/gpt-4o-2024-05-13.jsonl")) == {"A": 193, "B": 157}


def test_real_judgebench_decisions_speak_of_the_order_shown(real_data: Path) -> None:
    """The published score counts a pair that is right at least once more often than it is wrong."""
    texts = comparisons(real_data / "judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl")
    scores = comparisons(real_data / "judgebench/judgments_gpt-4o_rm_internlm2-7b.jsonl")

    def by_text(row: Comparison, order: Order) -> int:
        text = row.recorded[order][0].text
        return ("[[A>" in text) - ("[[B>" in text)

    def by_score(row: Comparison, order: Order) -> int:
        first, second = row.recorded[order][0].scores
        return (first > second) - (second > first)

    def right(rows: list[Comparison], vote: Callable[[Comparison, Order], int]) -> int:
        counters = [
            (vote(row, Order.AB) - vote(row, Order.BA))
            * (1 if row.target and row.target.winner == "A" else -1)
            for row in rows
        ]
        return sum(counter > 0 for counter in counters)

    assert right(texts, by_text) == 230  # 65.7143 %
    assert right(scores, by_score) == 208  # 59.4286 %


def test_real_llmbar_rounds_are_the_scored_ones(real_data: Path) -> None:
    path = real_data / "llmbar/judge_natural_chatgpt_swapcot.result.json"
    raw = json.loads(path.read_text())
    for row, item in zip(comparisons(path), raw, strict=True):
        assert row.recorded[Order.AB][0].text == item["results"][-1]["swap = False"]["completion"][0]
    vanilla = comparisons(real_data / "llmbar/judge_natural_chatgpt_vanilla.result.json")

    def correct(order: Order) -> int:
        first_wins = "AB"[order is Order.BA]
        return sum(
            (row.target is not None and row.target.winner == first_wins)
            == row.recorded[order][0].text.strip().startswith("Output (a)")
            for row in vanilla
        )

    assert (correct(Order.AB), correct(Order.BA)) == (80, 83)


@pytest.mark.slow
def test_real_pandalm_booleans_and_hh_mismatches_are_named(real_data: Path) -> None:
    pandalm = [item for item in read_file(real_data / "pandalm/testset-v1.json") if item.error]
    assert [item.id for item in pandalm] == ["157", "158", "159", "161", "162", "164"]
    assert {str(item.error).split(": ", 2)[2].split(" must")[0] for item in pandalm} == {
        "field 'response1'",
        "field 'response2'",
    }
    hh = [item for item in read_file(real_data / "hh-rlhf/harmless-base_test.jsonl.gz") if item.error]
    assert [item.line for item in hh] == [1255, 1689, 1951, 1953, 2037]
    assert set(codes(hh)) == {"prompt_mismatch"}


def test_real_rm_bench_domains_and_cells(real_data: Path) -> None:
    for name, domain in (("chat_filtered", "chat"), ("safety-refuse_filtered", "safety")):
        rows = [row for item in read_file(real_data / f"rm-bench/{name}.json") for row in item.rows]
        assert {row.subset for row in rows} == {domain}
        assert set(Counter(row.group for row in rows).values()) == {9}
        assert Counter(tuple(row.meta["cell"]) for row in rows)[(2, 0)] == len(rows) // 9


def test_real_prometheus_scores(real_data: Path) -> None:
    rows = [row for item in read_file(real_data / "prometheus/mt_bench_eval.json") for row in item.rows]
    labels = Counter(row.label for row in rows if isinstance(row, CandidateSet))
    assert sum(labels.values()) == 320
    assert set(labels) <= {1, 2, 3, 4, 5}
    for row in rows:
        assert row.rubric is not None
        assert row.rubric.text is not None
        assert row.rubric.text.startswith("[")
        assert "###" not in row.rubric.text + str(row.reference)


def test_real_rm_r1_traces_agree_with_their_result_in_the_order_assumed(real_data: Path) -> None:
    """`results` is 1 exactly when the last verdict is the letter under which the chosen reply was shown."""
    rows = [
        row
        for path in sorted(real_data.glob("rm-r1-results/*/RMB_*_log*.json"))
        for item in read_file(path)
        for row in item.rows
    ]
    assert len(rows) == 8
    for row in rows:
        assert isinstance(row, PreferencePair)
        ((order, (recorded,)),) = row.recorded.items()
        chosen_letter = "A" if order is Order.AB else "B"
        last_verdict = recorded.text[recorded.text.rindex("[[") + 2]
        assert (last_verdict == chosen_letter) is bool(row.meta["results"])
