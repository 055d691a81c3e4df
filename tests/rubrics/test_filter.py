"""Verifying files of rubrics, a person's too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, InputError, LockedError
from reasrm.hashing import request_hash
from reasrm.judging.inputs import JudgeInput
from reasrm.records import Message
from reasrm.rubrics.filter import FilterResult, filter_rubrics
from reasrm.sources.rubric_lines import load_rubrics
from tests.refusals import refused
from tests.rubrics.shared import (
    Author,
    JudgeModel,
    adds_up,
    first,
    make_verifier_of,
    needs_rubric,
    pair,
    right,
    rows_of,
    write_lines,
    write_pairs,
)

CALM = {"criteria": [{"text": "is calm"}]}


def run(folder: Path, judge: Author, **settings: Any) -> FilterResult:
    """Filter `FOLDER/rubrics.jsonl` by `FOLDER/pairs.jsonl` into `FOLDER/out`."""
    return filter_rubrics(
        load_rubrics(folder / "rubrics.jsonl"),
        JudgeInput([folder / "pairs.jsonl"]),
        make_verifier_of(folder / "out", judge, **settings),
        folder / "out",
    )


def reasons(result: FilterResult) -> dict[str, int]:
    assert result.written is not None
    return result.written.ledger.rows()


def test_a_persons_rubrics_are_kept_where_a_judge_is_right_with_them(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 2)
    lines = [{"id": "q0", **CALM}, {"id": "q1", "rubric": "anything goes"}, {"id": "elsewhere", **CALM}]
    write_lines(tmp_path / "rubrics.jsonl", lines)
    judge = JudgeModel(lambda q, rubric, a, b: right(q, rubric, a, b) if rubric and "calm" in rubric else "B")
    result = run(tmp_path, judge)
    assert reasons(result) == {"kept": 1, "no_pair": 1, "split_under_rubric": 1}
    (kept,) = rows_of(result.files.rubrics)
    assert kept["id"] == "q0"
    assert kept["provenance"]["verified"]["effect"] == "helpful"
    assert kept["saw_label"] is True  # it was chosen by the label of this very row
    rejected = {row["id"]: row for row in rows_of(result.files.rejected)}
    assert rejected["q1"]["rubric"] == "anything goes"
    assert rejected["elsewhere"]["reason"] == "no_pair"
    adds_up(result.files.folder, 3)


def test_the_same_call_asks_nothing_again_and_an_edited_rubric_alone(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 3)
    lines = [{"id": f"q{n}", **CALM} for n in range(3)]
    write_lines(tmp_path / "rubrics.jsonl", lines)
    whole = run(tmp_path, JudgeModel(right))
    before = {path.name: path.read_bytes() for path in (whole.files.rubrics, whole.files.ledger)}
    again = JudgeModel(right)
    run(tmp_path, again)
    assert again.asked == []
    assert {path.name: path.read_bytes() for path in (whole.files.rubrics, whole.files.ledger)} == before
    lines[1] = {"id": "q1", "criteria": [{"text": "is vivid"}]}
    write_lines(tmp_path / "rubrics.jsonl", lines)
    result = run(tmp_path, again)
    assert len(again.asked) == 2  # both orders of one pair, under one rubric
    assert reasons(result) == {"kept": 3}
    adds_up(result.files.folder, 3)  # what was asked about the old text is counted, too


@pytest.mark.parametrize(
    ("tau", "good", "reason"),
    [(0.5, {"a", "b"}, "kept"), (0.5, {"b", "c"}, "split_under_rubric"), (0.9, {"a", "b"}, "below_tau")],
)
def test_a_rubric_is_held_against_all_pairs_of_its_request(
    tmp_path: Path, tau: float, good: set[str], reason: str
) -> None:
    """Three induced pairs, two right (OpenRubrics, eq. 1-3): kept if its own is among them and τ allows."""
    rows = [
        {"id": name, "prompt": "p", "chosen": f"good {name}", "rejected": f"bad {name}"} for name in "abc"
    ]
    write_lines(tmp_path / "pairs.jsonl", rows)
    request = request_hash((Message("user", "p"),))
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "a", "prompt_hash": request, **CALM}])
    judge = JudgeModel(lambda q, rubric, a, b: right(q, rubric, a, b) if {a[-1], b[-1]} & good else "A")
    result = run(tmp_path, judge, tau=tau)
    assert reasons(result) == {reason: 1}
    adds_up(result.files.folder, 1)


def test_a_rubric_that_was_written_for_no_pair_may_count_by_any(tmp_path: Path) -> None:
    rows = [{"id": name, "prompt": "p", "chosen": f"good {name}", "rejected": f"bad {name}"} for name in "ab"]
    write_lines(tmp_path / "pairs.jsonl", rows)
    write_lines(tmp_path / "rubrics.jsonl", [{"prompt": "p", "rubric": "is calm"}])
    judge = JudgeModel(lambda q, rubric, a, b: right(q, rubric, a, b) if a.endswith("b") else "A")
    result = run(tmp_path, judge)
    assert reasons(result) == {"kept": 1}
    (line,) = rows_of(result.files.ledger)
    # each pair passes by two coins, 1/4; at least one of two must
    assert line["kept_by_chance"] == pytest.approx(1 - 0.75**2)


def test_gain_by_hand(tmp_path: Path) -> None:
    """Kept if right in both orders with the rubric and not without: the four cases."""
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "q0", **CALM}])
    table = {
        (True, True): "no_gain",
        (True, False): "kept",
        (False, True): "split_under_rubric",
        (False, False): "split_under_rubric",
    }
    for n, ((under, without), reason) in enumerate(table.items()):
        folder = tmp_path / str(n)
        folder.mkdir()
        for name in ("pairs.jsonl", "rubrics.jsonl"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())

        def decide(q: str, rubric: str | None, a: str, b: str, u: bool = under, w: bool = without) -> str:
            return right(q, rubric, a, b) if (u if rubric else w) else first(q, rubric, a, b)

        assert reasons(run(folder, JudgeModel(decide), gain=True)) == {reason: 1}


@pytest.mark.slow
def test_a_public_set_is_filtered_as_it_is(tmp_path: Path) -> None:
    row = {
        "instruction": "question 0: name a colour",
        "response_a": "x",
        "response_b": "y",
        "winner": "A",
        "rubric": "1. The response is calm. [Principle]",
    }
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [row])
    assert reasons(run(tmp_path, JudgeModel(needs_rubric), gain=True)) == {"kept": 1}


def test_who_wrote_a_rubric_does_not_verify_it(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "q0", **CALM, "provenance": {"author": "judge"}}])
    with refused(ConfigError, "'judge'", "'q0'", "--allow-author"):
        run(tmp_path, JudgeModel(right))
    assert reasons(run(tmp_path, JudgeModel(right), allow_author=True)) == {"kept": 1}


def test_rubrics_for_other_rows_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "elsewhere", **CALM}])
    with refused(InputError, "pairs.jsonl", "labelled pair"):
        run(tmp_path, JudgeModel(right))


def test_rows_without_a_label_test_nothing(tmp_path: Path) -> None:
    row = pair(1)
    rows = [pair(0), {"id": "q1", "prompt": row["prompt"], "response_a": "x", "response_b": "y"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "q0", **CALM}, {"id": "q1", **CALM}])
    assert reasons(run(tmp_path, JudgeModel(right))) == {"kept": 1, "no_pair": 1}


def test_one_process_at_a_time_filters_into_a_folder(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "q0", **CALM}])

    def meanwhile(q: str, rubric: str | None, a: str, b: str) -> str:
        with pytest.raises(LockedError):
            run(tmp_path, JudgeModel(right))
        return right(q, rubric, a, b)

    assert reasons(run(tmp_path, JudgeModel(meanwhile))) == {"kept": 1}
    assert reasons(run(tmp_path, JudgeModel(right))) == {"kept": 1}


def test_a_damaged_file_of_candidates_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 1)
    write_lines(tmp_path / "rubrics.jsonl", [{"id": "q0", **CALM}])
    run(tmp_path, JudgeModel(right))
    (tmp_path / "out" / "candidates.jsonl").write_text('{"id": "q')
    with refused(InputError, "candidates.jsonl", "--restart"):
        run(tmp_path, JudgeModel(right))
