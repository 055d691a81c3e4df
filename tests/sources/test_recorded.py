"""Recordings by id: every kind of file, in the frame of what was shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import InputError, RowError
from reasrm.records import Order, Recorded, Verdict
from reasrm.sources import get, read_file
from reasrm.sources.recorded import read_recordings


def write(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judgment(order: str = "AB", vote: int = 0, verdict: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"order": order, "vote": vote, "verdict": verdict, "text": "", "finish_reason": "stop", **fields}


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        ("1", Verdict("A")),
        ("2", Verdict("B")),
        ("Tie", Verdict("tie")),
        ("garbage", None),
        (1, Verdict("A")),
        (2, Verdict("B")),
        (0, Verdict("tie")),
    ],
)
@pytest.mark.parametrize("key", ["gpt_result", "pandalm_result"])
def test_pandalm_results(tmp_path: Path, key: str, result: object, decision: Verdict | None) -> None:
    found = read_recordings(write(tmp_path, {"idx": 3, key: result}))
    assert found == {"3": {Order.AB: (Recorded("decision", decision=decision),)}}


@pytest.mark.parametrize("wrong", ["tie", "", 3, True, 1.0])
def test_pandalm_results_are_not_guessed(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(RowError, match="label map"):
        read_recordings(write(tmp_path, {"idx": 3, "gpt_result": wrong}))


def test_our_output_is_mapped_back_to_the_order_shown(tmp_path: Path) -> None:
    row = {
        "id": "q",
        "judgments": [
            judgment("BA", 1, "A", strength=2),
            judgment("BA", 0, "tie"),
            judgment("AB", 0, "A", strength=1),
            judgment("AB", 1, None, finish_reason="length"),
        ],
    }
    assert read_recordings(write(tmp_path, row)) == {
        "q": {
            Order.BA: (
                Recorded("decision", decision=Verdict("tie")),
                Recorded("decision", decision=Verdict("B", 2)),
            ),
            Order.AB: (
                Recorded("decision", decision=Verdict("A", 1)),
                Recorded("decision", decision=None, finish_reason="length"),
            ),
        }
    }


def test_our_output_prefers_texts_then_scores(tmp_path: Path) -> None:
    row = {
        "id": "q",
        "judgments": [
            judgment("AB", 0, "A", text="[[A]]", finish_reason="length", scores=[1, 2]),
            judgment("BA", 0, "A", scores=[2, 1.5]),
        ],
    }
    single = {"id": "s", "judgments": [judgment(score=4)]}
    inside = judgment("AB", text="[[A]]", thinking_open=True, credited="none")
    assert read_recordings(write(tmp_path, row, single, {"id": "t", "judgments": [inside]})) == {
        "q": {
            Order.AB: (Recorded("text", text="[[A]]", finish_reason="length"),),
            Order.BA: (Recorded("score", scores=(1.5, 2.0)),),
        },
        "s": {Order.AB: (Recorded("score", scores=(4.0,)),)},
        "t": {Order.AB: (Recorded("text", text="[[A]]", thinking_open=True, credited="none"),)},
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verdict": "C"}, "'verdict'"),
        ({"thinking_open": "yes"}, "true or false"),
        ({"credited": "C"}, "known are A, B, tie, none"),
        ({"order": "XY"}, "known are AB, BA"),
        ({"order": []}, "known are AB, BA"),
        ({"vote": True}, "'vote' must be an integer"),
        ({"text": 3}, "'text' must be a string"),
        ({"scores": [True]}, "a list of numbers"),
        ({"verdict": None, "ranking": [1, 0]}, "cannot be replayed"),
        ({"response": 1}, "cannot be replayed"),
    ],
)
def test_a_judgment_that_cannot_be_read_is_not_skipped(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    row = {"id": "q", "judgments": [{**judgment(verdict="A"), **change}]}
    with pytest.raises(RowError, match=named):
        read_recordings(write(tmp_path, row))


def test_rows_that_carry_judgments_are_found_under_their_ids(tmp_path: Path) -> None:
    llmbar = {
        **get("llmbar").example,
        "results": [{"swap = True": {"completion": ["Output (a)", "stop"], "winner": "2"}}],
    }
    judgebench = {**get("judgebench").example, "judgments": [{"judgment": {}, "decision": "A=B"}]}
    path = write(tmp_path, llmbar, judgebench, llmbar)
    ids = [row.id for item in read_file(path) for row in item.rows]
    text = {Order.BA: (Recorded("text", text="Output (a)", credited="A"),)}
    assert read_recordings(path) == {
        ids[0]: text,
        "p-1": {Order.AB: (Recorded("decision", decision=Verdict("tie")),)},
        f"{ids[0]}#1": text,
    }


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"idx": 3, "gpt_result": "1"}, {"idx": 3, "gpt_result": "2"}], "'3' has recordings already"),
        ([{"prompt": "Q", "chosen": "x", "rejected": "y"}], "no row holds recorded judgments"),
        ([{"gpt_result": "1"}], "'id' is missing"),
        ([{"unknown": 1}], "no source recognises"),
        ([[1]], "not an object"),
        ([], "no row holds recorded judgments"),
    ],
    ids=["twice", "none-recorded", "no-id", "unknown", "not-an-object", "empty"],
)
def test_files_that_hold_no_recordings_are_refused(tmp_path: Path, rows: list[object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_recordings(write(tmp_path, *rows))


def test_real_pandalm_verdicts_match_the_published_accuracy(real_data: Path) -> None:
    found = read_recordings(real_data / "pandalm/gpt-3.5-turbo-testset-v1.json")
    right = total = 0
    for item in read_file(real_data / "pandalm/testset-v1.json", coerce_scalars=True):
        for row in item.rows:
            ((recorded,),) = found[row.id].values()
            total += 1
            right += recorded.decision == row.target  # type: ignore[attr-defined]
    assert (right, total) == (697, 999)


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl", 350, "text"),
        ("judgebench/judgments_gpt-4o_rm_internlm2-7b.jsonl", 350, "score"),
        ("llmbar/judge_natural_chatgpt_swapcot.result.json", 100, "text"),
        ("llmbar/judge_natural_chatgpt_vanilla.result.json", 100, "text"),
    ],
)
def test_real_judgments_come_in_both_orders(real_data: Path, name: str, rows: int, kind: str) -> None:
    found = read_recordings(real_data / name)
    assert len(found) == rows
    for recordings in found.values():
        assert list(recordings) == [Order.AB, Order.BA]
        assert [recorded.kind for votes in recordings.values() for recorded in votes] == [kind, kind]


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "content_filter"),
        ("abort", "error"),
        ("end_turn", "stop"),
        (None, "stop"),
        ("too_long", "too_long"),
        ("error", "error"),
    ],
)
def test_how_an_answer_ended_is_read_in_the_words_of_any_server(
    tmp_path: Path, word: str | None, end: str
) -> None:
    row = {"id": "q", "judgments": [judgment(text="[[A]]", finish_reason=word)]}
    found = read_recordings(write(tmp_path, row))["q"][Order.AB]
    assert found == (Recorded("text", text="[[A]]", finish_reason=end),)


def test_an_end_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="wibble"):
        read_recordings(write(tmp_path, {"id": "q", "judgments": [judgment(finish_reason="wibble")]}))


@pytest.mark.parametrize("status", ["error", "no_verdict", "truncated"])
def test_a_judgment_that_failed_lends_no_verdict_and_no_score(tmp_path: Path, status: str) -> None:
    failed = judgment("BA", 0, status=status, scores=[2, 1])
    found = read_recordings(write(tmp_path, {"id": "q", "judgments": [failed]}))["q"]
    assert found == {Order.BA: (Recorded("decision"),)}
    with pytest.raises(RowError, match=f"beside status '{status}'"):
        read_recordings(write(tmp_path, {"id": "q", "judgments": [judgment("AB", 0, "A", status=status)]}))
