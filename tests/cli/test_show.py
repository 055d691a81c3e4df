"""`reasrm show`: which rows it picks, what it prints, and that nothing of it can move a terminal's cursor."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.cli.show import run_show
from reasrm.errors import ConfigError, InputError
from tests.commands import run

ROWS = [
    {"id": "right", "prompt": "p", "response_a": "good", "response_b": "bad", "label": "A"},
    {"id": "wrong", "prompt": "p", "response_a": "good \x1b[2J", "response_b": "bad", "label": "B"},
    {"id": "level", "prompt": "p", "response_a": "good", "response_b": "fine", "label": "A"},
    {"id": "mute", "prompt": "p", "response_a": "good", "response_b": "dull", "label": "A"},
]
SAID = {
    "right": ("<eval>first</eval><answer>[[A]]</answer>", "<eval>=second</eval><answer>[[B]]</answer>"),
    "wrong": ("<eval>first</eval><answer>[[A]]</answer>", "<eval>second</eval><answer>[[B]]</answer>"),
    "level": ("<eval>first</eval><answer>[[A]]</answer>", "<eval>second</eval><answer>[[A]]</answer>"),
    "mute": ("no decision", "none either"),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over four rows that ended right, wrong, split and unreadable."""
    folder = tmp_path_factory.mktemp("show")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    recorded = (
        {"id": name, "judgments": [_answer("AB", ab), _answer("BA", ba)], "judge": {}, "seed": 0}
        for name, (ab, ba) in SAID.items()
    )
    (folder / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in recorded))
    done = run(
        *("judge", "--judge", f"replay:{folder / 'said.jsonl'}", "--spec", "rm-r1"),
        *("--input", folder / "rows.jsonl", "--output", folder / "judged.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def _answer(order: str, text: str) -> dict[str, Any]:
    return {"order": order, "vote": 0, "verdict": None, "status": "no_verdict", "text": text}


def show(path: Path, capfd: pytest.CaptureFixture[str], **changed: Any) -> tuple[str, dict[str, Any]]:
    """Run the verb in this process: what a person sees, and the summary."""
    usual = {
        "inputs": (),
        "source": "auto",
        "kinds": (),
        "ids": (),
        "limit": 10,
        "whole": False,
        "output": None,
    }
    run_show(path, **{**usual, **changed})
    out = capfd.readouterr().out
    return out, json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ({"kinds": ["wrong"]}, ["wrong"]),
        ({"kinds": ["split"]}, ["level"]),
        ({"kinds": ["unreadable"]}, ["mute"]),
        ({"kinds": ["wrong", "split"]}, ["wrong", "level"]),
        ({"ids": ["right"]}, ["right"]),
        ({"limit": 2}, ["right", "wrong"]),
    ],
)
def test_rows_are_picked_by_what_became_of_them(
    judged: Path, capfd: pytest.CaptureFixture[str], chosen: dict[str, Any], ids: list[str]
) -> None:
    out, summary = show(judged / "judged.jsonl", capfd, **chosen)
    assert [line.split()[0] for line in out.splitlines() if ", label " in line] == ids
    assert summary["shown"] == len(ids)


def test_texts_of_the_input_are_shown_and_cannot_act(judged: Path) -> None:
    shown = run("show", judged / "judged.jsonl", "--input", judged / "rows.jsonl", "--id", "wrong")
    assert "good \\x1b[2J" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_a_changed_input_row_is_not_passed_off_as_the_judged_one(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = [row | {"response_a": "amended"} if row["id"] == "right" else row for row in ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    out, _ = show(judged / "judged.jsonl", capfd, inputs=[tmp_path / "rows.jsonl"], ids=["right", "wrong"])
    assert "amended" not in out
    assert out.count("no texts") == 1


def test_a_table_has_a_line_per_judgment_in_both_formats(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    for name in ("table.csv", "table.parquet"):
        assert show(judged / "judged.jsonl", capfd, output=tmp_path / name)[1]["judgments"] == 8
    with open(tmp_path / "table.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    rows = pq.read_table(tmp_path / "table.parquet").to_pylist()
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    by_order = {row["order"]: row for row in rows if row["id"] == "right"}
    assert (by_order["BA"]["verdict"], by_order["BA"]["critique"]) == ("A", "=second")
    assert next(x["critique"] for x in lines if x["id"] == "right" and x["order"] == "BA") == "'=second"


def test_what_is_no_judged_row_is_refused(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError):
        show(judged / "rows.jsonl", capfd)
    with pytest.raises(ConfigError):
        show(tmp_path, capfd)
    with pytest.raises(ConfigError):
        show(judged / "judged.jsonl", capfd, output=tmp_path / "t.xls")
