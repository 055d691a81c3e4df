"""Text that comes from rows, on a terminal."""

from __future__ import annotations

import json

import pytest

from reasrm.errors import InputError
from reasrm.printable import escape_json, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünïcode 判 \U0001f600\n\tx", "plain – ünïcode 判 \U0001f600\n\tx"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J\x7f\x00\x08\r", "\\x9b2J\\x7f\\x00\\x08\\r"),
        ("a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f"),
        ("\u2028\u2029\ufeff\ud83d", "\\u2028\\u2029\\ufeff\\ud83d"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_is_one_line_and_json_means_what_it_meant() -> None:
    assert one_line("a\nerror: b\tc") == "a\\nerror: b\\tc"
    value = {"id": "\x9b\u202e\x7f\u2028 ü"}
    line = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(line) == value
    assert printable(line) == line
    assert "ü" in line


def test_the_place_of_an_error_forges_no_line() -> None:
    error = InputError("is odd", place="a\nerror: forged:1")
    assert str(error) == "a\\nerror: forged:1: is odd"
    assert error.place == "a\nerror: forged:1"
