"""`reasrm metarm` and `reasrm metarm score` as a user runs them."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasrm.cli.app import app
from reasrm.errors import ConfigError
from reasrm.judging.critiques import Critiques
from reasrm.metarm.model import MetaRM
from reasrm.metarm.scale import bonus
from reasrm.sources.importing import pair_to_json
from reasrm.training.metarm.score import open_metarm, score_file
from tests.commands import ENVELOPE, ROOT, rows_of, sorted_lines, timeless
from tests.refusals import refused
from tests.training.metarm_stages import judged_row, world_pairs, write_lines, write_metarm_stage
from tests.training.stages import preference

pytestmark = pytest.mark.slow

Call = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_metarm_stage(tmp_path_factory.mktemp("stage"), count=4, metarm={"members": 2})


@pytest.fixture
def reasrm(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process; return its summary and its lines on stderr."""

    def call(*words: str | Path) -> tuple[dict[str, Any], list[str]]:
        capfd.readouterr()
        app([str(word) for word in words], standalone_mode=False)
        out, err = capfd.readouterr()
        (line,) = out.splitlines()
        return json.loads(line), err.splitlines()

    return call


@pytest.fixture(scope="module")
def trained(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    app(["metarm", "--config", str(config), "--run-dir", str(folder), "--quiet"], standalone_mode=False)
    return folder


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judgments of four pairs; the last one wrote no critique."""
    folder = tmp_path_factory.mktemp("judged")
    rows = [judged_row(pair) for pair in world_pairs(4)]
    for row in rows:
        for judgment in row["judgments"]:
            text = judgment["text"]
            judgment["critique"] = text[len("<eval>\n") : text.index("\n</eval>")]
    rows[3]["judgments"][-1]["critique"] = None
    return write_lines(folder / "judged.jsonl", rows)


def test_a_stage_trains_and_says_what_became_of_it(reasrm: Call, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told, err = reasrm("metarm", "--config", config, "--run-dir", folder, "--set", "metarm.members=1")
    assert set(told) >= ENVELOPE
    assert set(told) - ENVELOPE == {
        *("stage", "run", "metarm", "checkpoint", "rows", "dropped", "judgments", "left_out", "lessons"),
        *("held_out", "steps", "skipped_steps", "loss", "quality"),
    }
    assert (told["judgments"], told["lessons"], told["left_out"]) == (32, 24, {"bad_format": 8})
    assert told["metarm"] == str(folder / "metarm")
    assert any("targets 0: 33%, 1: 33%, 1.5: 33%" in line for line in err)
    assert any("step 2/2" in line for line in err)
    again, err = reasrm(
        "metarm", "--config", config, "--run-dir", folder, "--set", "metarm.members=1", "--resume"
    )
    assert timeless(again) == timeless(told)
    assert any("nothing is left to do" in line for line in err)


def test_a_dry_run_makes_nothing(reasrm: Call, config: Path, tmp_path: Path) -> None:
    told, err = reasrm("metarm", "--config", config, "--run-dir", tmp_path / "run", "--dry-run")
    assert (told["stage"], told["dry_run"], told["rows"]) == ("metarm", True, 4)
    assert any("judgments: 32" in line for line in err)
    assert list(tmp_path.iterdir()) == []


def test_the_program_is_the_command(config: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    program = ROOT / "train" / "metarm.py"
    words = [str(program), "--config", str(config), "--run-dir", str(tmp_path / "run"), "--dry-run"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(program), run_name="__main__")
    assert not end.value.code
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["stage"] == "metarm"


def test_judgments_get_the_numbers_that_the_model_gives(
    reasrm: Call, config: Path, trained: Path, judged: Path
) -> None:
    output = judged.parent / "scores.jsonl"
    words = [
        "--input",
        judged,
        "--pairs",
        config.parent / "pairs.jsonl",
        "--output",
        output,
        "--batch-size",
        "3",
    ]
    told, _ = reasrm("metarm", "score", "--metarm", trained, *words, "--bonus-scale", "published")
    assert set(told) >= ENVELOPE
    assert (told["command"], told["rows"], told["scored"], told["errors"]) == ("metarm score", 32, 31, 0)
    assert told["statuses"] == {"ok": 31, "no_critique": 1}
    scores = {row["id"]: row for row in rows_of(output)}
    assert len(scores) == 32
    metarm = MetaRM.open(trained / "metarm")
    pairs = {pair.id: pair.compare() for pair in world_pairs(4)}
    total = 0.0
    for row in rows_of(judged):
        for judgment in row["judgments"]:
            found = scores[f"{row['id']}/{judgment['order']}/{judgment['vote']}"]
            assert (found["row"], found["order"], found["vote"]) == (
                row["id"],
                judgment["order"],
                judgment["vote"],
            )
            if judgment["critique"] is None:
                assert (found["status"], found["score"]) == ("no_critique", None)
                continue
            shown = pairs[row["id"]] if judgment["order"] == "AB" else pairs[row["id"]].swap()
            encoded = metarm.encoder.encode(shown, judgment["critique"])
            assert encoded is not None
            members = metarm.score([encoded])[0].double()
            assert found["score"] == pytest.approx(float(members.mean()), abs=1e-5)
            assert found["variance"] == pytest.approx(float(members.var(correction=0)), abs=1e-5)
            assert found["bonus"] == bonus("reward", found["score"], 0.5, "published")
            total += found["score"]
    assert told["mean_score"] == pytest.approx(total / 31)


def test_rows_with_critiques_of_their_own_are_scored(reasrm: Call, trained: Path, tmp_path: Path) -> None:
    gold = {"arguments": [{"about": "A", "stance": "for", "text": "it says yes"}]}
    rows = [
        preference(0, critique="A says yes"),
        preference(1, critique=gold),
        preference(2),
        preference(3, critique="word " * 1200),
        {
            "id": "u",
            "prompt": "q",
            "response_a": "x",
            "response_b": "y",
            "critique": "<answer>[[A]]</answer>",
        },
    ]
    output = tmp_path / "scores.jsonl"
    path = write_lines(tmp_path / "rows.jsonl", rows)
    told, _ = reasrm("metarm", "score", "--metarm", trained / "metarm", "--input", path, "--output", output)
    statuses = {row["id"]: row["status"] for row in rows_of(output)}
    assert statuses == {"q0": "ok", "q1": "ok", "q2": "no_critique", "q3": "too_long", "u": "no_critique"}
    assert told["statuses"] == {"ok": 2, "no_critique": 2, "too_long": 1}
    assert {row["score"] is None for row in rows_of(output) if row["status"] != "ok"} == {True}


def test_a_stopped_run_goes_on_and_keeps_what_it_has(
    reasrm: Call, trained: Path, config: Path, judged: Path, tmp_path: Path
) -> None:
    words = ["metarm", "score", "--metarm", trained, "--input", judged]
    words += ["--pairs", config.parent / "pairs.jsonl", "--device", "cpu", "--output"]
    whole = tmp_path / "whole.jsonl"
    reasrm(*words, whole)
    part = tmp_path / "part.jsonl"
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:10]) + lines[10][:20])
    Path(f"{part}.manifest.json").write_bytes(Path(f"{whole}.manifest.json").read_bytes())
    _, err = reasrm(*words, part)
    assert "continuing: 10 critiques are done" in err
    assert [json.loads(line)["id"] for line in sorted_lines(part)] == [
        json.loads(line)["id"] for line in sorted_lines(whole)
    ]
    scores = [{row["id"]: row["score"] for row in rows_of(path)} for path in (whole, part)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)


def test_rows_may_be_added_and_mended_and_have_columns_of_their_own(
    reasrm: Call, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in judging: rows that were scored and are unchanged stay, the others are scored."""
    pairs = [pair_to_json(pair) for pair in world_pairs(3)]
    rows = [{**judged_row(pair), "judgments": judged_row(pair)["judgments"][:1]} for pair in world_pairs(3)]
    for row in rows:
        row["judgments"][0]["critique"] = "A ok"
    renamed = [{"q": pair.pop("prompt"), **pair} for pair in pairs]
    path = write_lines(tmp_path / "judged.jsonl", [rows[0], {**rows[1], "judgments": [{"order": "XX"}]}])
    of_pairs = write_lines(tmp_path / "pairs.jsonl", renamed[:2])
    words = ["metarm", "score", "--metarm", trained, "--input", path, "--pairs", of_pairs]
    words += ["--columns", "prompt=q", "--output", tmp_path / "out.jsonl"]
    ended: list[int] = []
    monkeypatch.setattr("reasrm.cli.console.exit_with", ended.append)
    told, _ = reasrm(*words)
    assert (told["scored"], told["errors"], ended) == (1, 1, [3])
    write_lines(path, rows)
    write_lines(of_pairs, renamed)
    told, err = reasrm(*words)
    assert (told["scored"], told["errors"], ended) == (3, 0, [3]), err
    write_lines(of_pairs, [{**renamed[0], "q": "Another?"}, *renamed[1:]])
    with refused(ConfigError, f"1 row differs ({rows[0]['id']})", "--restart"):
        score_file(
            open_metarm(trained),
            Critiques([path], pairs=[of_pairs], columns={"prompt": "q"}),
            tmp_path / "out.jsonl",
        )


def test_bad_rows_are_named_and_the_others_scored(
    reasrm: Call, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [judged_row(pair) for pair in world_pairs(2)]
    for row in good:
        row["judgments"] = [{**row["judgments"][0], "critique": "A ok"}]
    rows = [
        *good,
        {**good[0], "id": "unknown"},
        {"id": "empty"},
        {**good[1], "id": good[1]["id"], "judgments": [{"order": "XX"}]},
    ]
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n", encoding="utf-8")
    pairs = write_lines(tmp_path / "pairs.jsonl", [pair_to_json(pair) for pair in world_pairs(2)])
    output = tmp_path / "out.jsonl"
    ended: list[int] = []
    monkeypatch.setattr("reasrm.cli.console.exit_with", ended.append)
    told, _ = reasrm(
        "metarm", "score", "--metarm", trained, "--input", path, "--pairs", pairs, "--output", output
    )
    assert ended == [3]
    assert (told["scored"], told["errors"], told["errors_file"]) == (2, 4, f"{output}.errors.jsonl")
    codes = {row["id"]: row["code"] for row in rows_of(Path(f"{output}.errors.jsonl"))}
    assert codes["unknown"] == "no_pair"
    assert codes["empty"] == "no_judgments"
    assert sorted(codes.values())[0] == "bad_json"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["metarm"], 2, "--config"),
        (["metarm", "--config", "none.yaml"], 2, "none.yaml"),
        (["metarm", "--config", "a.yaml", "score"], 2, "mean nothing here"),
        (["export", "--run", "{run}", "--output", "judge"], 2, "which is no judge"),
        (
            ["metarm", "score", "--metarm", "{empty}", "--input", "{rows}", "--output", "o.jsonl"],
            2,
            "has no metarm.json",
        ),
        (
            ["metarm", "score", "--metarm", "{run}", "--input", "{rows}", "--output", "o.jsonl"],
            4,
            "carries a critique",
        ),
        (
            ["metarm", "score", "--metarm", "{run}", "--input", "{judged}", "--output", "o.jsonl"],
            4,
            "pass the rows",
        ),
        (["metarm", "score", "--metarm", "{run}", "--input", "{rows}", "--output", "{rows}"], 2, "input"),
        (
            ["metarm", "score", "--metarm", "{run}", "--input", "{rows}", "--output", "o", "--dtype", "int8"],
            2,
            "int8",
        ),
    ],
    ids=[
        "no_config",
        "no_file",
        "flags_before_score",
        "export",
        "no_metarm",
        "no_critique",
        "no_pairs",
        "input_as_output",
        "dtype",
    ],
)
def test_what_cannot_be_done_says_so(
    words: list[str], code: int, said: str, trained: Path, judged: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    rows = write_lines(tmp_path / "rows.jsonl", [preference(0)])
    (tmp_path / "empty").mkdir()
    names = {"{empty}": tmp_path / "empty", "{rows}": rows, "{run}": trained, "{judged}": judged}
    monkeypatch.chdir(tmp_path)
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    monkeypatch.setattr("reasrm.cli.console.exit_with", end)
    with pytest.raises(SystemExit) as stop:
        app([str(names.get(word, word)) for word in words])
    assert stop.value.code == code
    out, err = capfd.readouterr()
    assert said in err
    if ended:
        assert json.loads(out.splitlines()[-1])["exit_code"] == code
