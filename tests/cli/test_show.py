"""`reasrm show`: which rows it picks, what it prints, and that nothing of it can move a terminal's cursor."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.cli.show import run_show
from reasrm.errors import ConfigError, InputError
from reasrm.printable import printable
from tests.commands import decide, here, run, summary
from tests.fakes import Endpoint

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


def ask_endpoint(
    folder: Path, *more: str | Path, rows: list[dict[str, Any]] | None = None
) -> list[list[Any]]:
    """Judge rows with an endpoint; return the messages that it got."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS[:2]))
    with Endpoint(decide) as endpoint:
        done = here(
            *("judge", "--judge", f"openai:m@{endpoint.base_url}", "--input", folder / "in.jsonl"),
            *("--output", folder / "out.jsonl", *more),
        )
        assert done.returncode in (0, 3), done.stderr
        return [call["messages"] for call in endpoint.calls]


LISTED = [{"id": "list", "prompt": "p [[A]]", "responses": ["one", "two", "three"]}]
RUBRIC = [{"id": "wrong", "rubric": "Count the words."}]


@pytest.mark.parametrize(
    ("spec", "more", "rows", "num_prompts"),
    [
        ("mt-bench", [], None, 4),
        ("mt-bench", ["--orders", "random", "--votes", "2", "--temperature", "1"], None, 2),
        ("rm-r1", ["--secret-codes"], None, 4),
        ("pointwise-10", [], LISTED, 3),
        ("principle-list", ["--orders", "given"], LISTED, 1),
        ("principle-list", ["--seed", "3"], LISTED, 2),
    ],
)
def test_the_prompt_is_what_the_endpoint_got(
    tmp_path: Path, spec: str, more: list[str], rows: list[dict[str, Any]] | None, num_prompts: int
) -> None:
    sent = ask_endpoint(tmp_path, "--spec", spec, *more, rows=rows)
    shown = here("show", tmp_path / "out.jsonl", "--prompt")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("(as asked)") == sum(len(messages) for messages in _distinct(sent))
    assert len(_distinct(sent)) == num_prompts
    for messages in sent:
        for message in messages:
            body = "".join(f"  {line}\n" for line in printable(message["content"]).splitlines())
            assert f"{message['role']} (as asked)\n{body}" in shown.stdout
    prompts = summary(shown)["prompts"]
    assert prompts == {"same": len(sent), "differ": 0, "not_compared": 0, "missing": 0}


def _distinct(sent: list[list[Any]]) -> list[list[Any]]:
    return [messages for n, messages in enumerate(sent) if messages not in sent[:n]]


def test_a_prompt_with_a_rubric_needs_the_rubric(tmp_path: Path) -> None:
    (tmp_path / "rubrics.jsonl").write_text(json.dumps(RUBRIC[0]) + "\n")
    ask_endpoint(tmp_path, "--spec", "rubric", "--rubrics", tmp_path / "rubrics.jsonl", rows=ROWS[1:2])
    refused = here("show", tmp_path / "out.jsonl", "--prompt")
    assert (refused.returncode, "--rubrics" in refused.stderr) == (2, True)
    shown = here("show", tmp_path / "out.jsonl", "--prompt", "--rubrics", tmp_path / "rubrics.jsonl")
    assert (shown.returncode, "Count the words." in shown.stdout) == (0, True)
    (tmp_path / "rubrics.jsonl").write_text(json.dumps({**RUBRIC[0], "rubric": "Count letters."}) + "\n")
    other = here("show", tmp_path / "out.jsonl", "--prompt", "--rubrics", tmp_path / "rubrics.jsonl")
    assert (other.returncode, summary(other)["prompts"]["differ"]) == (4, 2)
    assert "prompt differs" in other.stderr


def test_the_input_is_found_and_its_loss_hides_no_judgment(tmp_path: Path) -> None:
    ask_endpoint(tmp_path, "--spec", "mt-bench")
    found = here("show", tmp_path / "out.jsonl")
    assert "▸ response A, the label\n  good\n" in found.stdout
    (tmp_path / "in.jsonl").write_text("")
    lost = here("show", tmp_path / "out.jsonl")
    assert (lost.returncode, summary(lost)["shown"]) == (0, 2)
    assert "cannot be read any more" in lost.stderr
    assert here("show", tmp_path / "out.jsonl", "--prompt").returncode == 4


def test_a_folder_that_was_judged_is_found(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for n, row in enumerate(ROWS[:2]):
        (shards / f"part-{n}.jsonl").write_text(json.dumps(row) + "\n")
    with Endpoint(decide) as endpoint:
        here(
            *("judge", "--judge", f"openai:m@{endpoint.base_url}", "--spec", "mt-bench", "--input", shards),
            *("--output", tmp_path / "out.jsonl"),
        )
    shown = here("show", tmp_path / "out.jsonl", "--prompt")
    assert shown.returncode == 0, shown.stderr
    assert summary(shown)["prompts"]["same"] == 4


def test_what_was_not_asked_is_said(judged: Path, tmp_path: Path) -> None:
    ask_endpoint(tmp_path, "--spec", "rm-r1", "--secret-codes")
    manifest = tmp_path / "out.jsonl.manifest.json"
    kept = json.loads(manifest.read_text())

    def show_with(**changed: Any) -> tuple[int, dict[str, int]]:
        manifest.write_text(json.dumps({**kept, **changed}))
        shown = here("show", tmp_path / "out.jsonl", "--prompt")
        return shown.returncode, summary(shown).get("prompts", {})

    secret = {**kept["identity"], "code_secret": "0" * 32}
    assert show_with(identity=secret) == (4, {"same": 0, "differ": 4, "not_compared": 0, "missing": 0})
    note = kept["notes"]["asked"]
    edited = {**note, "spec": {**note["spec"], "codes": 1}}
    assert show_with(notes={"asked": edited}) == (4, {})
    assert show_with(notes={}) == (2, {})
    assert show_with()[0] == 0
    (tmp_path / "in.jsonl").write_text(json.dumps({**ROWS[0], "prompt": "q"}) + "\n")
    assert show_with() == (4, {"same": 0, "differ": 0, "not_compared": 0, "missing": 4})
    replayed = here("show", judged / "judged.jsonl", "--prompt", "--id", "right")
    assert (replayed.returncode, summary(replayed)["prompts"]["not_compared"]) == (0, 2), replayed.stderr
