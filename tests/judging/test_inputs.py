"""Validation, ids, rubrics and recordings of input files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, InputError
from reasrm.judging.inputs import JudgeInput
from reasrm.records import Order, Recorded
from reasrm.sources.rubric_lines import load_rubrics
from tests.refusals import refused


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(row_id: str | None = None, **more: Any) -> dict[str, Any]:
    row = {"prompt": "p", "response_a": "x", "response_b": "y", **more}
    return row if row_id is None else {"id": row_id, **row}


def ids(rows: JudgeInput) -> list[str]:
    rows.scan()
    return [item.id for item in rows]


def test_a_scan_counts_what_a_user_wants_to_know_first(tmp_path):
    rows = write(
        tmp_path / "rows.jsonl",
        pair("a", label="A"),
        pair("b"),
        pair("same", response_b="x"),
        pair("empty", response_b=" "),
        pair("bad", label="nobody"),
        pair(),
    )
    scan = JudgeInput([rows]).scan()
    assert (scan.num_rows, scan.num_invalid, dict(scan.invalid)) == (5, 1, {"bad_label": 1})
    assert (scan.num_labelled, scan.num_identical, scan.num_degenerate) == (1, 1, 1)
    assert "rows.jsonl:5" in scan.examples[0]


def test_equal_rows_without_ids_are_numbered_and_equal_ids_are_refused(tmp_path):
    found = ids(JudgeInput([write(tmp_path / "a.jsonl", pair(), pair(response_a="z"), pair(), pair())]))
    assert len(set(found)) == 4
    assert [name.partition("#")[2] for name in found] == ["", "", "1", "2"]
    repeated = write(tmp_path / "b.jsonl", pair("q"), pair("r"), pair("q"))
    with refused(InputError, "'q'", "b.jsonl:1", "b.jsonl:3"):
        JudgeInput([repeated]).scan()
    assert ids(JudgeInput([repeated], dedupe="first")) == ["q", "r"]
    different = write(tmp_path / "c.jsonl", pair("q"), pair("q", response_a="z"))
    with pytest.raises(InputError, match="different content"):
        JudgeInput([different], dedupe="first").scan()


def test_an_invalid_row_keeps_its_id_and_cannot_shadow_a_valid_one(tmp_path):
    rows = write(tmp_path / "rows.jsonl", pair("q", response_a=None), pair("q"))
    with pytest.raises(InputError, match="ids repeat"):
        JudgeInput([rows]).scan()


def test_two_files_are_one_input_and_the_limit_counts_over_both(tmp_path):
    files = [
        write(tmp_path / "a.jsonl", pair("a"), pair("b")),
        write(tmp_path / "b.jsonl", pair("c"), pair("d")),
    ]
    assert ids(JudgeInput(files)) == ["a", "b", "c", "d"]
    assert ids(JudgeInput(files, limit=3)) == ["a", "b", "c"]
    assert len(JudgeInput(files).scan().sha256) == 2


def test_a_cut_gzip_gives_its_whole_rows_and_one_named_error(tmp_path):
    whole = gzip.compress(
        "".join(json.dumps(pair(f"q{n}", prompt=str(n) * 50)) + "\n" for n in range(400)).encode()
    )
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    rows = JudgeInput([path])
    scan = rows.scan()
    assert 0 < scan.num_rows < 400
    assert dict(scan.invalid) == {"truncated_input": 1}
    items = list(rows)
    assert [item.id for item in items[:-1]] == [f"q{n}" for n in range(scan.num_rows)]
    assert items[-1].row is None


def test_rubrics_and_recordings_join_by_id(tmp_path):
    rows = write(tmp_path / "rows.jsonl", pair("a", rubric="own"), pair("b", rubric="own"))
    rubrics = write(
        tmp_path / "rubrics.jsonl",
        {"id": "a", "criteria": [{"kind": "hard_rule", "text": "Names a city."}]},
        {"id": "other", "rubric": "free text"},
    )
    recorded = {"b": {Order.AB: (Recorded("text", "[[A]]"),)}}
    joined = JudgeInput([rows], rubrics=load_rubrics(rubrics), recordings=recorded)
    assert joined.scan().recorded == {"text"}
    first, second = (item.row for item in joined)
    assert first.rubric.render() == "1. Names a city. [Hard Rule]"
    assert (second.rubric.render(), second.recorded) == ("own", recorded["b"])


@pytest.mark.parametrize(
    "row", [{"id": "a"}, {"criteria": []}, {"id": "a", "criteria": "x"}, {"id": 3, "rubric": "x"}]
)
def test_a_rubric_file_with_another_row_is_refused_by_place(tmp_path, row):
    with refused(InputError, "rubrics.jsonl:1", remedy=False):
        load_rubrics(write(tmp_path / "rubrics.jsonl", row))


def test_a_public_rubric_joins_by_prompt_where_none_has_the_rows_id(tmp_path):
    rows = write(tmp_path / "rows.jsonl", pair("a", prompt="p"), pair("b", prompt="p"), pair("c", prompt="q"))
    public = {
        "prompt": [{"role": "user", "content": "p"}],
        "rubrics": [{"criterion": "Is kind.", "points": -2}],
    }
    rubrics = load_rubrics(write(tmp_path / "r.jsonl", public, {"id": "b", "rubric": "own"}))
    joined = JudgeInput([rows], rubrics=rubrics)
    assert joined.scan().num_rubrics == 2
    shown = [item.row.rubric and item.row.rubric.render() for item in joined]
    assert shown == ["1. Is kind. [Criterion] (weight -2)", "own", None]


def test_nothing_to_judge_is_an_error(tmp_path):
    with refused(ConfigError, "--input"):
        JudgeInput([])
    with pytest.raises(InputError):
        JudgeInput([write(tmp_path / "rows.jsonl", pair("a", label=7))]).scan()
    with pytest.raises(InputError):
        JudgeInput([write(tmp_path / "empty.jsonl")]).scan()


def test_what_decides_the_judging_is_part_of_the_identity(tmp_path):
    rows = write(tmp_path / "rows.jsonl", pair("a"))
    rubric = load_rubrics(write(tmp_path / "r.jsonl", {"id": "a", "rubric": "one"}))
    other = load_rubrics(write(tmp_path / "s.jsonl", {"id": "a", "rubric": "two"}))
    recorded = {"a": {Order.AB: (Recorded("text", "[[A]]"),)}}
    inputs = [
        JudgeInput([rows]),
        JudgeInput([rows], rubrics=rubric),
        JudgeInput([rows], rubrics=other),
        JudgeInput([rows], recordings=recorded),
    ]
    assert len({str(one.identity) for one in inputs}) == len(inputs)
    lenient = JudgeInput([rows], limit=1, coerce_scalars=True, dedupe="first")
    assert lenient.identity == inputs[0].identity, "what only makes more rows usable lets a run continue"


def test_two_files_of_one_name_are_told_apart(tmp_path):
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(write(tmp_path / folder / "x.jsonl", pair(f"{folder}1", label=7), pair(f"{folder}2")))
        with files[-1].open("a") as stream:
            stream.write("{broken\n")
    rows = JudgeInput(files)
    assert rows.scan().num_invalid == 4
    broken = [item for item in rows if item.id.startswith("line:")]
    assert [item.place for item in broken] == [f"{file}:3" for file in files]


def test_given_recordings_replace_the_rows_own_altogether(tmp_path, real_data):
    own = real_data / "judgebench" / "judgments_gpt-4o_rm_internlm2-7b.jsonl"
    ids = [item.id for item in JudgeInput([own], limit=2)]
    recorded = {ids[0]: {Order.AB: (Recorded("text", "[[A>B]]"),)}}
    rows = JudgeInput([own], limit=2, recordings=recorded)
    assert rows.scan().recorded == {"text"}
    first, second = (item.row for item in rows)
    assert first.recorded == recorded[ids[0]]
    assert second.recorded == {}
    with pytest.raises(InputError, match="recordings"):
        JudgeInput([own], recordings={"other": recorded[ids[0]]}).scan()


def test_rubrics_that_fit_no_row_are_refused(tmp_path):
    rows = write(tmp_path / "rows.jsonl", pair("a"))
    rubrics = load_rubrics(write(tmp_path / "r.jsonl", {"id": "zzz", "rubric": "x"}))
    with pytest.raises(InputError, match="rubrics"):
        JudgeInput([rows], rubrics=rubrics).scan()


def test_an_id_that_numbering_would_give_is_refused(tmp_path):
    name = ids(JudgeInput([write(tmp_path / "a.jsonl", pair())]))[0]
    clash = write(tmp_path / "b.jsonl", pair(), pair(), pair(f"{name}#1", response_a="z"))
    with pytest.raises(InputError, match="repeated row"):
        JudgeInput([clash]).scan()
