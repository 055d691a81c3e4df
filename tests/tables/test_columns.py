"""`--columns`: paths read exactly, columns of any schema, and the same key in configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from reasrm.errors import ConfigError, InputError
from reasrm.judging.inputs import JudgeInput
from reasrm.sources import read_file
from reasrm.tables import ColumnMap, given_columns, parse_columns, read_rows
from reasrm.tables.columns import parse_path
from tests.refusals import refused


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("question", ("question",)),
        ("messages[0].content", ("messages", 0, "content")),
        ("meta.answers[-1]", ("meta", "answers", -1)),
        ("a[0][1]", ("a", 0, 1)),
        ("good answer", ("good answer",)),
        ("", ()),
    ],
)
def test_paths(text: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("a[", 2),
        ("a[x]", 2),
        ("a.", 2),
        (".a", 1),
        ("[0]", 1),
        ("a..b", 2),
        ("a]b", 2),
        ("a[0]b", 5),
        ("a[1.5]", 2),
    ],
)
def test_what_is_no_path_is_refused_at_its_character(text: str, character: int) -> None:
    with pytest.raises(ConfigError, match=f"at character {character}"):
        parse_path(text)


def test_columns_are_told_as_text_file_or_mapping(tmp_path: Path) -> None:
    expected = {"prompt": "question", "chosen": "meta.good[-1]", "history": ""}
    (tmp_path / "columns.yaml").write_text("prompt: question\nchosen: meta.good[-1]\nhistory: ''\n")
    assert given_columns("prompt=question, chosen=meta.good[-1],history=") == expected
    assert given_columns(str(tmp_path / "columns.yaml")) == expected
    assert given_columns(None) == {}
    with refused(ConfigError, "'prompt'", "field=column"):
        given_columns("prompt")

    class Section(BaseModel):
        columns: ColumnMap = {}

    assert Section(columns="prompt=question").columns == {"prompt": "question"}  # type: ignore[arg-type]
    assert Section(columns=expected).columns == expected
    with pytest.raises(ValidationError, match="at character 2"):
        Section(columns={"prompt": "a["})


@pytest.mark.parametrize("text", ["prompt=a,prompt=b", "prompt=a,b", "=a", "prompt=a[,chosen=b"])
def test_columns_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_columns(text)


def test_paths_lead_into_lists_objects_and_json_in_texts(tmp_path: Path) -> None:
    row = {
        "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "x"}],
        "meta": {"answers": ["w", "y"], "n": 1},
        "packed": '["first", "last"]',
        "odd.name": "dotted",
        "short": [],
    }
    columns = {
        "prompt": "messages[0].content",
        "chosen": "meta.answers[-1]",
        "rejected": "packed[1]",
        "subset": "odd.name",
        "language": "short[0]",
    }
    (found,) = read_rows(write(tmp_path / "t.jsonl", row), columns=columns)
    assert found.data == {
        "prompt": "Q",
        "chosen": "y",
        "rejected": "last",
        "subset": "dotted",
        "meta": row["meta"],
    }


def test_texts_are_joined_and_columns_exchanged(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Sum up.", "input": "A text.", "a": "x", "b": "y"},
        {"instruction": "Greet.", "input": "", "a": "x", "b": "y"},
        {"instruction": "Sum up.", "input": [1], "a": "x", "b": "y"},
    ]
    columns = {"prompt": "instruction+input", "a": "b", "b": "a"}
    found = list(read_rows(write(tmp_path / "t.jsonl", *rows), columns=columns))
    assert [raw.data for raw in found[:2]] == [
        {"prompt": "Sum up.\n\nA text.", "a": "y", "b": "x"},
        {"prompt": "Greet.", "a": "y", "b": "x"},
    ]
    assert found[2].error is not None
    assert found[2].error.code == "wrong_type"


def test_a_path_into_something_else_is_the_rows_fault(tmp_path: Path) -> None:
    rows = [{"m": [{"c": "x"}]}, {"m": "text"}, {"m": {"c": 1}}, {"m": None}, {}]
    found = list(read_rows(write(tmp_path / "t.jsonl", *rows), columns={"prompt": "m[0].c"}))
    assert [None if raw.error is None else raw.error.code for raw in found] == [
        None,
        "bad_path",
        "bad_path",
        None,
        None,
    ]
    assert [raw.data for raw in found if raw.error is None] == [{"prompt": "x"}, {}, {}]


def test_a_column_that_no_row_has_and_a_field_that_nobody_reads(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "Q", "good": "x", "bad": "y"})
    with pytest.raises(InputError, match="have no 'god'; they have 'q', 'good', 'bad'"):
        list(read_file(path, columns={"prompt": "q", "chosen": "god", "rejected": "bad"}))
    with pytest.raises(ConfigError, match="'promt'; did you mean 'prompt'"):
        list(read_file(path, columns={"promt": "q"}))


def test_columns_belong_to_the_identity_of_a_run(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl", {"q": "Q", "good": "x", "bad": "y"}, {"q": "R", "good": "x", "bad": "y"}
    )
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    rows = JudgeInput([path], columns=columns)
    assert rows.scan().source == "trl"
    assert [item.row.prompt[0].content for item in rows if item.row is not None] == ["Q", "R"]
    plain = write(tmp_path / "p.jsonl", {"prompt": "Q", "chosen": "x", "rejected": "y"})
    assert JudgeInput([plain]).identity != rows.identity
    assert JudgeInput([plain], columns={}).identity == JudgeInput([plain]).identity
    plainly = JudgeInput([plain])
    plainly.scan()
    assert next(iter(plainly)).id == next(iter(rows)).id
